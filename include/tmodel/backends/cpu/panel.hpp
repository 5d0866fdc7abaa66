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
#include "tmodel/backends/cpu/unit_sums.hpp"
#include "tmodel/quant/integers.hpp"

namespace tmodel::inline v0::cpu {

/// What a kernel has to know of a format: codes of `bits` bits, unsigned and `origin` too large, or signed if 8. 0 bits
/// are bytes with a sign, see plain().
struct Coding {
  int bits = 8;
  int origin = 0;
  int unit = part_len;  ///< elements that share a scale: 32 or 16
  bool offsets = false;

  constexpr int units() const noexcept { return chunk_len / unit; }
  constexpr bool has_sign() const noexcept { return bits == 8 && origin == 0; }
  /// Of a panel whose codes have become bytes with a sign, the origin taken off.
  constexpr Coding plain() const noexcept { return {.bits = 0, .origin = 0, .unit = unit, .offsets = offsets}; }
};

/// What a unit's offset is multiplied with.
template <Coding coding>
TMODEL_INLINE f32 weighted_sum(const Q8Chunk& x, int part, int half) noexcept {
  return coding.unit == part_len ? x.weighted[part] : x.d[part] * static_cast<f32>(x.sums[2 * part + half]);
}

/// A chunk of 256 columns of `rows` weights. Bytes 4r to 4r + 3 of q[p][j] are elements 4j to 4j + 3 of part p of row
/// r.
template <Coding coding, int rows>
struct alignas(cache_line) Panel {
  std::int8_t q[chunk_parts][8][4 * rows];
  f32 scales[coding.units()][rows];
  f32 offsets[coding.offsets ? coding.units() : 1][rows];
  std::int32_t negative[coding.has_sign() ? chunk_parts : 1][rows];  ///< minus the sum of a part's negative codes
};

/// Products of panels whose codes are bytes with a sign.
template <class A, Coding codes>
struct PanelTile {
  static constexpr Coding coding = codes;
  static constexpr int rows = lanes<A>;   ///< of weights that chunk() takes, and
  static constexpr int tile_rows = rows;  ///< those of a panel
  using Panel = cpu::Panel<coding, rows>;

  /// sums[c] += the products of `parts` parts of panels with row c of activations; rows are `stride` chunks apart.
  template <int columns>
  TMODEL_NOINLINE static void tile(const Panel* panel, int parts, const Q8Chunk* x, int stride,
                                   f32 (*sums)[rows]) noexcept {
    constexpr int halves = part_len / coding.unit, groups = coding.unit / 4;
    Floats<A> acc[columns];
    unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { acc[c] = load<A>(sums[c]); });
    for (int p = 0; p < parts; ++p) {
      const Panel& w = panel[p / chunk_parts];
      const int part = p % chunk_parts;
      const Q8Chunk* const xs = x + p / chunk_parts;
      for (int half = 0; half < halves; ++half) {
        const int first = half * groups, unit = part * halves + half;
        Floats<A> products[columns];
        unit_sums<A, groups>(w.q[part] + first, xs->qs + part * part_len + 4 * first,
                             static_cast<std::size_t>(stride) * sizeof(Q8Chunk), products);
        const Floats<A> scale = load<A>(w.scales[unit]);
        unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
          const Q8Chunk& xc = xs[c * stride];
          acc[c] = fused<A>(scale * Floats<A>(xc.d[part]), products[c], acc[c]);
          if constexpr (coding.offsets)
            acc[c] = fused<A>(load<A>(w.offsets[unit]), Floats<A>(weighted_sum<coding>(xc, part, half)), acc[c]);
        });
      }
    }
    unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { store<A>(sums[c], acc[c]); });
  }
};

/// Kernel<Arch, Q>: panels of Q and products with them. Here the form that serves every format, where codes are
/// unpacked one by one; kernel_x86.hpp and kernel_four.hpp have better ones for formats with Codes.
template <class A, QuantizedFormat Q>
struct Kernel
    : PanelTile<
          A, Coding{.bits = 0, .unit = static_cast<int>(Q::Integers::sub_len), .offsets = Q::Integers::has_offsets}> {
  using Integers = typename Q::Integers;
  static_assert(chunk_len % Q::block_len == 0, "tmodel: a block of a quantised format has 32, 64, 128 or 256 elements");
  using Tile = typename Kernel::PanelTile;
  using Panel = typename Tile::Panel;
  static constexpr Coding coding = Tile::coding;
  static constexpr int rows = Tile::rows;
  static constexpr bool uses_panels = true;

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
    for (int c = 0; c < n; ++c) {
      f32 sums[1][rows];
      store<A>(sums[0], acc[c]);
      Tile::template tile<1>(&panel, parts, x + c * x_stride, 0, sums);
      acc[c] = load<A>(sums[0]);
    }
  }
};

}  // namespace tmodel::inline v0::cpu
