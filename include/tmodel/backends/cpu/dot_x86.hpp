#pragma once
// Dot for AVX2: codes are unpacked to unsigned bytes where they fit, so that one vpmaddubsw multiplies them.
// Layouts: quant/*.hpp. Saturation: a pair of products is at most 2 * 127 * code <= 32767 for codes below 128.

#include "tmodel/backends/cpu/codes_x86.hpp"

#if TMODEL_CPU_AVX2

namespace tmodel::inline v0::cpu {

template <QuantizedFormat Q>
requires(x86::has_codes<Q>) struct Dot<avx2, Q> {
  using C = x86::Codes<Q>;
  using Weights = x86::Unpacked<C::signs, C::halves>;

  /// The chunk's first `parts` parts; the others need not be there.
  TMODEL_INLINE static void unpack(const typename Q::Block* blocks, int parts, Weights& w) noexcept {
    const auto put = [&](auto p, __m256i codes) TMODEL_INLINE_LAMBDA {
      _mm256_store_si256(reinterpret_cast<__m256i*>(w.q + p * part_len), codes);
    };
    if constexpr (Q::block_len == chunk_len) {
      C::scales(blocks, w);
      unroll<chunk_parts>([&](auto p) TMODEL_INLINE_LAMBDA { put(p, C::template codes<p>(blocks)); });
    } else if (parts == chunk_parts) {
      C::scales(blocks, w);
      unroll<chunk_parts>([&](auto p) TMODEL_INLINE_LAMBDA { put(p, C::codes(blocks[p])); });
    } else {
      typename Q::Block padded[chunk_parts] = {};
      std::copy_n(blocks, parts, padded);
      C::scales(padded, w);
      for (int p = 0; p < parts; ++p) put(p, C::codes(blocks[p]));
    }
  }

  /// The chunk's product. Offsets first, then the parts upwards.
  TMODEL_INLINE static Floats<avx2> product(const Weights& w, const Q8Chunk& x, int parts) noexcept {
    __m256 acc = _mm256_setzero_ps();
    if constexpr (C::halves) {
      acc = _mm256_fmadd_ps(_mm256_load_ps(w.offsets), _mm256_load_ps(x.weighted_halves), acc);
      acc = _mm256_fmadd_ps(_mm256_load_ps(w.offsets + 8), _mm256_load_ps(x.weighted_halves + 8), acc);
    } else if constexpr (!C::signs) {
      acc = _mm256_fmadd_ps(_mm256_load_ps(w.offsets), _mm256_load_ps(x.weighted), acc);
    }
    alignas(32) f32 scales[chunk_parts];
    _mm256_store_ps(scales, _mm256_mul_ps(_mm256_load_ps(w.scales), _mm256_load_ps(x.d)));
    const auto part = [&](int p) TMODEL_INLINE_LAMBDA {
      const __m256i q = _mm256_load_si256(reinterpret_cast<const __m256i*>(w.q + p * part_len));
      const __m256i xs = _mm256_load_si256(reinterpret_cast<const __m256i*>(x.qs + p * part_len));
      __m256i pairs;
      if constexpr (C::signs)
        pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(q, q), _mm256_sign_epi8(xs, q));
      else
        pairs = _mm256_maddubs_epi16(q, xs);
      __m256i factors;
      if constexpr (C::halves)
        factors = _mm256_load_si256(reinterpret_cast<const __m256i*>(w.factors + p * 16));
      else
        factors = _mm256_set1_epi16(1);
      acc =
          _mm256_fmadd_ps(_mm256_broadcast_ss(scales + p), _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, factors)), acc);
    };
    if (parts == chunk_parts)
      unroll<chunk_parts>(part);
    else
      for (int p = 0; p < parts; ++p) part(p);
    return acc;
  }
};

}  // namespace tmodel::inline v0::cpu

#endif
