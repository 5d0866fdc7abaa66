#pragma once
// y = x wT + bias for every weight format. An output element is one chain of additions along its row, upwards; tiles,
// phases and threads only choose which chains run together, so its bits depend on nothing else.

#include "tmodel/backends/cpu/dot.hpp"
#include "tmodel/backends/cpu/dot_x86.hpp"
#include "tmodel/backends/host.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int column_tile = 64;  ///< rows of activations that share an unpacked chunk of weights

/// Output columns `row` and `row + 1`, which share what is read of the activations, for `count` <= column_tile rows of
/// activations.
template <class A, class Q>
TMODEL_NOINLINE void quantized_tile(const HostMatrix<Q>& m, const Q8Chunk* x, int stride, int count,
                                    const HostRows<f32>& y, int first, const f32* bias, int row) noexcept {
  using D = Dot<A, Q>;
  constexpr int R = 2;
  constexpr int blocks_per_chunk = chunk_len / static_cast<int>(Q::block_len);
  const int parts = m.columns / part_len;
  Floats<A> acc[R * column_tile];
  for (int i = 0; i < R * count; ++i) acc[i] = Floats<A>(0.f);
  typename D::Weights w[R];
  const auto chunk = [&](int k, auto here) TMODEL_INLINE_LAMBDA {
    unroll<R>([&](auto r) TMODEL_INLINE_LAMBDA { D::unpack(m.row(row + r) + k * blocks_per_chunk, here, w[r]); });
    const Q8Chunk* xs = x + k;
    for (int c = 0; c < count; ++c, xs += stride)
      unroll<R>([&](auto r) TMODEL_INLINE_LAMBDA { acc[R * c + r] = acc[R * c + r] + D::product(w[r], *xs, here); });
  };
  int k = 0;
  for (; (k + 1) * chunk_parts <= parts; ++k) chunk(k, std::integral_constant<int, chunk_parts>());
  if constexpr (blocks_per_chunk > 1)
    if (const int rest = parts - k * chunk_parts; rest > 0) chunk(k, rest);
  for (int c = 0; c < count; ++c)
    unroll<R>([&](auto r) TMODEL_INLINE_LAMBDA {
      y.row(first + c)[row + r] = sum_lanes<A>(acc[R * c + r]) + (bias ? bias[row + r] : 0.f);
    });
}

/// Output columns [begin, end) of the only row of activations: codes go from memory to the product in registers.
template <class A, class Q>
TMODEL_NOINLINE void quantized_row(const HostMatrix<Q>& m, const Q8Chunk* x, f32* y, const f32* bias, int begin,
                                   int end) noexcept {
  using D = Dot<A, Q>;
  constexpr int blocks_per_chunk = chunk_len / static_cast<int>(Q::block_len);
  const int parts = m.columns / part_len, whole = parts / chunk_parts;
  for (int row = begin; row < end; ++row) {
    const typename Q::Block* blocks = m.row(row);
    Floats<A> acc(0.f);
    for (int k = 0; k < whole; ++k, blocks += blocks_per_chunk) {
      typename D::Weights w;
      D::unpack(blocks, std::integral_constant<int, chunk_parts>(), w);
      acc = acc + D::product(w, x[k], std::integral_constant<int, chunk_parts>());
    }
    if constexpr (blocks_per_chunk > 1)
      if (const int rest = parts - whole * chunk_parts; rest > 0) {
        typename D::Weights w;
        D::unpack(blocks, rest, w);
        acc = acc + D::product(w, x[whole], rest);
      }
    y[row] = sum_lanes<A>(acc) + (bias ? bias[row] : 0.f);
  }
}

