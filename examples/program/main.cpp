// main() of every program: compiled for the baseline instruction set, asks the CPU before anything else of the program
// runs. It includes no header of the library: an inline function compiled here and there would be linked once, and not
// necessarily the copy that this machine can run.

#include <cstdio>
#include <cstdlib>

#include "program/cpu_features.hpp"

namespace {

const char* missing_feature([[maybe_unused]] unsigned required) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  const auto lacks = [&](unsigned feature, bool there) { return (required & feature) != 0 && !there; };
  if (lacks(program::avx2, __builtin_cpu_supports("avx2"))) return "AVX2";
  if (lacks(program::fma, __builtin_cpu_supports("fma"))) return "FMA";
  if (lacks(program::bmi2, __builtin_cpu_supports("bmi2"))) return "BMI2";
  if (lacks(program::avx512f, __builtin_cpu_supports("avx512f"))) return "AVX-512F";
  if (lacks(program::avx512bw, __builtin_cpu_supports("avx512bw"))) return "AVX-512BW";
  if (lacks(program::avx512vl, __builtin_cpu_supports("avx512vl"))) return "AVX-512VL";
  if (lacks(program::avx512dq, __builtin_cpu_supports("avx512dq"))) return "AVX-512DQ";
  if (lacks(program::avx512vnni, __builtin_cpu_supports("avx512vnni"))) return "AVX-512 VNNI";
#endif
  return nullptr;
}

// Before the constructors of static objects, which are compiled for the wider instruction set too.
[[gnu::constructor(101)]] void check_cpu() {
  if (const char* feature = missing_feature(program::required_features)) {
    std::fprintf(stderr, "error: CPU not supported: this program was built for %s, which this machine lacks; build it with -DTMODEL_ARCH=baseline\n",
                 feature);
    std::_Exit(4);
  }
}

}  // namespace

int main(int argc, char** argv) { return program::run(argc, argv); }
