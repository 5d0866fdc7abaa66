#pragma once
// y = x wT + bias for quantised weights. An output element is one chain of additions along its row (panel.hpp); tiles,
// pieces and threads only choose which chains run together, so its bits depend on nothing else.

#include "tmodel/backends/cpu/kernel_x86.hpp"
#include "tmodel/backends/cpu/panel.hpp"
#include "tmodel/backends/host.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int panel_rows = 32;   ///< rows of weights and
inline constexpr int panel_chunks = 4;  ///< chunks of columns that are panels at a time: about 40 KB on the stack

/// The first n lanes, n <= lanes.
template <class A>
TMODEL_INLINE void store_first(f32* p, Floats<A> x, int n) noexcept {
  n == lanes<A> ? store<A>(p, x) : store_some<A>(p, x, n);
}
template <class A>
TMODEL_INLINE Floats<A> load_first(const f32* p, int n) noexcept {
  return n == lanes<A> ? load<A>(p) : load_some<A>(p, n);
}

/// Output columns [begin, end) of the only row of activations.
template <class A, class Q>
TMODEL_NOINLINE void quantized_row(const HostMatrix<Q>& m, const Q8Chunk* x, f32* y, const f32* bias, int begin,
                                   int end) noexcept {
  constexpr int R = Kernel<A, Q>::rows, blocks_per_chunk = chunk_len / static_cast<int>(Q::block_len);
  const int parts = m.columns / part_len;
  const std::size_t group_bytes = static_cast<std::size_t>(m.columns) / Q::block_len * R * sizeof(typename Q::Block);
  fetch_first(reinterpret_cast<const std::byte*>(m.row(begin)), group_bytes);
  for (int row = begin; row < end;) {
    // The last rows are done with some of those before once more, which have the same bits; fewer than R one by one.
    const int at = row + R <= end ? row : std::max(end - R, begin), count = std::min(end - at, R);
    const bool alone = count < R;
    const std::size_t stride = alone ? 0 : static_cast<std::size_t>(m.columns) / Q::block_len;
    const typename Q::Block* blocks = m.row(alone ? row : at);
    auto* ahead = reinterpret_cast<const std::byte*>(blocks) + group_bytes;
    Floats<A> acc(0.f);
    for (int p = 0; p < parts; p += chunk_parts, blocks += blocks_per_chunk)
      acc = Kernel<A, Q>::chunk(blocks, stride, std::min(parts - p, chunk_parts), x[p / chunk_parts], acc, ahead);
    if (alone) {
      y[row] = acc.get(0) + (bias ? bias[row] : 0.f);
      ++row;
    } else {
      store<A>(y + at, bias ? acc + load<A>(bias + at) : acc);
      row = at + R;
    }
  }
}

template <int most, class Fn>
TMODEL_INLINE void visit_count(int n, Fn&& fn) noexcept {
  if constexpr (most > 1)
    if (n < most) return visit_count<most - 1>(n, fn);
  fn(std::integral_constant<int, most>());
}

/// Adds to the sums of `groups` panels' rows, in y, what `parts` parts give; begins them or adds the bias if told so.
template <int columns, class K, class A>
TMODEL_INLINE void tile_outputs(const typename K::Panel* panels, int groups, int parts, const Q8Chunk* x, int stride,
                                const HostRows<f32>& y, int first, int row, int end, bool begins,
                                const f32* bias) noexcept {
  for (int g = 0; g < groups; ++g, row += K::rows, panels += panel_chunks) {
    const int count = std::min(K::rows, end - row);
    Floats<A> acc[columns];
    for (int c = 0; c < columns; ++c) acc[c] = begins ? Floats<A>(0.f) : load_first<A>(y.row(first + c) + row, count);
    K::template tile<columns>(panels, parts, x, stride, acc);
    for (int c = 0; c < columns; ++c)
      store_first<A>(y.row(first + c) + row, bias ? acc[c] + load_first<A>(bias + row, count) : acc[c], count);
  }
}

/// Output columns [begin, end) of many rows of activations: weights are unpacked into panels once for all of them.
template <class A, class Q>
TMODEL_NOINLINE void quantized_rows(const HostMatrix<Q>& m, const Q8Chunk* x, int stride, const HostRows<f32>& y,
                                    const f32* bias, int begin, int end) noexcept {
  using K = Kernel<A, Q>;
  constexpr int R = K::rows, widest = 6;
  constexpr int blocks_per_chunk = chunk_len / static_cast<int>(Q::block_len);
  const std::size_t row_blocks = static_cast<std::size_t>(m.columns) / Q::block_len;
  const int parts = m.columns / part_len;
  typename K::Panel panels[panel_rows / R * panel_chunks];
  for (int row = begin; row < end; row += panel_rows) {
    const int groups = (std::min(end - row, panel_rows) + R - 1) / R;
    for (int first = 0; first < parts; first += panel_chunks * chunk_parts) {
      const int here = std::min(parts - first, panel_chunks * chunk_parts), chunk = first / chunk_parts;
      for (int g = 0; g < groups; ++g)
        for (int p = 0; p < here; p += chunk_parts) {
          const int at = row + g * R, count = std::min(end - at, R);
          K::fill(m.row(at) + (chunk + p / chunk_parts) * blocks_per_chunk, row_blocks, count,
                  std::min(here - p, chunk_parts), panels[g * panel_chunks + p / chunk_parts]);
        }
      const bool last = first + here == parts;
      for (int c = 0, left = (y.n + widest - 1) / widest; c < y.n; --left) {  // as even as may be
        const int n = (y.n - c + left - 1) / left;
        const auto tiles = [&](auto columns) TMODEL_INLINE_LAMBDA {
          tile_outputs<columns, K, A>(panels, groups, here,
                                      x + static_cast<std::size_t>(c) * static_cast<std::size_t>(stride) + chunk,
                                      stride, y, c, row, end, first == 0, last ? bias : nullptr);
        };
        visit_count<widest>(n, tiles);
        c += n;
      }
    }
  }
}

/// Output columns [begin, end) of all rows of y; x has `stride` chunks a row.
template <class A, class Q>
void multiply_quantized(const HostMatrix<Q>& m, const Q8Chunk* x, int stride, const HostRows<f32>& y, const f32* bias,
                        int begin, int end) noexcept {
  if (y.n == 1)
    quantized_row<A, Q>(m, x, y.data, bias, begin, end);
  else
    quantized_rows<A, Q>(m, x, stride, y, bias, begin, end);
}

}  // namespace tmodel::inline v0::cpu
