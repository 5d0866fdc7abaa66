#pragma once
// The instruction sets that a program's code was compiled for, as bits: main.cpp is compiled for the baseline, checks
// them first and says a sentence where the machine lacks one. Without the check the first wide instruction, wherever
// the compiler put it, would end the program.

namespace program {

enum CpuFeature : unsigned { avx2 = 1, fma = 2, avx512f = 4, avx512bw = 8, avx512vl = 16, avx512dq = 32, avx512vnni = 64, bmi2 = 128, avxvnni = 256 };

constexpr unsigned compiled_for() {
  unsigned bits = 0;
#if defined(__AVX2__)
  bits |= avx2;
#endif
#if defined(__FMA__)
  bits |= fma;
#endif
#if defined(__BMI2__)
  bits |= bmi2;
#endif
#if defined(__AVX512F__)
  bits |= avx512f;
#endif
#if defined(__AVX512BW__)
  bits |= avx512bw;
#endif
#if defined(__AVX512VL__)
  bits |= avx512vl;
#endif
#if defined(__AVX512DQ__)
  bits |= avx512dq;
#endif
#if defined(__AVX512VNNI__)
  bits |= avx512vnni;
#endif
#if defined(__AVXVNNI__)
  bits |= avxvnni;
#endif
  return bits;
}

extern const unsigned required_features;     // defined by the program: = compiled_for()
int run(int argc, char** argv);              // the program itself

}  // namespace program
