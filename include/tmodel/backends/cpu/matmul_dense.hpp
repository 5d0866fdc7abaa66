#pragma once
// y = x wT + bias for weights that are multiplied as floats. A row's sum is one of sums over dense_step elements,
// upwards, each by lanes and then by a tree; which outputs are computed together changes no bit.

#include "tmodel/backends/cpu/convert.hpp"
#include "tmodel/backends/host.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int dense_step = 1024;                          ///< elements of a row that are added up at a time
inline constexpr int l1_bytes = 24 << 10, l2_bytes = 128 << 10;  ///< what a product keeps in caches
inline constexpr int column_tile = 64;                           ///< rows of activations that share dequantised weights

/// MR rows of weights with NR rows of activations, along n elements. One accumulator of `lanes` per output. With
/// one row of activations, as many bytes as this reads are fetched from `ahead` on: rows side by side are no stream
/// that the processor would recognise.
template <class A, class E, int MR, int NR>
TMODEL_INLINE void dense_tile(const E* w, std::size_t w_stride, const f32* x, std::size_t x_stride, int n,
                              Floats<A> (&acc)[MR * NR], const std::byte* ahead) noexcept {
  const auto advance = [&](auto load_w, auto load_x) TMODEL_INLINE_LAMBDA {
    const auto w_of = [&](auto r) TMODEL_INLINE_LAMBDA { return load_w(w + static_cast<std::size_t>(r) * w_stride); };
    const auto x_of = [&](auto c) TMODEL_INLINE_LAMBDA { return load_x(x + static_cast<std::size_t>(c) * x_stride); };
    const auto add = [&](auto r, auto c, Floats<A> ws, Floats<A> xs)
                         TMODEL_INLINE_LAMBDA { acc[r * NR + c] = fused<A>(ws, xs, acc[r * NR + c]); };
    // The shorter side stays in registers; of the other one vector at a time.
    if constexpr (MR < NR) {
      Floats<A> ws[MR];
      unroll<MR>([&](auto r) TMODEL_INLINE_LAMBDA { ws[r] = w_of(r), pin<A>(ws[r]); });
      unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA {
        Floats<A> xs = x_of(c);
        if constexpr (MR > 1) pin<A>(xs);
        unroll<MR>([&](auto r) TMODEL_INLINE_LAMBDA { add(r, c, ws[r], xs); });
      });
    } else {
      Floats<A> xs[NR];
      unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA { xs[c] = x_of(c), pin<A>(xs[c]); });
      unroll<MR>([&](auto r) TMODEL_INLINE_LAMBDA {
        Floats<A> ws = w_of(r);
        if constexpr (NR > 1) pin<A>(ws);
        unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA { add(r, c, ws, xs[c]); });
      });
    }
  };
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>) {
    if constexpr (NR == 1 && MR > 1)
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
  const bool begins = from == 0, ends = bias != nullptr && from + n == columns;
  unroll<NR>([&](auto c) TMODEL_INLINE_LAMBDA {
    f32* const out = y.row(column + c) + row;
    alignas(16) f32 sums[MR + 3];
    if constexpr (MR == 1)
      sums[0] = sum_lanes<A>(acc[c]);
    else
      for (int r = 0; r < MR; r += 4)
        store_sums<A>(acc[r * NR + c], acc[(r + 1) * NR + c], acc[(r + 2) * NR + c],
                      acc[std::min(r + 3, MR - 1) * NR + c], sums + r);
    for (int r = 0; r < MR; ++r) out[r] = (begins ? sums[r] : out[r] + sums[r]) + (ends ? bias[row + r] : 0.f);
  });
}

/// Formats without blocks.
template <class A, class Q>
void multiply_dense(const HostMatrix<Q>& m, const HostRows<f32>& x, const HostRows<f32>& y, const f32* bias, int begin,
                    int end) noexcept {
  using E = typename Q::Block;
  const auto outputs = [&]<int MR, int NR>(int row, int c, int from) {
    dense_outputs<A, E, MR, NR>(m.data, m.columns, x, y, bias, row, c, from);
  };
  if (y.n < 3) {  // more rows at once hide the latency of an addition; memory is read in order
    fetch_first(reinterpret_cast<const std::byte*>(m.row(begin)), 8 * sizeof(E) * static_cast<std::size_t>(m.columns));
    for (int row = begin; row < end;) {
      const bool eight = row + 8 <= end;
      for (int c = 0; c < y.n; ++c)
        for (int from = 0; from < m.columns; from += dense_step)
          eight ? outputs.template operator()<8, 1>(row, c, from) : outputs.template operator()<1, 1>(row, c, from);
      row += eight ? 8 : 1;
    }
    return;
  }
  // A step of the activations that a group of columns has stays in the L1 cache, a step of the block of weights in L2.
  constexpr int MR = std::is_same_v<E, bf16> ? 3 : 4, NR = 12 / MR;  // widening bf16 takes two instructions
  const int step = std::min(m.columns, dense_step);
  const int group = std::max(NR, l1_bytes / (step * static_cast<int>(sizeof(f32))) / NR * NR);
  const int block = std::max(MR, l2_bytes / (step * static_cast<int>(sizeof(E))) / MR * MR);
  for (int first_row = begin; first_row < end; first_row += block)
    for (int from = 0; from < m.columns; from += dense_step)
      for (int first = 0; first < y.n; first += group) {
        const int last = std::min(first + group, y.n), last_row = std::min(first_row + block, end);
        for (int row = first_row; row < last_row;) {
          const bool many = row + MR <= last_row;
          int c = first;
          for (; c + NR <= last; c += NR)
            many ? outputs.template operator()<MR, NR>(row, c, from) : outputs.template operator()<1, NR>(row, c, from);
          for (; c < last; ++c)
            many ? outputs.template operator()<MR, 1>(row, c, from) : outputs.template operator()<1, 1>(row, c, from);
          row += many ? MR : 1;
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
        for (int c = 0; c < count; ++c) dense_tile<A, f32, 1, 1>(raw, 0, x.row(first + c) + at, 0, n, acc[c], nullptr);
      }
      for (int c = 0; c < count; ++c) y.row(first + c)[row] = sum_lanes<A>(acc[c][0]) + (bias ? bias[row] : 0.f);
    }
  }
}

}  // namespace tmodel::inline v0::cpu
