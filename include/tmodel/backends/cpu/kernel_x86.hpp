#pragma once
// Kernel for AVX2: codes become unsigned bytes, 8 rows of them are multiplied at once. Saturation of 16 bits: one
// vpmaddubsw gives at most 2 * 127 * the largest code, so 8 of them may be added for codes of 4 bits, 4 for 5 and 2 for
// 6; codes of 8 bits are multiplied as magnitudes, at most 2 * 128 * 128, and widened each. kernel_vnni.hpp has the
// products where there are instructions without that stage.

#include "tmodel/backends/cpu/kernel_vnni.hpp"

#if TMODEL_CPU_AVX2

namespace tmodel::inline v0::cpu::x86 {

/// As cpu::pin.
TMODEL_INLINE void pin(__m256i& x) noexcept { __asm__("" : "+x"(x)); }

TMODEL_INLINE __m256i broadcast4(const void* p) noexcept { return _mm256_set1_epi32(load_unaligned<int>(p)); }

constexpr int safe_sums(int bits) noexcept { return bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1; }

/// Columns of 8 rows that are `stride` floats apart, 8 columns from `from` on, `to_stride` apart afterwards.
TMODEL_INLINE void transpose_to(const f32* from, int stride, f32* to, int to_stride) noexcept {
  Floats<avx2> v[8];
  unroll<8>([&](auto r) TMODEL_INLINE_LAMBDA { v[r] = _mm256_load_ps(from + r * stride); });
  transpose<avx2>(v);
  unroll<8>([&](auto c) TMODEL_INLINE_LAMBDA { _mm256_store_ps(to + c * to_stride, v[c]); });
}

/// Pointers to 8 rows that are `stride` blocks apart, by the addressing modes of two registers and three distances:
/// left alone, compilers keep eight pointers, most of them in memory.
template <class Block>
class EightRows {
 public:
  TMODEL_INLINE EightRows(const Block* first, std::size_t stride) noexcept
      : at_(reinterpret_cast<const char*>(first)), one_(stride * sizeof(Block)), three_(3 * one_) {
    __asm__("" : "+r"(three_));
  }
  template <int r>
  TMODEL_INLINE const Block* operator()(std::integral_constant<int, r>) const noexcept {
    const char* const four = r < 4 ? at_ : at_ + 4 * one_;
    return reinterpret_cast<const Block*>(four + (r % 4 == 3 ? three_ : static_cast<std::size_t>(r % 4) * one_));
  }
  TMODEL_INLINE void advance() noexcept {
    at_ += sizeof(Block);
    __asm__("" : "+r"(at_));
  }

 private:
  const char* at_;
  std::size_t one_, three_;
};

/// Minus the origin of codes times the sum of the activations of a unit: half 0 or 1 of a part, or all of it.
template <Coding coding, int half>
TMODEL_INLINE __m256i origins(const std::int16_t* sums) noexcept {
  return _mm256_madd_epi16(broadcast4(sums), _mm256_set1_epi32(minus_origin(coding, half)));
}

/// Products of panels with `columns` rows of activations, added to sums[c][row].
template <Coding coding, int columns>
TMODEL_NOINLINE void tile(const Panel<coding, 8>* panel, int parts, const Q8Chunk* x, int stride,
                          f32 (*sums)[8]) noexcept {
  constexpr int halves = part_len / coding.unit, groups = 8 / halves, depth = safe_sums(coding.bits);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256 acc[columns];
  unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { acc[c] = _mm256_load_ps(sums[c]); });
  for (int p = 0; p < parts; ++p) {
    const Panel<coding, 8>& w = panel[p / chunk_parts];
    const int part = p % chunk_parts;
    const Q8Chunk* const xs = x + p / chunk_parts;
    unroll<halves>([&](auto which) TMODEL_INLINE_LAMBDA {
      constexpr int half = decltype(which)::value;
      __m256i integer[columns], narrow[columns];
      unroll<groups>([&](auto group) TMODEL_INLINE_LAMBDA {
        constexpr int i = decltype(group)::value, j = half * groups + i;
        const __m256i q = _mm256_load_si256(reinterpret_cast<const __m256i*>(w.q[part][j]));
        const auto add = [&](auto c, __m256i product) TMODEL_INLINE_LAMBDA {
          integer[c] = i / depth == 0 ? product : _mm256_add_epi32(integer[c], product);
          pin(integer[c]);
        };
        if constexpr (coding.has_sign()) {  // |q| times x, negated where q is: as ~x, 1 too small, see w.negative
          const __m256i magnitude = _mm256_abs_epi8(q), sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), q);
          unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
            const __m256i v = _mm256_xor_si256(broadcast4(xs[c * stride].qs + part * part_len + 4 * j), sign);
            add(c, _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, v), ones));
          });
        } else {
          unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
            const __m256i v = broadcast4(xs[c * stride].qs + part * part_len + 4 * j);
            const __m256i product = _mm256_maddubs_epi16(q, v);
            narrow[c] = i % depth == 0 ? product : _mm256_add_epi16(narrow[c], product);
            pin(narrow[c]);
            if constexpr (i % depth == depth - 1 || i == groups - 1) add(c, _mm256_madd_epi16(narrow[c], ones));
          });
        }
      });
      const int unit = part * halves + half;
      const __m256 scale = _mm256_load_ps(w.scales[unit]);
      unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
        const Q8Chunk& xc = xs[c * stride];
        if constexpr (coding.has_sign())
          integer[c] =
              _mm256_add_epi32(integer[c], _mm256_load_si256(reinterpret_cast<const __m256i*>(w.negative[part])));
        if constexpr (coding.origin != 0)
          integer[c] = _mm256_add_epi32(integer[c], origins<coding, half>(xc.sums + 2 * part));
        acc[c] = _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_broadcast_ss(xc.d + part)), _mm256_cvtepi32_ps(integer[c]),
                                 acc[c]);
        if constexpr (coding.offsets) {
          const __m256 weighted = _mm256_set1_ps(weighted_sum<coding>(xc, part, half));
          acc[c] = _mm256_fmadd_ps(_mm256_load_ps(w.offsets[unit]), weighted, acc[c]);
        }
      });
    });
  }
  unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { _mm256_store_ps(sums[c], acc[c]); });
}