/// Output columns [begin, end) of all rows of y; x has `stride` chunks a row.
template <class A, class Q>
void multiply_quantized(const HostMatrix<Q>& m, const Q8Chunk* x, int stride, const HostRows<f32>& y, const f32* bias,
                        int begin, int end) noexcept {
  if (y.n == 1) return quantized_row<A, Q>(m, x, y.data, bias, begin, end);
  for (int first = 0; first < y.n; first += column_tile) {
    const int count = std::min(column_tile, y.n - first);
    const Q8Chunk* const tile = x + static_cast<std::size_t>(first) * static_cast<std::size_t>(stride);
    int row = begin;
    for (; row + 2 <= end; row += 2) quantized_tile<A, Q>(m, tile, stride, count, y, first, bias, row);
    for (int c = 0; row < end && c < count; ++c)
      quantized_row<A, Q>(m, tile + static_cast<std::size_t>(c) * static_cast<std::size_t>(stride), y.row(first + c),
                          bias, row, end);
  }
}

/// MR rows of weights with NR rows of activations, along n elements. One accumulator of `lanes` per output.
template <class A, class E, int MR, int NR>
TMODEL_INLINE void dense_tile(const E* w, std::size_t w_stride, const f32* x, std::size_t x_stride, int n,
                              Floats<A> (&acc)[MR * NR]) noexcept {
  const auto advance = [&](auto load_w, auto load_x) TMODEL_INLINE_LAMBDA {
    Floats<A> xs[NR];
    unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA { xs[c] = load_x(x + static_cast<std::size_t>(c) * x_stride); });
    unroll<MR>([&](auto r) TMODEL_INLINE_LAMBDA {
      const Floats<A> ws = load_w(w + static_cast<std::size_t>(r) * w_stride);
      unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA { acc[r * NR + c] = fused<A>(ws, xs[c], acc[r * NR + c]); });
    });
  };
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>)
    advance([i](const E* p) TMODEL_INLINE_LAMBDA { return widen<A>(p + i); },
            [i](const f32* p) TMODEL_INLINE_LAMBDA { return load<A>(p + i); });
  if (const int rest = n - i; rest > 0)
    advance([=](const E* p) { return widen_some<A>(p + i, rest); },
            [=](const f32* p) { return load_some<A>(p + i, rest); });
}

template <class A, class E, int MR, int NR>
TMODEL_NOINLINE void dense_outputs(const E* w, int columns, const HostRows<f32>& x, const HostRows<f32>& y,
                                   const f32* bias, int row, int column) noexcept {
  const auto stride = static_cast<std::size_t>(columns);
  Floats<A> acc[MR * NR];
  unroll<MR * NR>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
  dense_tile<A, E, MR, NR>(w + static_cast<std::size_t>(row) * stride, stride, x.row(column), stride, columns, acc);
  unroll<MR * NR>([&](auto i) TMODEL_INLINE_LAMBDA {
    y.row(column + i % NR)[row + i / NR] = sum_lanes<A>(acc[i]) + (bias ? bias[row + i / NR] : 0.f);
  });
}

/// Formats without blocks.
template <class A, class Q>
void multiply_dense(const HostMatrix<Q>& m, const HostRows<f32>& x, const HostRows<f32>& y, const f32* bias, int begin,
                    int end) noexcept {
  using E = typename Q::Block;
  for (int first = 0; first < y.n; first += column_tile) {
    const int last = std::min(first + column_tile, y.n);
    int row = begin;
    if (last - first < 3)  // more rows at once hide the latency of an addition
      for (; row + 8 <= end; row += 8)
        for (int c = first; c < last; ++c) dense_outputs<A, E, 8, 1>(m.data, m.columns, x, y, bias, row, c);
    else
      for (; row + 4 <= end; row += 4) {
        int c = first;
        for (; c + 3 <= last; c += 3) dense_outputs<A, E, 4, 3>(m.data, m.columns, x, y, bias, row, c);
        for (; c < last; ++c) dense_outputs<A, E, 4, 1>(m.data, m.columns, x, y, bias, row, c);
      }
    for (; row < end; ++row)
      for (int c = first; c < last; ++c) dense_outputs<A, E, 1, 1>(m.data, m.columns, x, y, bias, row, c);
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
