// Second translation unit: the same headers, another combination.

#include "other.hpp"

#include <tmodel/tmodel.hpp>

tmodel::Errc other_code() {
  const auto model = tmodel::Transformer<tmodel::Qwen2Traits, tmodel::CpuSimd<tmodel::f32>>::load("/nowhere");
  return model ? tmodel::Errc::bad_argument : model.error().code;
}
