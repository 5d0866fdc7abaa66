#pragma once
// The inner product of PanelTile: exact sums over the elements of a unit, a lane for each row of weights.
// Bytes 4r to 4r + 3 of w[j] are elements 4j to 4j + 3 of row r; rows of activations are `stride` bytes apart.

#include "tmodel/backends/cpu/convert.hpp"

namespace tmodel::inline v0::cpu {

#if defined(__SSE2__)
template <class A, int groups, int columns>
requires(std::is_same_v<A, sse2>) TMODEL_INLINE
    void unit_sums(const std::int8_t (*w)[16], const std::int8_t* x, std::size_t stride,
                   Floats<A> (&sums)[columns]) noexcept {
  const auto low = [](__m128i v) { return _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8); };
  const auto high = [](__m128i v) { return _mm_srai_epi16(_mm_unpackhi_epi8(v, v), 8); };
  for (int c = 0; c < columns; ++c, x += stride) {
    __m128i a = _mm_setzero_si128(), b = a;  // rows 0 and 1, rows 2 and 3: two sums each
    for (int j = 0; j < groups; ++j) {
      const __m128i ws = _mm_load_si128(reinterpret_cast<const __m128i*>(w[j]));
      const __m128i xs = low(_mm_set1_epi32(load_unaligned<int>(x + 4 * j)));
      a = _mm_add_epi32(a, _mm_madd_epi16(low(ws), xs));
      b = _mm_add_epi32(b, _mm_madd_epi16(high(ws), xs));
    }
    const __m128 even = _mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x88);
    const __m128 odd = _mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0xDD);
    sums[c] = _mm_cvtepi32_ps(_mm_add_epi32(_mm_castps_si128(even), _mm_castps_si128(odd)));
  }
}
#endif

#if TMODEL_CPU_AVX2
/// For formats without Codes.
template <class A, int groups, int columns>
requires(has_avx2<A>) TMODEL_INLINE void unit_sums(const std::int8_t (*w)[32], const std::int8_t* x, std::size_t stride,
                                                   Floats<A> (&sums)[columns]) noexcept {
  for (int c = 0; c < columns; ++c, x += stride) {
    __m256i a = _mm256_setzero_si256(), b = a;  // rows 0 to 3, rows 4 to 7: two sums each
    for (int j = 0; j < groups; ++j) {
      const auto ws = reinterpret_cast<const __m128i*>(w[j]);
      const __m256i xs = _mm256_cvtepi8_epi16(_mm_set1_epi32(load_unaligned<int>(x + 4 * j)));
      a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_load_si128(ws)), xs));
      b = _mm256_add_epi32(b, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_load_si128(ws + 1)), xs));
    }
    sums[c] = _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xD8));
  }
}
#endif

#if defined(__aarch64__)
template <class A, int groups, int columns>
requires(std::is_same_v<A, neon64>) TMODEL_INLINE
    void unit_sums(const std::int8_t (*w)[16], const std::int8_t* x, std::size_t stride,
                   Floats<A> (&sums)[columns]) noexcept {
  for (int c = 0; c < columns; ++c, x += stride) {
    int32x4_t a = vdupq_n_s32(0), b = a;  // rows 0 and 1, rows 2 and 3: two sums each
    for (int j = 0; j < groups; ++j) {
      const int8x16_t ws = vld1q_s8(w[j]);
      const int8x8_t xs = vreinterpret_s8_s32(vdup_n_s32(load_unaligned<std::int32_t>(x + 4 * j)));
      a = vpadalq_s16(a, vmull_s8(vget_low_s8(ws), xs));
      b = vpadalq_s16(b, vmull_s8(vget_high_s8(ws), xs));
    }
    sums[c] = vcvtq_f32_s32(vpaddq_s32(a, b));
  }
}
#endif

#if TMODEL_CPU_DOTPROD
/// smmla has half as many products, but of pairs of rows and pairs of activations, which have to be brought together
/// and taken apart again: with panels of 4 rows that costs as much.
template <class A, int groups, int columns>
requires(std::is_same_v<A, neon64_dotprod>) TMODEL_INLINE
    void unit_sums(const std::int8_t (*w)[16], const std::int8_t* x, std::size_t stride,
                   Floats<A> (&sums)[columns]) noexcept {
  int32x4_t sum[columns];
  unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { sum[c] = vdupq_n_s32(0); });
  unroll<groups / 4>([&](auto four) TMODEL_INLINE_LAMBDA {
    int8x16_t ws[4];
    unroll<4>([&](auto j) TMODEL_INLINE_LAMBDA { ws[j] = vld1q_s8(w[4 * four + j]); });
    unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
      const int8x16_t xs = vld1q_s8(x + static_cast<std::size_t>(c) * stride + 16 * four);
      unroll<4>([&](auto j) TMODEL_INLINE_LAMBDA { sum[c] = vdotq_laneq_s32(sum[c], ws[j], xs, j); });
    });
  });
  unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { sums[c] = vcvtq_f32_s32(sum[c]); });
}
#endif

}  // namespace tmodel::inline v0::cpu
