#pragma once
// y = x wT + bias for every weight format. An output element is one chain of additions along its row, upwards; tiles,
// phases and threads only choose which chains run together, so its bits depend on nothing else.

#include "tmodel/backends/cpu/kernel_x86.hpp"
#include "tmodel/backends/cpu/panel.hpp"
#include "tmodel/backends/host.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int column_tile = 64;   ///< rows of activations that share converted weights
inline constexpr int dense_step = 1024;  ///< elements of a row of floats that are added up at a time
inline constexpr int panel_rows = 32;    ///< rows of weights and
inline constexpr int panel_chunks = 4;   ///< chunks of columns that are panels at a time: about 40 KB on the stack

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
  for (int row = begin; row < end;) {
    // The last rows are done with some of those before once more, which have the same bits; fewer than R one by one.
    const int at = row + R <= end ? row : std::max(end - R, begin), count = std::min(end - at, R);
    const bool alone = count < R;
    const std::size_t stride = alone ? 0 : static_cast<std::size_t>(m.columns) / Q::block_len;
    const typename Q::Block* blocks = m.row(alone ? row : at);
    auto* ahead = reinterpret_cast<const std::byte*>(blocks + stride * R);
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

/// MR rows of weights with NR rows of activations, along n elements. One accumulator of `lanes` per output. Where each
/// weight is read once, as many bytes as this reads are fetched from `ahead` on: rows side by side are no stream that
/// the processor would recognise.
template <class A, class E, int MR, int NR>
TMODEL_INLINE void dense_tile(const E* w, std::size_t w_stride, const f32* x, std::size_t x_stride, int n,
                              Floats<A> (&acc)[MR * NR], const std::byte* ahead = nullptr) noexcept {
  const auto advance = [&](auto load_w, auto load_x) TMODEL_INLINE_LAMBDA {
    Floats<A> xs[NR];
    unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA {
      xs[c] = load_x(x + static_cast<std::size_t>(c) * x_stride);
      if constexpr (MR > 1) pin<A>(xs[c]);
    });
    unroll<MR>([&](auto r) TMODEL_INLINE_LAMBDA {
      Floats<A> ws = load_w(w + static_cast<std::size_t>(r) * w_stride);
      if constexpr (NR > 1) pin<A>(ws);
      unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA { acc[r * NR + c] = fused<A>(ws, xs[c], acc[r * NR + c]); });
    });
  };
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>) {
    if constexpr (NR == 1)
      unroll<(MR * lanes<A> * sizeof(E) + cache_line - 1) / cache_line>([&](auto line) TMODEL_INLINE_LAMBDA {
        fetch_ahead(ahead + static_cast<std::size_t>(i) * MR * sizeof(E) + line * cache_line);
      });
    advance([i](const E* p) TMODEL_INLINE_LAMBDA { return widen<A>(p + i); },
            [i](const f32* p) TMODEL_INLINE_LAMBDA { return load<A>(p + i); });
  }
  if (const int rest = n - i; rest > 0)
    advance([=](const E* p) { return widen_some<A>(p + i, rest); },
            [=](const f32* p) { return load_some<A>(p + i, rest); });
}

/// What elements [from, from + dense_step) of rows add to their outputs; the first begin them, the last add the bias.
template <class A, class E, int MR, int NR>
TMODEL_NOINLINE void dense_outputs(const E* w, int columns, const HostRows<f32>& x, const HostRows<f32>& y,
                                   const f32* bias, int row, int column, int from) noexcept {
  const auto stride = static_cast<std::size_t>(columns);
  const int n = std::min(columns - from, dense_step);
  Floats<A> acc[MR * NR];
  unroll<MR * NR>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
  const E* const first = w + static_cast<std::size_t>(row) * stride;
  dense_tile<A, E, MR, NR>(first + from, stride, x.row(column) + from, static_cast<std::size_t>(x.columns), n, acc,
                           reinterpret_cast<const std::byte*>(first + MR * (stride + static_cast<std::size_t>(from))));
  const bool adds_bias = bias != nullptr && from + n == columns;
  unroll<MR * NR>([&](auto i) TMODEL_INLINE_LAMBDA {
    f32& out = y.row(column + i % NR)[row + i / NR];
    const f32 sum = sum_lanes<A>(acc[i]);
    out = from == 0 ? sum : out + sum;
    if (adds_bias) out += bias[row + i / NR];
  });
}

/// Formats without blocks. A row's sum is one of sums over dense_step elements, upwards, each by lanes.
template <class A, class Q>
void multiply_dense(const HostMatrix<Q>& m, const HostRows<f32>& x, const HostRows<f32>& y, const f32* bias, int begin,
                    int end) noexcept {
  using E = typename Q::Block;
  const auto outputs = [&]<int MR, int NR>(int row, int c, int from) {
    dense_outputs<A, E, MR, NR>(m.data, m.columns, x, y, bias, row, c, from);
  };
  if (y.n < 3) {  // more rows at once hide the latency of an addition; memory is read in order
    for (int row = begin; row < end;) {
      const bool eight = row + 8 <= end;
      for (int c = 0; c < y.n; ++c)
        for (int from = 0; from < m.columns; from += dense_step)
          eight ? outputs.template operator()<8, 1>(row, c, from) : outputs.template operator()<1, 1>(row, c, from);
      row += eight ? 8 : 1;
    }
    return;
  }
  for (int first = 0; first < y.n; first += column_tile) {  // a step of these activations stays in the L2 cache,
    const int last = std::min(first + column_tile, y.n);
    for (int from = 0; from < m.columns; from += dense_step)  // one of four rows of weights in L1
      for (int row = begin; row < end;) {
        const bool four = row + 4 <= end;
        int c = first;
        for (; c + 3 <= last; c += 3)
          four ? outputs.template operator()<4, 3>(row, c, from) : outputs.template operator()<1, 3>(row, c, from);
        for (; c < last; ++c)
          four ? outputs.template operator()<4, 1>(row, c, from) : outputs.template operator()<1, 1>(row, c, from);
        row += four ? 4 : 1;
      }
  }
}

/// Any other format: a piece of a row at a time becomes floats, which serve a tile of activations. Slow and right.
template <class A, class Q>
TMODEL_NOINLINE void multiply_dequantized(const HostMatrix<Q>& m, HostRows<f32> x, HostRows<f32> y, const f32* bias,
                                          int begin, int end) noexcept {
  constexpr int block = static_cast<int>(Q::block_len), piece = block >= 256 ? block : 256 / block * block;
  for (int first = 0; first < y.n; first += column_tile) {
    const int count = std::min(column_tile, y.n - first);
    for (int row = begin; row < end; ++row) {
      Floats<A> acc[column_tile][1];
      for (int c = 0; c < count; ++c) acc[c][0] = Floats<A>(0.f);
      alignas(32) f32 raw[piece];
      for (int at = 0; at < m.columns; at += piece) {
        const int n = std::min(piece, m.columns - at);
        Q::dequantize(m.row(row) + at / block, std::span(raw, static_cast<std::size_t>(n)));
        for (int c = 0; c < count; ++c) dense_tile<A, f32, 1, 1>(raw, 0, x.row(first + c) + at, 0, n, acc[c]);
      }
      for (int c = 0; c < count; ++c) y.row(first + c)[row] = sum_lanes<A>(acc[c][0]) + (bias ? bias[row] : 0.f);
    }
  }
}

}  // namespace tmodel::inline v0::cpu
