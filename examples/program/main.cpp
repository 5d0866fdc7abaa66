// main() of every program: compiled for the baseline instruction set, asks the CPU before anything else of the program
// runs. It includes no header of the library: an inline function compiled here and there would be linked once, and not
// necessarily the copy that this machine can run.

#include <cstdio>
#include <cstdlib>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "program/cpu_features.hpp"

namespace {

#if defined(__x86_64__) || defined(__i386__)
bool has_avx_vnni() {  // by hand: clang 14 knows no such name
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
         (a & 1u << 4) != 0;
}
#endif

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
  if (lacks(program::avxvnni, has_avx_vnni())) return "AVX-VNNI";
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
