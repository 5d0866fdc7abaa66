#pragma once
// Kernel for vectors of four: SSE2 and NEON, with sdot where there is one. Codes go from memory to the product in
// registers, four rows at a time; for prompts with sdot into panels, as bytes with a sign.

#include "tmodel/backends/cpu/codes.hpp"
#include "tmodel/backends/cpu/transpose.hpp"

namespace tmodel::inline v0::cpu {

/// FourRows<A>: the sums of 32 products each of the codes of row r, codes(r), and 32 activations at x, a lane for each
/// row; in two halves of 16 if sums has two. Codes are below 64, or have a sign.
template <class A>
struct FourRows;

#if defined(__SSE2__)
template <>
struct FourRows<sse2> {
  static constexpr bool uses_panels = false;  // which would widen every code again for each column
  template <bool has_sign, int halves>
  TMODEL_INLINE static void dot(auto codes, const std::int8_t* x, Ints<sse2> (&sums)[halves]) noexcept {
    const auto words = [](__m128i v, auto part, bool sign) TMODEL_INLINE_LAMBDA {
      const __m128i fill = sign ? _mm_cmpgt_epi8(_mm_setzero_si128(), v) : _mm_setzero_si128();
      return part % 2 == 0 ? _mm_unpacklo_epi8(v, fill) : _mm_unpackhi_epi8(v, fill);
    };
    const auto at = reinterpret_cast<const __m128i*>(x);
    const __m128i x0 = _mm_load_si128(at), x1 = _mm_load_si128(at + 1);
    __m128i xs[4], sum[halves][4];
    unroll<4>([&](auto i) TMODEL_INLINE_LAMBDA { xs[i] = words(i < 2 ? x0 : x1, i, true); });
    unroll<4>([&](auto r) TMODEL_INLINE_LAMBDA {
      const auto q = codes(r);
      const auto product = [&](auto i) TMODEL_INLINE_LAMBDA {
        return _mm_madd_epi16(words(i < 2 ? q.low : q.high, i, has_sign), xs[i]);
      };
      constexpr std::integral_constant<int, 0> first;
      sum[0][r] = _mm_add_epi32(product(first), product(next<1>(first)));
      const __m128i second = _mm_add_epi32(product(next<2>(first)), product(next<3>(first)));
      if constexpr (halves == 2)
        sum[1][r] = second;
      else
        sum[0][r] = _mm_add_epi32(sum[0][r], second);
    });
    unroll<halves>([&](auto h) TMODEL_INLINE_LAMBDA {
      const auto two = [&](auto r) TMODEL_INLINE_LAMBDA {
        const __m128i a = sum[h][r], b = sum[h][r + 1];
        return _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
      };
      const __m128i a = two(std::integral_constant<int, 0>()), b = two(std::integral_constant<int, 2>());
      sums[h] = _mm_add_epi32(_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b));
    });
  }
};
#endif

#if defined(__aarch64__)
/// Product::of(sum, codes, x) adds to sum four sums, of 16 products together.
template <class Product>
struct FourNeonRows {
  template <bool, int halves>
  TMODEL_INLINE static void dot(auto codes, const std::int8_t* x, Ints<neon64> (&sums)[halves]) noexcept {
    const int8x16_t x0 = vld1q_s8(x), x1 = vld1q_s8(x + 16);
    int32x4_t sum[halves][4];
    unroll<4>([&](auto r) TMODEL_INLINE_LAMBDA {
      const uint8x16x2_t q = codes(r);
      const int8x16_t q0 = vreinterpretq_s8_u8(q.val[0]), q1 = vreinterpretq_s8_u8(q.val[1]);
      sum[0][r] = Product::of(vdupq_n_s32(0), q0, x0);
      sum[halves - 1][r] = Product::of(halves == 2 ? vdupq_n_s32(0) : sum[0][r], q1, x1);
    });
    unroll<halves>([&](auto h) TMODEL_INLINE_LAMBDA {
      sums[h] = vpaddq_s32(vpaddq_s32(sum[h][0], sum[h][1]), vpaddq_s32(sum[h][2], sum[h][3]));
    });
  }
};

struct WideningProduct {  ///< two products are at most 2 * 128 * 127, which 16 bits hold
  TMODEL_INLINE static int32x4_t of(int32x4_t sum, int8x16_t q, int8x16_t x) noexcept {
    return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(q), vget_low_s8(x)), q, x));
  }
};
template <>
struct FourRows<neon64> : FourNeonRows<WideningProduct> {
  static constexpr bool uses_panels = false;
};
#endif

#if TMODEL_CPU_DOTPROD
struct DotProduct {
  TMODEL_INLINE static int32x4_t of(int32x4_t sum, int8x16_t q, int8x16_t x) noexcept { return vdotq_s32(sum, q, x); }
};
template <>
struct FourRows<neon64_dotprod> : FourNeonRows<DotProduct> {
  static constexpr bool uses_panels = true;  // sums need not be brought together across lanes
};
#endif

