#pragma once
// Instruction sets of CpuSimd as types, and the few vector operations whose exact form decides bits.
// The only include of xsimd and of intrinsics headers; written for xsimd 8.1, whose names changed later.

#include <xsimd/xsimd.hpp>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "tmodel/core/os.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define TMODEL_CPU_AVX2 1
#else
#define TMODEL_CPU_AVX2 0
#endif

#if TMODEL_CPU_AVX2 && defined(__AVXVNNI__)
#define TMODEL_CPU_AVX2_VNNI 1
#else
#define TMODEL_CPU_AVX2_VNNI 0
#endif

#if TMODEL_CPU_AVX2 && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define TMODEL_CPU_AVX512_VNNI 1
#else
#define TMODEL_CPU_AVX512_VNNI 0
#endif

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#define TMODEL_CPU_DOTPROD 1
#else
#define TMODEL_CPU_DOTPROD 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define TMODEL_INLINE_LAMBDA __attribute__((always_inline))
#else
#define TMODEL_INLINE_LAMBDA
#endif

namespace tmodel::inline v0::cpu {

using sse2 = xsimd::sse2;
using avx2 = xsimd::fma3<xsimd::avx2>;  ///< with FMA and F16C; machines with AVX-512 run it too
using neon64 = xsimd::neon64;

// The same vectors of floats with other instructions for products of integers. A type for each set of flags by which a
// kernel differs: units compiled by different flags share no instantiation of one.
struct avx2_vnni {};       ///< AVX-VNNI
struct avx512_vnni {};     ///< AVX-512 F, BW, VL and VNNI: integers of prompts in 512 bits, floats in 256
struct neon64_dotprod {};  ///< sdot

/// Stands for "no instruction set that is known here".
struct no_arch {};

// The best that the flags of this translation unit allow.
#if TMODEL_CPU_AVX512_VNNI
using default_arch = avx512_vnni;
#elif TMODEL_CPU_AVX2_VNNI
using default_arch = avx2_vnni;
#elif TMODEL_CPU_AVX2
using default_arch = avx2;
#elif defined(__SSE2__)
using default_arch = sse2;
#elif TMODEL_CPU_DOTPROD
using default_arch = neon64_dotprod;
#elif defined(__aarch64__)
using default_arch = neon64;
#else
using default_arch = no_arch;
#endif

/// What A is: its name, xsimd's type for its vectors of floats, whether this unit's flags allow it, and what of it this
/// machine lacks, if anything. SSE2 and NEON belong to their base architectures.
template <class A>
struct InstructionSet;

template <>
struct InstructionSet<sse2> {
  using Floats = sse2;
  static constexpr std::string_view name = "sse2";
#if defined(__SSE2__)
  static constexpr bool compiled = true;
#else
  static constexpr bool compiled = false;
#endif
  static std::string_view missing() noexcept { return {}; }
};
template <>
struct InstructionSet<avx2> {
  using Floats = avx2;
  static constexpr std::string_view name = "avx2";
  static constexpr bool compiled = TMODEL_CPU_AVX2;
  static std::string_view missing() noexcept {
    return os::cpu_has_avx2() ? std::string_view{} : "no AVX2, FMA or F16C";
  }
};
template <>
struct InstructionSet<avx2_vnni> {
  using Floats = avx2;
  static constexpr std::string_view name = "avx2+vnni";
  static constexpr bool compiled = TMODEL_CPU_AVX2_VNNI;
  static std::string_view missing() noexcept {
    return os::cpu_has_avx_vnni() ? InstructionSet<avx2>::missing() : "no AVX-VNNI";
  }
};
template <>
struct InstructionSet<avx512_vnni> {
  using Floats = avx2;
  static constexpr std::string_view name = "avx512+vnni";
  static constexpr bool compiled = TMODEL_CPU_AVX512_VNNI;
  static std::string_view missing() noexcept {
    return os::cpu_has_avx512_vnni() ? InstructionSet<avx2>::missing() : "no AVX-512 F, BW, VL or VNNI";
  }
};
template <>
struct InstructionSet<neon64> {
  using Floats = neon64;
  static constexpr std::string_view name = "neon";
#if defined(__aarch64__)
  static constexpr bool compiled = true;
#else
  static constexpr bool compiled = false;
#endif
  static std::string_view missing() noexcept { return {}; }
};
template <>
struct InstructionSet<neon64_dotprod> {
  using Floats = neon64;
  static constexpr std::string_view name = "neon+dotprod";
  static constexpr bool compiled = TMODEL_CPU_DOTPROD;
  static std::string_view missing() noexcept { return os::cpu_has_dotprod() ? std::string_view{} : "no dotprod"; }
};

template <class A>
inline constexpr bool known = requires {
  InstructionSet<A>::name;
};
/// Whether the flags of this translation unit allow the instructions of A.
template <class A>
inline constexpr bool compiled_for = requires {
  requires InstructionSet<A>::compiled;
};

// By the vectors of floats, which decide all but products of integers.
template <class A>
inline constexpr bool has_avx2 = std::is_same_v<typename InstructionSet<A>::Floats, avx2>;
template <class A>
inline constexpr bool has_neon = std::is_same_v<typename InstructionSet<A>::Floats, neon64>;

/// A vector of f32: 8 lanes with AVX2, else 4.
template <class A>
using Floats = xsimd::batch<f32, typename InstructionSet<A>::Floats>;
template <class A>
using Ints = xsimd::batch<std::int32_t, typename InstructionSet<A>::Floats>;

template <class A>
inline constexpr int lanes = static_cast<int>(Floats<A>::size);

/// fn(0) ... fn(n - 1), with indices that are constants: arrays of vectors stay in registers at -O2.
template <int n, class Fn>
TMODEL_INLINE void unroll(Fn fn) noexcept {
  [&]<int... i>(std::integer_sequence<int, i...>) TMODEL_INLINE_LAMBDA { (fn(std::integral_constant<int, i>()), ...); }
  (std::make_integer_sequence<int, n>());
}

template <class A>
TMODEL_INLINE Floats<A> load(const f32* p) noexcept {
  return Floats<A>::load_unaligned(p);
}
template <class A>
TMODEL_INLINE void store(f32* p, Floats<A> x) noexcept {
  x.store_unaligned(p);
}
/// The first n lanes, n < lanes; the others are 0.
template <class A>
TMODEL_INLINE Floats<A> load_some(const f32* p, int n) noexcept {
  alignas(32) f32 padded[lanes<A>] = {};
  std::memcpy(padded, p, static_cast<std::size_t>(n) * sizeof(f32));
  return load<A>(padded);
}
template <class A>
TMODEL_INLINE void store_some(f32* p, Floats<A> x, int n) noexcept {
  alignas(32) f32 padded[lanes<A>];
  store<A>(padded, x);
  std::memcpy(p, padded, static_cast<std::size_t>(n) * sizeof(f32));
}

/// Tells the compiler that x is in a register and changes here: otherwise g++ 12 loads a vector again for every use, or
/// adds in another order and keeps sums in memory, at half the speed.
template <class A>
TMODEL_INLINE void pin(Floats<A>& x) noexcept {
#if defined(__SSE2__)
  __asm__("" : "+x"(x.data));
#elif defined(__aarch64__)
  __asm__("" : "+w"(x.data));
#endif
}

/// Has the cache line of p fetched, wherever p points: behind a mapping too.
TMODEL_INLINE void fetch_ahead(const std::byte* p) noexcept {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(p);
#endif
}

/// The same of the first lines of [p, p + bytes), for whoever begins to read there.
inline void fetch_first(const std::byte* p, std::size_t bytes) noexcept {
  constexpr std::size_t most = 16384, line = 64;
  for (std::size_t at = 0; at < (bytes < most ? bytes : most); at += line) fetch_ahead(p + at);
}

/// a * b + c: rounded once where there is an instruction for it, else rounded twice, everywhere alike.
/// Never written as an expression: compilers fuse those or not, function by function, and bits would follow.
template <class A>
TMODEL_INLINE Floats<A> fused(Floats<A> a, Floats<A> b, Floats<A> c) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) return _mm256_fmadd_ps(a, b, c);
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>) return vfmaq_f32(c, a, b);
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>) {
    __m128 product = _mm_mul_ps(a, b);
#if defined(__FMA__)  // the compiler could fuse these two: hide the product from it
    __asm__("" : "+x"(product));
#endif
    return _mm_add_ps(product, c);
  }