/// The sums of 8 rows, lane r that of row r, in each 128-bit half of a part and so of a row: two vectors. eight(r): 8
/// sums of row r.
TMODEL_INLINE void transposed_sums(auto eight, __m256i& low, __m256i& high) noexcept {
  const auto four = [&](auto r) TMODEL_INLINE_LAMBDA {
    const auto two = [&](auto a) TMODEL_INLINE_LAMBDA {
      const __m256i x = eight(a), y = eight(next<1>(a));
      return _mm256_add_epi32(_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y));
    };
    const __m256i x = two(r), y = two(next<2>(r));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(x, y), _mm256_unpackhi_epi64(x, y));
  };
  const __m256i x = four(std::integral_constant<int, 0>()), y = four(std::integral_constant<int, 4>());
  low = _mm256_permute2x128_si256(x, y, 0x20), high = _mm256_permute2x128_si256(x, y, 0x31);
}

/// The same from 16 sums of 16 bits, product(r): the part's codes of row r times the activations.
template <int bits, class Product>
TMODEL_INLINE void sums_of_rows(Product product, __m256i& low, __m256i& high) noexcept {
  if constexpr (bits <= 5) {
    const auto four = [&](auto r) TMODEL_INLINE_LAMBDA {
      const auto two = [&](auto a) TMODEL_INLINE_LAMBDA {
        const __m256i x = product(a), y = product(next<1>(a));
        return _mm256_add_epi16(_mm256_unpacklo_epi16(x, y), _mm256_unpackhi_epi16(x, y));
      };
      const __m256i x = two(r), y = two(next<2>(r));
      return _mm256_add_epi16(_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y));
    };
    const __m256i x = four(std::integral_constant<int, 0>()), y = four(std::integral_constant<int, 4>());
    const __m256i even = _mm256_unpacklo_epi64(x, y), odd = _mm256_unpackhi_epi64(x, y);
    const auto wide = [](__m128i v) TMODEL_INLINE_LAMBDA { return _mm256_cvtepi16_epi32(v); };
    const auto upper = [](__m256i v) TMODEL_INLINE_LAMBDA { return _mm256_extracti128_si256(v, 1); };
    if constexpr (bits <= 4) {
      const __m256i sum = _mm256_add_epi16(even, odd);
      low = wide(_mm256_castsi256_si128(sum)), high = wide(upper(sum));
    } else {
      low = _mm256_add_epi32(wide(_mm256_castsi256_si128(even)), wide(_mm256_castsi256_si128(odd)));
      high = _mm256_add_epi32(wide(upper(even)), wide(upper(odd)));
    }
  } else {
    const __m256i ones = _mm256_set1_epi16(1);
    transposed_sums([&](auto r) TMODEL_INLINE_LAMBDA { return _mm256_madd_epi16(product(r), ones); }, low, high);
  }
}

}  // namespace tmodel::inline v0::cpu::x86

