#pragma once
// Dot<Arch, Q>: the product of a chunk of 256 quantised weights with a chunk of activations; the order of all
// additions. Here the form that serves every format and instruction set; dot_x86.hpp has better ones for AVX2.

#include "tmodel/backends/cpu/activations.hpp"
#include "tmodel/backends/cpu/convert.hpp"
#include "tmodel/quant/integers.hpp"

namespace tmodel::inline v0::cpu {

/// Products of 32 signed weights (-128 allowed) and 32 activations (never -128), added up in groups, as floats.
template <class A>
TMODEL_INLINE Floats<A> dot_part(const std::int8_t* w, const std::int8_t* x) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (std::is_same_v<A, avx2>) {  // |w| as unsigned times x with the sign of w: a pair is at most 2*128*127
    const __m256i wv = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i xv = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(wv, wv), _mm256_sign_epi8(xv, wv));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>) {
    __m128i sum = _mm_setzero_si128();
    for (int i = 0; i < 32; i += 16) {
      const __m128i wv = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + i));
      const __m128i xv = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
      const auto low = [](__m128i v) { return _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8); };
      const auto high = [](__m128i v) { return _mm_srai_epi16(_mm_unpackhi_epi8(v, v), 8); };
      sum = _mm_add_epi32(sum, _mm_madd_epi16(low(wv), low(xv)));
      sum = _mm_add_epi32(sum, _mm_madd_epi16(high(wv), high(xv)));
    }
    return _mm_cvtepi32_ps(sum);
  }
#endif
#if defined(__aarch64__)
  if constexpr (std::is_same_v<A, neon64>) {
    int32x4_t sum = vdupq_n_s32(0);
    for (int i = 0; i < 32; i += 16) {
      const int8x16_t wv = vld1q_s8(w + i), xv = vld1q_s8(x + i);
      sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(wv), vget_low_s8(xv)));
      sum = vpadalq_s16(sum, vmull_s8(vget_high_s8(wv), vget_high_s8(xv)));
    }
    return vcvtq_f32_s32(sum);
  }
#endif
}

/// acc + low * (product of elements 0..15) + high * (product of elements 16..31).
template <class A>
TMODEL_INLINE Floats<A> add_halves(const std::int8_t* w, const std::int8_t* x, f32 low, f32 high,
                                   Floats<A> acc) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (std::is_same_v<A, avx2>)  // the lower four lanes of a part's product belong to its first 16 elements
    return fused<A>(_mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low)), dot_part<A>(w, x), acc);
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>) {
    const auto half = [&](int i) -> __m128 {
      const __m128i wv = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + i));
      const __m128i xv = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
      const __m128i a =
          _mm_madd_epi16(_mm_srai_epi16(_mm_unpacklo_epi8(wv, wv), 8), _mm_srai_epi16(_mm_unpacklo_epi8(xv, xv), 8));
      const __m128i b =
          _mm_madd_epi16(_mm_srai_epi16(_mm_unpackhi_epi8(wv, wv), 8), _mm_srai_epi16(_mm_unpackhi_epi8(xv, xv), 8));
      return _mm_cvtepi32_ps(_mm_add_epi32(a, b));
    };
    acc = fused<A>(Floats<A>(low), half(0), acc);
    return fused<A>(Floats<A>(high), half(16), acc);
  }
#endif
#if defined(__aarch64__)
  if constexpr (std::is_same_v<A, neon64>) {
    const auto half = [&](int i) -> float32x4_t {
      const int8x16_t wv = vld1q_s8(w + i), xv = vld1q_s8(x + i);
      int32x4_t sum = vpaddlq_s16(vmull_s8(vget_low_s8(wv), vget_low_s8(xv)));
      sum = vpadalq_s16(sum, vmull_s8(vget_high_s8(wv), vget_high_s8(xv)));
      return vcvtq_f32_s32(sum);
    };
    acc = fused<A>(Floats<A>(low), half(0), acc);
    return fused<A>(Floats<A>(high), half(16), acc);
  }
#endif
}

/// Any format that unpacks into integers.
template <class A, QuantizedFormat Q>
struct Dot {
  using Integers = typename Q::Integers;
  static_assert(chunk_len % Q::block_len == 0, "tmodel: a block of a quantised format has 32, 64, 128 or 256 elements");
  static constexpr int scales_per_part = part_len / static_cast<int>(Integers::sub_len);

  struct Weights {
    alignas(32) std::int8_t q[chunk_len];
    alignas(32) f32 scales[chunk_parts * scales_per_part];
    alignas(32) f32 offsets[chunk_parts * scales_per_part];
  };

  /// The chunk's first `parts` parts; the scales of the others become 0.
  static void unpack(const typename Q::Block* blocks, int parts, Weights& w) noexcept {
    if (parts < chunk_parts) std::memset(&w, 0, sizeof w);
    Integers one;
    for (int b = 0; b * static_cast<int>(Q::block_len) < parts * part_len; ++b) {
      Q::unpack(blocks[b], one);
      std::memcpy(w.q + b * static_cast<int>(Q::block_len), one.q, sizeof one.q);
      for (std::size_t s = 0; s < Integers::count; ++s) {
        const std::size_t at = static_cast<std::size_t>(b) * Integers::count + s;
        w.scales[at] = one.scales[s];
        if constexpr (Integers::has_offsets) w.offsets[at] = one.offsets[s];
      }
    }
  }

  /// The chunk's product. Offsets first, then the parts upwards.
  TMODEL_INLINE static Floats<A> product(const Weights& w, const Q8Chunk& x, int parts) noexcept {
    Floats<A> acc(0.f);
    if constexpr (Integers::has_offsets) {
      const f32* const sums = scales_per_part == 1 ? x.weighted : x.weighted_halves;
      for (int i = 0; i < chunk_parts * scales_per_part; i += lanes<A>)
        acc = fused<A>(load<A>(w.offsets + i), load<A>(sums + i), acc);
    }
    for (int p = 0; p < parts; ++p) {
      const std::int8_t *wq = w.q + p * part_len, *xq = x.qs + p * part_len;
      if constexpr (scales_per_part == 1)
        acc = fused<A>(Floats<A>(w.scales[p] * x.d[p]), dot_part<A>(wq, xq), acc);
      else
        acc = add_halves<A>(wq, xq, w.scales[2 * p] * x.d[p], w.scales[2 * p + 1] * x.d[p], acc);
    }
    return acc;
  }
};

}  // namespace tmodel::inline v0::cpu
