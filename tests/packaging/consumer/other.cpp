// Second translation unit: the same headers.

#include "other.hpp"

#include <tmodel/tmodel.hpp>

tmodel::Errc other_code() {
  const auto files = tmodel::open_model("/nowhere");
  return files ? tmodel::Errc::bad_argument : files.error().code;
}
