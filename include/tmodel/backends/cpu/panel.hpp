#pragma once
// Quantised weights laid out for a product: a vector's lanes are rows, so no kernel ever adds lanes up.
//
// The order of additions, on every instruction set and in every kernel (quant/dot_reference.hpp is the same in plain
// code): for the units of a row upwards, a unit being the 32 or 16 elements that share a scale,
//   acc = fma(scale * d, I, acc)             I: the exact integer sum of the unit's products, d: of the activations
//   acc = fma(offset, d * S, acc)            in formats with offsets; S: the sum of the unit's activations
// Integers are exact whatever instructions add them, so the kernel for one row of activations, the tiles for many and
// any variant of the inner product give the same bits.

#include "tmodel/backends/cpu/activations.hpp"
#include "tmodel/backends/cpu/convert.hpp"
#include "tmodel/quant/integers.hpp"

namespace tmodel::inline v0::cpu {

/// What a kernel has to know of a format: codes of `bits` bits, unsigned and `origin` too large, or signed if 8.
struct Coding {
  int bits = 8;
  int origin = 0;
  int unit = part_len;  ///< elements that share a scale: 32 or 16
  bool offsets = false;

  constexpr int units() const noexcept { return chunk_len / unit; }
};

/// A chunk of 256 columns of `rows` weights. Bytes 4r to 4r + 3 of q[p][j] are elements 4j to 4j + 3 of part p of row
/// r.
template <Coding coding, int rows>
struct alignas(cache_line) Panel {
  std::int8_t q[chunk_parts][8][4 * rows];
  f32 scales[coding.units()][rows];
  f32 offsets[coding.offsets ? coding.units() : 1][rows];
  std::int32_t negative[coding.bits == 8 ? chunk_parts : 1][rows];  ///< minus the sum of a part's negative codes
};

/// Kernel<Arch, Q>: panels of Q and products with them. Here the form that serves every format where codes are unpacked
/// one by one; kernel_x86.hpp has a better one for AVX2.
template <class A, QuantizedFormat Q>
struct Kernel {
  using Integers = typename Q::Integers;
  static_assert(chunk_len % Q::block_len == 0, "tmodel: a block of a quantised format has 32, 64, 128 or 256 elements");
  static constexpr int rows = lanes<A>;
  static constexpr Coding coding{
      .bits = 0, .origin = 0, .unit = static_cast<int>(Integers::sub_len), .offsets = Integers::has_offsets};
  using Panel = cpu::Panel<coding, rows>;

  /// The first `parts` parts of a chunk; `stride` blocks from row to row, the last of `count` rows stands for more.
  static void fill(const typename Q::Block* blocks, std::size_t stride, int count, int parts, Panel& panel) noexcept {
    Integers one;
    for (int r = 0; r < rows; ++r) {
      const typename Q::Block* const row = blocks + static_cast<std::size_t>(std::min(r, count - 1)) * stride;
      for (int b = 0; b * static_cast<int>(Q::block_len) < parts * part_len; ++b) {
        Q::unpack(row[b], one);
        for (std::size_t e = 0; e < Q::block_len; e += 4) {
          const std::size_t at = static_cast<std::size_t>(b) * Q::block_len + e;
          std::memcpy(panel.q[at / part_len][at % part_len / 4] + 4 * r, one.q + e, 4);
        }
        for (std::size_t s = 0; s < Integers::count; ++s) {
          const std::size_t unit = static_cast<std::size_t>(b) * Integers::count + s;
          panel.scales[unit][r] = one.scales[s];
          if constexpr (coding.offsets) panel.offsets[unit][r] = one.offsets[s];
        }
      }
    }
  }

  /// n rows of activations, `x_stride` chunks apart, one of them if not `several`.
  template <bool several>
  static void chunk(const typename Q::Block* blocks, std::size_t stride, int parts, const Q8Chunk* x, int x_stride,
                    int n, Floats<A>* acc, const std::byte*&) noexcept {
    Panel panel;
    fill(blocks, stride, rows, parts, panel);
    for (int c = 0; c < n; ++c) tile<1>(&panel, parts, x + c * x_stride, 0, acc + c);
  }