template <class A, QuantizedFormat Q>
requires(lanes<A> == 4 && has_codes<Q, A>) struct Kernel<A, Q> : PanelTile<A, Codes<Q, A>::coding.plain()> {
  using C = Codes<Q, A>;
  using Block = typename Q::Block;
  using Panel = typename Kernel::PanelTile::Panel;
  static constexpr Coding coding = C::coding.plain();
  static constexpr int rows = 4;
  static constexpr bool uses_panels = FourRows<A>::uses_panels;  ///< for more than few_rows rows of activations
  static constexpr int origin = C::coding.origin, halves = part_len / coding.unit;

  /// The first `parts` parts of a chunk; `stride` blocks from row to row, the last of `count` rows stands for more.
  TMODEL_NOINLINE static void fill(const Block* blocks, std::size_t stride, int count, int parts,
                                   Panel& panel) noexcept {
    const auto row = [&](int r) TMODEL_INLINE_LAMBDA {
      return blocks + static_cast<std::size_t>(std::min(r, count - 1)) * stride;
    };
    each_part(row, parts, panel.scales, panel.offsets, [&](auto p, auto codes, int) TMODEL_INLINE_LAMBDA {
      alignas(64) std::int8_t q[rows][part_len];  // see IntegerBlock
      unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA {
        const auto v = BytesOf<A>::plus(codes(r), -origin);
        std::memcpy(q[r], &v, sizeof v);
      });
      for (int half = 0; half < 2; ++half) {
        Floats<A> v[rows];
        unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { std::memcpy(&v[r], q[r] + 16 * half, 16); });
        transpose<A>(v);
        unroll<4>([&](auto j) TMODEL_INLINE_LAMBDA { std::memcpy(panel.q[p][4 * half + j], &v[j], 16); });
      }
    });
  }

  /// n rows of activations, `x_stride` chunks apart, one of them if not `several`. As many bytes as this reads are
  /// fetched from `ahead` on, which moves.
  template <bool several>
  TMODEL_INLINE static void chunk(const Block* blocks, std::size_t stride, int parts, const Q8Chunk* x, int x_stride,
                                  int n, Floats<A>* acc, const std::byte*& ahead) noexcept {
    const auto row = [&](int r) TMODEL_INLINE_LAMBDA { return blocks + static_cast<std::size_t>(r) * stride; };
    alignas(64) f32 scales[coding.units()][rows], offsets[coding.offsets ? coding.units() : 1][rows];
    each_part(row, parts, scales, offsets, [&](auto p, auto codes, int unit) TMODEL_INLINE_LAMBDA {
      constexpr std::size_t part_bytes = rows * sizeof(Block) * part_len / Q::block_len;
      for (std::size_t line = 0; line < part_bytes; line += cache_line) fetch_ahead(ahead + line);
      ahead += part_bytes;
      const auto outputs = [&](const Q8Chunk& xc, Floats<A>& to, auto codes_of) TMODEL_INLINE_LAMBDA {
        Ints<A> sums[halves];
        FourRows<A>::template dot<C::coding.has_sign()>(codes_of, xc.qs + p * part_len, sums);
        unroll<halves>([&](auto half) TMODEL_INLINE_LAMBDA {
          if constexpr (origin != 0) {
            const std::int16_t* const of = xc.sums + 2 * p + half;
            sums[half] = sums[half] - Ints<A>(origin * (halves == 1 ? of[0] + of[1] : of[0]));
          }
          to = fused<A>(load<A>(scales[unit + half]) * Floats<A>(xc.d[p]), xsimd::to_float(sums[half]), to);
          if constexpr (coding.offsets)
            to = fused<A>(load<A>(offsets[unit + half]), Floats<A>(weighted_sum<coding>(xc, p, half)), to);
        });
      };
      if constexpr (several) {
        Vector<A> q[rows];
        unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { q[r] = codes(r); });
        for (int c = 0; c < n; ++c) outputs(x[c * x_stride], acc[c], [&](auto r) TMODEL_INLINE_LAMBDA { return q[r]; });
      } else {
        outputs(*x, *acc, codes);
      }
    });
  }

 private:
  static constexpr bool wide = Q::block_len == chunk_len;  // a block is a chunk; positions of bits differ by part
  static_assert(wide || (Q::block_len == part_len && C::coding.unit == part_len));
  static_assert(C::coding.has_sign() || C::coding.bits < 8);

  /// fn(p, codes, unit) for each part p: codes(r) are those of row r, scales and offsets from `unit` on are the part's.
  template <class Row, class Fn>
  TMODEL_INLINE static void each_part(Row row, int parts, auto& scales, auto& offsets, Fn fn) noexcept {
    if constexpr (wide) {
      transposed_scales(row, scales, offsets);
      unroll<chunk_parts>([&](auto p) TMODEL_INLINE_LAMBDA {
        fn(
            p, [&](auto r) TMODEL_INLINE_LAMBDA { return C::template codes<decltype(p)::value>(row(r)); }, p * halves);
      });
    } else {
      for (int p = 0; p < parts; ++p) {
        C::scales([&](int r) TMODEL_INLINE_LAMBDA { return row(r) + p; }, scales[p], offsets[coding.offsets ? p : 0]);
        fn(
            p, [&](auto r) TMODEL_INLINE_LAMBDA { return C::codes(row(r)[p]); }, p);
      }
    }
  }
  template <class Row>
  TMODEL_INLINE static void transposed_scales(Row row, auto& scales, auto& offsets) noexcept {
    constexpr int n = coding.units();
    alignas(64) f32 s[rows][n], o[rows][n];
    unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { C::scales(row(r), s[r], o[r]); });
    const auto put = [](const f32(&from)[rows][n], auto& to) TMODEL_INLINE_LAMBDA {
      for (int u = 0; u < n; u += 4) {
        Floats<A> v[4];
        unroll<4>([&](auto r) TMODEL_INLINE_LAMBDA { v[r] = load<A>(from[r] + u); });
        transpose<A>(v);
        unroll<4>([&](auto c) TMODEL_INLINE_LAMBDA { store<A>(to[u + c], v[c]); });
      }
    };
    put(s, scales);
    if constexpr (coding.offsets) put(o, offsets);
  }
};

}  // namespace tmodel::inline v0::cpu
