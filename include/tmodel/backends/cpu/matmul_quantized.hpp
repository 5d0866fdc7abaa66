#pragma once
// y = x wT + bias for quantised weights. An output element is one chain of additions along its row (panel.hpp); tiles,
// pieces and threads only choose which chains run together, so its bits depend on nothing else.

#include "tmodel/backends/cpu/kernel_four.hpp"
#include "tmodel/backends/cpu/kernel_x86.hpp"
#include "tmodel/backends/host.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int few_rows = 8;      ///< rows of activations that do without panels
inline constexpr int panel_rows = 32;   ///< rows of weights and
inline constexpr int panel_chunks = 4;  ///< chunks of columns that are panels at a time: about 40 KB on the stack

/// Output columns [begin, end) of the only row of activations, or of `several`, at most few_rows: weights are read
/// once, without becoming panels.
template <class A, class Q, bool several>
TMODEL_NOINLINE void quantized_few(const HostMatrix<Q>& m, const Q8Chunk* x, int x_stride, const HostRows<f32>& y,
                                   const f32* bias, int begin, int end) noexcept {
  const int n = several ? y.n : 1;
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
    Floats<A> acc[several ? few_rows : 1];
    for (int c = 0; c < n; ++c) acc[c] = Floats<A>(0.f);
    for (int p = 0; p < parts; p += chunk_parts, blocks += blocks_per_chunk)
      Kernel<A, Q>::template chunk<several>(blocks, stride, std::min(parts - p, chunk_parts), x + p / chunk_parts,
                                            x_stride, n, acc, ahead);
    for (int c = 0; c < n; ++c)
      if (alone)
        y.row(c)[row] = acc[c].get(0) + (bias ? bias[row] : 0.f);
      else
        store<A>(y.row(c) + at, bias ? acc[c] + load<A>(bias + at) : acc[c]);
    row = alone ? row + 1 : at + R;
  }
}

/// Adds to the sums of `groups` panels' rows, in y, what `parts` parts give; begins them or adds the bias if told so.
template <int columns, class K, class A>
TMODEL_INLINE void tile_outputs(const typename K::Panel* panels, int groups, int parts, const Q8Chunk* x, int stride,
                                const HostRows<f32>& y, int first, int row, int end, bool begins, const f32* bias,
                                auto before_each) noexcept {
  for (int g = 0; g < groups; ++g, row += K::tile_rows, panels += panel_chunks) {
    before_each();
    const int count = std::min(K::tile_rows, end - row);
    alignas(cache_line) f32 acc[columns][K::tile_rows];
    for (int c = 0; c < columns; ++c)
      for (int r = 0; r < K::tile_rows; r += lanes<A>)
        store<A>(acc[c] + r,
                 begins || r >= count ? Floats<A>(0.f) : load_first<A>(y.row(first + c) + row + r, count - r));
    K::template tile<columns>(panels, parts, x, stride, acc);
    for (int c = 0; c < columns; ++c)
      for (int r = 0; r < count; r += lanes<A>) {
        const Floats<A> sum = load<A>(acc[c] + r);
        store_first<A>(y.row(first + c) + row + r, bias ? sum + load_first<A>(bias + row + r, count - r) : sum,
                       count - r);
      }
  }
}

/// What the next panels are made of: fetched share by share while the present ones are multiplied.
struct NextPanels {
  const std::byte* first;
  std::size_t stride, row_bytes;
  int rows, shares;

  TMODEL_INLINE void fetch(int share) const noexcept {
    for (int r = rows * share / shares; r < rows * (share + 1) / shares; ++r)
      for (std::size_t at = 0; at < row_bytes; at += cache_line)
        fetch_ahead(first + static_cast<std::size_t>(r) * stride + at);
  }
};

/// Output columns [begin, end) of many rows of activations: weights are unpacked into panels once for all of them.
template <class A, class Q>
TMODEL_NOINLINE void quantized_rows(const HostMatrix<Q>& m, const Q8Chunk* x, int stride, const HostRows<f32>& y,
                                    const f32* bias, int begin, int end) noexcept {
  using K = Kernel<A, Q>;
  constexpr int R = K::tile_rows, widest = 6, narrowest = 4;
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
      const int next_row = last ? row + panel_rows : row, next_first = last ? 0 : first + here;
      const NextPanels next{
          reinterpret_cast<const std::byte*>(m.data + static_cast<std::size_t>(next_row) * row_blocks +
                                             static_cast<std::size_t>(next_first / chunk_parts * blocks_per_chunk)),
          row_blocks * sizeof(typename Q::Block),
          static_cast<std::size_t>(std::min(parts - next_first, panel_chunks * chunk_parts)) * part_len / Q::block_len *
              sizeof(typename Q::Block),
          std::min(end - next_row, panel_rows), groups * ((y.n + widest - 1) / widest)};
      int share = 0;
      static_assert((few_rows + 1) / 2 >= narrowest && (2 * widest + 1) / 3 >= narrowest);  // 9 rows are 5 + 4
      for_columns<widest, narrowest>(y.n, [&](auto columns, int c) TMODEL_INLINE_LAMBDA {
        tile_outputs<columns, K, A>(
            panels, groups, here, x + static_cast<std::size_t>(c) * static_cast<std::size_t>(stride) + chunk, stride, y,
            c, row, end, first == 0, last ? bias : nullptr, [&]() TMODEL_INLINE_LAMBDA { next.fetch(share++); });
      });
    }
  }
}

/// Output columns [begin, end) of all rows of y; x has `stride` chunks a row.
template <class A, class Q>
void multiply_quantized(const HostMatrix<Q>& m, const Q8Chunk* x, int stride, const HostRows<f32>& y, const f32* bias,
                        int begin, int end) noexcept {
  if (y.n == 1) return quantized_few<A, Q, false>(m, x, stride, y, bias, begin, end);
  if (y.n <= few_rows) return quantized_few<A, Q, true>(m, x, stride, y, bias, begin, end);
  if constexpr (Kernel<A, Q>::uses_panels)
    quantized_rows<A, Q>(m, x, stride, y, bias, begin, end);
  else  // a few rows at a time, with weights that stay in the L2 cache
    for (int row = begin; row < end; row += panel_rows)
      for (int c = 0; c < y.n; c += few_rows)
        quantized_few<A, Q, true>(m, x + static_cast<std::size_t>(c) * static_cast<std::size_t>(stride), stride,
                                  {y.row(c), std::min(few_rows, y.n - c), y.columns}, bias, row,
                                  std::min(row + panel_rows, end));
}

}  // namespace tmodel::inline v0::cpu