  /// acc[c] += the product of `parts` parts of panels with row c of activations; rows are `stride` chunks apart.
  template <int columns>
  static void tile(const Panel* panel, int parts, const Q8Chunk* x, int stride, Floats<A>* acc) noexcept {
    for (int p = 0; p < parts; ++p) {
      const Panel& w = panel[p / chunk_parts];
      const int part = p % chunk_parts;
      for (int c = 0; c < columns; ++c) {
        const Q8Chunk& xs = x[c * stride + p / chunk_parts];
        for (int half = 0; half < part_len / coding.unit; ++half) {
          const int groups = coding.unit / 4, first = half * groups, unit = part * (part_len / coding.unit) + half;
          const Floats<A> sum = products(w.q[part] + first, groups, xs.qs + part * part_len + 4 * first);
          acc[c] = fused<A>(load<A>(w.scales[unit]) * Floats<A>(xs.d[part]), sum, acc[c]);
          if constexpr (coding.offsets) {
            const f32 weighted =
                coding.unit == part_len ? xs.weighted[part] : xs.d[part] * static_cast<f32>(xs.sums[2 * part + half]);
            acc[c] = fused<A>(load<A>(w.offsets[unit]), Floats<A>(weighted), acc[c]);
          }
        }
      }
    }
  }

 private:
  /// Sums over `groups` times 4 elements, a lane for each row.
  TMODEL_INLINE static Floats<A> products(const std::int8_t (*w)[4 * rows], int groups, const std::int8_t* x) noexcept {
#if defined(__SSE2__)
    if constexpr (std::is_same_v<A, sse2>) {
      const auto low = [](__m128i v) { return _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8); };
      const auto high = [](__m128i v) { return _mm_srai_epi16(_mm_unpackhi_epi8(v, v), 8); };
      __m128i a = _mm_setzero_si128(), b = a;  // rows 0 and 1, rows 2 and 3: two sums each
      for (int j = 0; j < groups; ++j) {
        const __m128i ws = _mm_load_si128(reinterpret_cast<const __m128i*>(w[j]));
        const __m128i xs = low(_mm_set1_epi32(load_unaligned<int>(x + 4 * j)));
        a = _mm_add_epi32(a, _mm_madd_epi16(low(ws), xs));
        b = _mm_add_epi32(b, _mm_madd_epi16(high(ws), xs));
      }
      const __m128 even = _mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x88);
      const __m128 odd = _mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0xDD);
      return _mm_cvtepi32_ps(_mm_add_epi32(_mm_castps_si128(even), _mm_castps_si128(odd)));
    }
#endif
#if defined(__aarch64__)
    if constexpr (std::is_same_v<A, neon64>) {
#if defined(__ARM_FEATURE_DOTPROD)
      int32x4_t sum = vdupq_n_s32(0);
      for (int j = 0; j < groups; ++j)
        sum =
            vdotq_s32(sum, vld1q_s8(w[j]), vreinterpretq_s8_s32(vdupq_n_s32(load_unaligned<std::int32_t>(x + 4 * j))));
      return vcvtq_f32_s32(sum);
#else
      int32x4_t a = vdupq_n_s32(0), b = a;  // rows 0 and 1, rows 2 and 3: two sums each
      for (int j = 0; j < groups; ++j) {
        const int8x16_t ws = vld1q_s8(w[j]);
        const int8x8_t xs = vreinterpret_s8_s32(vdup_n_s32(load_unaligned<std::int32_t>(x + 4 * j)));
        a = vpadalq_s16(a, vmull_s8(vget_low_s8(ws), xs));
        b = vpadalq_s16(b, vmull_s8(vget_high_s8(ws), xs));
      }
      return vcvtq_f32_s32(vpaddq_s32(a, b));
#endif
    }
#endif
  }
};

}  // namespace tmodel::inline v0::cpu
