// Second translation unit: the same headers. Once is enough to prove that two of them link, so other ways of finding
// the package include the least that they need.

#include "other.hpp"

#if CONSUMER_EVERYTHING_TWICE
#include <tmodel/tmodel.hpp>
#else
#include <tmodel/io/model_files.hpp>
#endif

tmodel::Errc other_code() {
  const auto files = tmodel::open_model("/nowhere");
  return files ? tmodel::Errc::bad_argument : files.error().code;
}