#endif
}

/// Sum of all lanes: (0+2) + (1+3), and with eight + ((4+6) + (5+7)).
template <class A>
TMODEL_INLINE f32 sum_lanes(Floats<A> x) noexcept {
#if defined(__SSE2__)
  __m128 four;
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) {
    const __m256 twos = _mm256_add_ps(x, _mm256_permute_ps(x, 0x4E)),
                 fours = _mm256_add_ps(twos, _mm256_permute_ps(twos, 0xB1));
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
  } else
#endif
    four = x;
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
#elif defined(__aarch64__)
  return vpadds_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)));
#else
  return (x.get(0) + x.get(2)) + (x.get(1) + x.get(3));
#endif
}

/// The sums of the lanes of four vectors, each as sum_lanes() adds them.
template <class A>
TMODEL_INLINE void store_sums(Floats<A> a, Floats<A> b, Floats<A> c, Floats<A> d, f32* to) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) {
    const auto two = [](__m256 x, __m256 y) TMODEL_INLINE_LAMBDA {
      return _mm256_add_ps(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
    };
    const __m256 ab = two(a, b), cd = two(c, d);
    const __m256 four = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1)));
    return;
  }
#endif
  to[0] = sum_lanes<A>(a), to[1] = sum_lanes<A>(b), to[2] = sum_lanes<A>(c), to[3] = sum_lanes<A>(d);
}

/// The vector's integers, rounded to nearest, ties to even.
template <class A>
TMODEL_INLINE Ints<A> nearest(Floats<A> x) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) return _mm256_cvtps_epi32(x);
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>) return _mm_cvtps_epi32(x);
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>) return vcvtnq_s32_f32(x);
#endif
}

/// 2^k of the float whose lowest bits, as an integer, hold k (see exp), k in [-126, 127].
template <class A>
TMODEL_INLINE Floats<A> power_of_two(Floats<A> shifted) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>)
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127)), 23));
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>)
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_castps_si128(shifted), _mm_set1_epi32(127)), 23));
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>)
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(127)), 23));
#endif
}

}  // namespace tmodel::inline v0::cpu
