#pragma once
// Vectors of f32 from weights or cached keys and values as they are stored. Every conversion is exact.

#include "tmodel/backends/cpu/arch.hpp"
#include "tmodel/quant/dense.hpp"

namespace tmodel::inline v0::cpu {

template <class A>
TMODEL_INLINE Floats<A> widen(const f32* p) noexcept {
  return load<A>(p);
}

#if defined(__SSE2__)
/// f16, one in each word of 32 bits.
TMODEL_INLINE __m128 widen_halves(__m128i h) noexcept {
  // Sign and magnitude apart; 2^112 moves the exponent's bias and makes subnormals normal, infinity comes by hand.
  const __m128i magnitude = _mm_and_si128(h, _mm_set1_epi32(0x7FFF));
  const __m128i sign = _mm_slli_epi32(_mm_xor_si128(h, magnitude), 16);
  const __m128i shifted = _mm_slli_epi32(magnitude, 13);
  const __m128i special = _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7BFF)), _mm_set1_epi32(0x7F800000));
  const __m128i tiny = _mm_cmplt_epi32(magnitude, _mm_set1_epi32(0x0400));  // as integers: no flag can flush them
  const __m128 normal = _mm_castsi128_ps(_mm_add_epi32(shifted, _mm_set1_epi32(112 << 23)));
  const __m128 small = _mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(0x1p-24f));
  const __m128 value =
      _mm_or_ps(_mm_and_ps(_mm_castsi128_ps(tiny), small), _mm_andnot_ps(_mm_castsi128_ps(tiny), normal));
  return _mm_or_ps(value, _mm_castsi128_ps(_mm_or_si128(sign, special)));
}
#endif

template <class A>
TMODEL_INLINE Floats<A> widen(const f16* p) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>)
    return widen_halves(_mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_setzero_si128()));
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>) return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#endif
}

template <class A>
TMODEL_INLINE Floats<A> widen(const bf16* p) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>)
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>)
    return _mm_castsi128_ps(
        _mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>) return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->bits), 16));
#endif
}

/// Integers of 8 bits as floats.
template <class A>
TMODEL_INLINE Floats<A> widen(const std::int8_t* p) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>)
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>) {
    const __m128i bytes = _mm_cvtsi32_si128(load_unaligned<int>(p));
    const __m128i words = _mm_unpacklo_epi8(bytes, bytes);
    return _mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(words, words), 24));
  }
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>) {
    const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(load_unaligned<std::int32_t>(p)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
  }
#endif
}

/// The first n elements, n < lanes; the others are 0.
template <class A, class E>
TMODEL_INLINE Floats<A> widen_some(const E* p, int n) noexcept {
  alignas(32) E padded[lanes<A>] = {};
  std::memcpy(padded, p, static_cast<std::size_t>(n) * sizeof(E));
  return widen<A>(padded);
}

/// n elements and zeros up to a whole vector.
template <class A, class E>
TMODEL_INLINE void widen_row(const E* from, int n, f32* to) noexcept {
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>) store<A>(to + i, widen<A>(from + i));
  if (i < n) store<A>(to + i, widen_some<A>(from + i, n - i));
}

/// Rounds to f16, ties to even.
template <class A>
TMODEL_INLINE void narrow_row(const f32* from, int n, f16* to) noexcept {
  int i = 0;
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>)
    for (; i + 8 <= n; i += 8)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>)
    for (; i + 4 <= n; i += 4) vst1_u16(&to[i].bits, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i))));
#endif
  for (; i < n; ++i) to[i] = to_f16(from[i]);
}

}  // namespace tmodel::inline v0::cpu
