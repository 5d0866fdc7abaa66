// First of two translation units that include everything: they must link into one program.

#include <tmodel/tmodel.hpp>

#include "other.hpp"

int main() {
  const auto model = tmodel::Transformer<tmodel::LlamaTraits, tmodel::CpuSimd<tmodel::f32>>::load("/nowhere");
  return !model && model.error().code == other_code() ? 0 : 1;
}