namespace tmodel::inline v0::cpu {

template <class A, QuantizedFormat Q>
requires(has_avx2<A>&& has_codes<Q, A>) struct Kernel<A, Q> {
  using C = Codes<Q, A>;
  using Block = typename Q::Block;
  static constexpr bool vnni = x86::has_vnni<A>;
  static constexpr int rows = 8;
  static constexpr bool uses_panels = true;
  static constexpr int tile_rows = x86::tile_rows<A>;
  static constexpr Coding coding = vnni ? x86::without_sign(C::coding) : C::coding;
  static constexpr int halves = part_len / coding.unit;
  using Panel = cpu::Panel<coding, tile_rows>;

  /// The first `parts` parts of a chunk; `stride` blocks from row to row, the last of `count` rows stands for more.
  TMODEL_NOINLINE static void fill(const Block* blocks, std::size_t stride, int count, int parts,
                                   Panel& panel) noexcept {
    for (int first = 0; first < tile_rows; first += rows) {
      const auto row = [&](int r) TMODEL_INLINE_LAMBDA {
        return blocks + static_cast<std::size_t>(std::min(first + r, count - 1)) * stride;
      };
      if constexpr (wide) transposed_scales(row, panel.scales[0] + first, panel.offsets[0] + first, tile_rows);
      each_part(parts, [&](auto p) TMODEL_INLINE_LAMBDA {
        if constexpr (!wide)
          C::scales([&](int r) { return row(r) + p; }, panel.scales[p] + first,
                    panel.offsets[coding.offsets ? p : 0] + first);
        Floats<A> v[rows];
        unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { v[r] = _mm256_castsi256_ps(codes(row(r), p)); });
        transpose<A>(v);
        __m256i negative = _mm256_setzero_si256();
        unroll<8>([&](auto j) TMODEL_INLINE_LAMBDA {
          const __m256i q = _mm256_castps_si256(v[j]);
          _mm256_store_si256(reinterpret_cast<__m256i*>(panel.q[p][j] + 4 * first), q);
          if constexpr (coding.has_sign()) {
            const __m256i minus = _mm256_abs_epi8(_mm256_min_epi8(q, _mm256_setzero_si256()));
            negative = _mm256_add_epi16(negative, _mm256_maddubs_epi16(minus, _mm256_set1_epi8(1)));
          }
        });
        if constexpr (coding.has_sign())
          _mm256_store_si256(reinterpret_cast<__m256i*>(panel.negative[p]),
                             _mm256_madd_epi16(negative, _mm256_set1_epi16(1)));
      });
    }
  }

