#pragma once
// Quantised activations in the order in which kernels read them: chunks of 256 with their 8 scales and sums side by
// side. The numbers are those of quant/activations.hpp, bit for bit.

#include <algorithm>

#include "tmodel/backends/cpu/arch.hpp"
#include "tmodel/core/memory.hpp"
#include "tmodel/quant/activations.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int part_len = 32;    ///< elements that share an activation scale
inline constexpr int chunk_parts = 8;  ///< parts of a chunk
inline constexpr int chunk_len = part_len * chunk_parts;

/// Parts beyond the end of a row are zero.
struct alignas(cache_line) Q8Chunk {
  std::int8_t qs[chunk_len];  ///< element e of part p is d[p] * qs[32 p + e]
  f32 d[chunk_parts];
  f32 weighted[chunk_parts];           ///< d * sum of the part's qs: what offsets of weights are multiplied with
  std::int16_t sums[2 * chunk_parts];  ///< of the qs of each half of a part
};

constexpr int chunks_of(int columns) noexcept { return (columns + chunk_len - 1) / chunk_len; }

inline void put_part(Q8Chunk& chunk, int part, f32 d, int sum_low, int sum_high) noexcept {
  chunk.d[part] = d;
  chunk.weighted[part] = d * static_cast<f32>(sum_low + sum_high);
  chunk.sums[2 * part] = static_cast<std::int16_t>(sum_low);
  chunk.sums[2 * part + 1] = static_cast<std::int16_t>(sum_high);
}

/// 32 activations, with inverse = 127 / their largest magnitude, into out.
template <class A>
TMODEL_INLINE void quantize_part(const f32* x, f32 inverse, std::int8_t* out, int& sum_low, int& sum_high) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) {
    const __m256 k = _mm256_set1_ps(inverse);
    const auto ints = [&](int at) { return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + at), k)); };
    const __m256i words_a = _mm256_packs_epi32(ints(0), ints(8)), words_b = _mm256_packs_epi32(ints(16), ints(24));
    const __m256i mixed = _mm256_packs_epi16(words_a, words_b);
    const __m256i q = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), q);
    const __m256i sums = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
    alignas(32) std::int32_t s[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(s), sums);
    sum_low = s[0] + s[1] + s[2] + s[3];
    sum_high = s[4] + s[5] + s[6] + s[7];
    return;
  }
#endif
  alignas(32) std::int32_t q[part_len];
  for (int i = 0; i < part_len; i += lanes<A>) nearest<A>(load<A>(x + i) * Floats<A>(inverse)).store_unaligned(q + i);
  sum_low = sum_high = 0;
  for (int i = 0; i < 16; ++i) sum_low += q[i], sum_high += q[16 + i];
  for (int i = 0; i < part_len; ++i) out[i] = static_cast<std::int8_t>(q[i]);
}

/// Magnitude of the widest of 32 activations as bits: infinity and NaN stand on top.
template <class A>
TMODEL_INLINE std::uint32_t widest_bits(const f32* x) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) {
    const auto bits = [&](int at) {
      return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + at)),
                              _mm256_set1_epi32(0x7FFFFFFF));
    };
    const __m256i eight = _mm256_max_epi32(_mm256_max_epi32(bits(0), bits(8)), _mm256_max_epi32(bits(16), bits(24)));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(four));
  }
#endif
  std::uint32_t widest = 0;
  for (int i = 0; i < part_len; ++i) widest = std::max(widest, std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu);
  return widest;
}

/// `columns` (a multiple of 32) activations into chunks_of(columns) chunks. What a part's d and qs are: quantize_row.
template <class A>
TMODEL_NOINLINE void quantize_chunks(const f32* x, int columns, Q8Chunk* chunks) noexcept {
  const int parts = columns / part_len;
  for (int part = 0; part < chunks_of(columns) * chunk_parts; ++part) {
    Q8Chunk& chunk = chunks[part / chunk_parts];
    const int p = part % chunk_parts;
    std::int8_t* const qs = chunk.qs + part_len * p;
    const std::uint32_t widest = part < parts ? widest_bits<A>(x + part * part_len) : 0;
    const f32 amax = std::bit_cast<f32>(widest);
    if (widest >= 0x7F800000u || amax < q8_smallest) {
      std::memset(qs, 0, part_len);
      put_part(chunk, p, widest >= 0x7F800000u ? std::bit_cast<f32>(std::uint32_t{0x7FC00000}) : 0.f, 0, 0);
      continue;
    }
    int low, high;
    quantize_part<A>(x + part * part_len, 127.0f / amax, qs, low, high);
    put_part(chunk, p, amax / 127.0f, low, high);
  }
}

}  // namespace tmodel::inline v0::cpu
