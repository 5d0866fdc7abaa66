// First of two translation units that include everything: they must link into one program, with every library that
// opening a model and reading its text needs.

#include <tmodel/tmodel.hpp>

#include "other.hpp"

int main() {
  const auto device = tmodel::CpuSimd<tmodel::f32>::open({.threads = 2});
  const auto files = tmodel::open_model("/nowhere");
  const auto language = tmodel::Language::read(tmodel::ModelFiles{});
  return device && !files && !language && files.error().code == other_code() ? 0 : 1;
}