  /// One row of activations, or n of them if `several`, `x_stride` chunks apart: codes go from memory to the product in
  /// registers. As many bytes as this reads are fetched from `ahead` on, which moves: eight rows at a time are no
  /// stream that the processor would recognise.
  template <bool several>
  TMODEL_INLINE static void chunk(const Block* blocks, std::size_t stride, int parts, const Q8Chunk* x, int x_stride,
                                  int n, Floats<A>* acc, const std::byte*& ahead) noexcept {
    x86::EightRows<Block> row(blocks, stride);
    alignas(32) f32 scales[wide ? coding.units() : 1][rows], offsets[wide && coding.offsets ? coding.units() : 1][rows];
    if constexpr (wide) transposed_scales(row, scales[0], offsets[0], rows);
    each_part(parts, [&](auto p) TMODEL_INLINE_LAMBDA {
      if constexpr (!wide) C::scales(row, scales[0], offsets[0]);
      if constexpr (fetches_rows) {
        const std::byte* const block = ahead + static_cast<std::size_t>(p) * stride * sizeof(Block);
        for (std::size_t line = 0; line < sizeof(Block); line += cache_line) fetch_ahead(block + line);
      } else {
        constexpr std::size_t part_bytes = rows * sizeof(Block) * part_len / Q::block_len;
        for (std::size_t line = 0; line < part_bytes; line += cache_line) fetch_ahead(ahead + line);
        ahead += part_bytes;
      }
      using Here = std::integral_constant<int, (wide ? +p : 0)>;  // other rows advance
      const auto outputs = [&](const Q8Chunk& xc, Floats<A>& to, auto codes_of) TMODEL_INLINE_LAMBDA {
        const __m256i xs = _mm256_load_si256(reinterpret_cast<const __m256i*>(xc.qs + p * part_len));
        __m256i sum[2];
        if constexpr (vnni)
          x86::transposed_sums(
              [&](auto r)
                  TMODEL_INLINE_LAMBDA { return x86::Vnni<A>::Eight::dot(_mm256_setzero_si256(), codes_of(r), xs); },
              sum[0], sum[1]);
        else
          x86::sums_of_rows<coding.bits>(
              [&](auto r) TMODEL_INLINE_LAMBDA {
                const __m256i q = codes_of(r);
                if constexpr (coding.has_sign())
                  return _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(xs, q));
                else
                  return _mm256_maddubs_epi16(q, xs);
              },
              sum[0], sum[1]);
        if constexpr (halves == 1) sum[0] = _mm256_add_epi32(sum[0], sum[1]);
        const __m256 d = _mm256_broadcast_ss(xc.d + p);
        __m256 a = to;
        unroll<halves>([&](auto which) TMODEL_INLINE_LAMBDA {
          constexpr int half = decltype(which)::value;
          const int unit = wide ? p * halves + half : 0;
          if constexpr (coding.origin != 0)
            sum[half] = _mm256_add_epi32(sum[half], x86::origins<coding, half>(xc.sums + 2 * p));
          a = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_load_ps(scales[unit]), d), _mm256_cvtepi32_ps(sum[half]), a);
          if constexpr (coding.offsets) {
            const __m256 weighted = _mm256_set1_ps(weighted_sum<coding>(xc, p, half));
            a = _mm256_fmadd_ps(_mm256_load_ps(offsets[unit]), weighted, a);
          }
        });
        to = a;
      };
      if constexpr (several) {
        __m256i q[rows];
        unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { q[r] = codes(row(r), Here()); });
        for (int c = 0; c < n; ++c) outputs(x[c * x_stride], acc[c], [&](auto r) TMODEL_INLINE_LAMBDA { return q[r]; });
      } else {
        outputs(*x, *acc, [&](auto r) TMODEL_INLINE_LAMBDA { return codes(row(r), Here()); });
      }
      if constexpr (!wide) row.advance();
    });
    if constexpr (fetches_rows) ahead += sizeof(Block);
  }

  template <int columns>
  TMODEL_INLINE static void tile(const Panel* panel, int parts, const Q8Chunk* x, int stride,
                                 f32 (*sums)[tile_rows]) noexcept {
    if constexpr (vnni)
      x86::dot_tile<typename x86::Vnni<A>::Tile, coding, columns>(panel, parts, x, stride, sums);
    else
      x86::tile<coding, columns>(panel, parts, x, stride, sums);
  }

 private:
  static constexpr bool wide = Q::block_len == chunk_len;  // a block is a chunk; positions of bits differ by part
  static_assert(wide || (Q::block_len == part_len && C::coding.unit == part_len));
  static_assert(!C::coding.has_sign() || C::coding.unit == part_len);
  /// Lines are fetched in the order in which they will be read, not in that of memory. Codes of 6 bits, which compute
  /// longest, gain 15 to 20 % by it; formats that wait for memory lose as much.
  static constexpr bool fetches_rows = wide && coding.bits == 6;

  template <class Fn>
  TMODEL_INLINE static void each_part(int parts, Fn fn) noexcept {
    if constexpr (wide)
      unroll<chunk_parts>(fn);
    else
      for (int p = 0; p < parts; ++p) fn(p);
  }
  template <class P>
  TMODEL_INLINE static __m256i codes(const Block* row, P p) noexcept {
    __m256i q;
    if constexpr (wide)
      q = C::template codes<P::value>(row);
    else
      q = C::codes(row[p]);
    return coding.origin == C::coding.origin ? q : _mm256_xor_si256(q, _mm256_set1_epi8(-128));
  }
  template <class Row>
  TMODEL_INLINE static void transposed_scales(Row row, f32* scales, f32* offsets, int stride) noexcept {
    constexpr int n = coding.units();
    alignas(32) f32 s[rows][n], o[rows][n];
    unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { C::scales(row(r), s[r], o[r]); });
    for (int u = 0; u < n; u += 8) {
      x86::transpose_to(s[0] + u, n, scales + u * stride, stride);
      if constexpr (coding.offsets) x86::transpose_to(o[0] + u, n, offsets + u * stride, stride);
    }
  }
};

}  // namespace tmodel::inline v0::cpu

#endif
