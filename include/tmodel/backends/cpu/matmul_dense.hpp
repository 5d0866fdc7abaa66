#pragma once
// y = x wT + bias for weights that are multiplied as floats.
//
// The order of additions: a row's sum is one of sums over steps of up to 768 elements, upwards; in each, lane l adds
// the products of elements l, l + lanes, l + 2 lanes, ... and the lanes are added by sum_lanes()'s tree. A vector holds
// the lanes of one output for few rows of activations, and one lane of many outputs for many: the bits are the same.

#include "tmodel/backends/cpu/transpose.hpp"
#include "tmodel/backends/host.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int longest_step = 768;  ///< elements of a row that are added up at a time
inline constexpr int dense_rows = 32;     ///< rows of weights that are panels at a time: 96 KB on the stack
inline constexpr int dense_columns = 6;   ///< rows of activations that a tile of two vectors of weights takes
inline constexpr int worth_panels = 4;    ///< rows of activations from which on weights become panels
inline constexpr int column_tile = 64;    ///< rows of activations that share dequantised weights

/// Steps of a row are as even as may be.
constexpr int dense_step(int columns) noexcept {
  const int steps = (columns + longest_step - 1) / longest_step;
  return ((columns + steps - 1) / steps + 31) / 32 * 32;
}

/// `rows` rows of weights with a row of activations, along n elements: one accumulator per output. As many lines as
/// this reads are fetched from `ahead` on: rows side by side are no stream that the processor would recognise.
template <class A, class E, int rows>
TMODEL_INLINE void dense_tile(const E* w, std::size_t stride, const f32* x, int n, Floats<A> (&acc)[rows],
                              const std::byte* ahead) noexcept {
  constexpr int line = cache_line / static_cast<int>(sizeof(E));
  const auto row = [&](auto r, int at) TMODEL_INLINE_LAMBDA { return w + static_cast<std::size_t>(r) * stride + at; };
  const auto add = [&](int i) TMODEL_INLINE_LAMBDA {
    Floats<A> xs = load<A>(x + i);
    pin<A>(xs);
    unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { acc[r] = fused<A>(widen<A>(row(r, i)), xs, acc[r]); });
  };
  int i = 0;
  for (; i + line <= n; i += line) {
    if constexpr (rows > 1)
      unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA {
        fetch_ahead(ahead + static_cast<std::size_t>(i) * rows * sizeof(E) + r * cache_line);
      });
    unroll<line / lanes<A>>([&](auto k) TMODEL_INLINE_LAMBDA { add(i + k * lanes<A>); });
  }
  for (; i + lanes<A> <= n; i += lanes<A>) add(i);
  if (const int rest = n - i; rest > 0) {
    const Floats<A> xs = load_some<A>(x + i, rest);
    unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { acc[r] = fused<A>(widen_some<A>(row(r, i), rest), xs, acc[r]); });
  }
}

/// Outputs [row, row + rows) of a row of activations.
template <class A, class E, int rows>
TMODEL_NOINLINE void dense_outputs(const E* w, int columns, const f32* x, f32* y, const f32* bias, int row) noexcept {
  const auto stride = static_cast<std::size_t>(columns);
  const E* const first = w + static_cast<std::size_t>(row) * stride;
  f32 total[rows] = {};
  const int step = dense_step(columns);
  for (int from = 0; from < columns; from += step) {
    Floats<A> acc[rows];
    unroll<rows>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
    dense_tile<A, E, rows>(
        first + from, stride, x + from, std::min(columns - from, step), acc,
        reinterpret_cast<const std::byte*>(first + rows * (stride + static_cast<std::size_t>(from))));
    f32 sums[rows];
    if constexpr (rows == 4)
      store_sums<A>(acc[0], acc[1], acc[2], acc[3], sums);
    else
      unroll<rows>([&](auto r) TMODEL_INLINE_LAMBDA { sums[r] = sum_lanes<A>(acc[r]); });
    for (int r = 0; r < rows; ++r) total[r] = from == 0 ? sums[r] : total[r] + sums[r];
  }
  for (int r = 0; r < rows; ++r) y[row + r] = bias ? total[r] + bias[row + r] : total[r];  // 0 more makes -0 a 0
}

/// Outputs [begin, end) of few rows of activations, four rows of weights side by side: memory is read a sixth faster
/// than eight. Rows that are a multiple of 4 KB apart meet in the same few places of the L1 cache: two of those.
template <class A, class E>
void dense_few(const E* w, int columns, const HostRows<f32>& x, const HostRows<f32>& y, const f32* bias, int begin,
               int end) noexcept {
  const std::size_t row_bytes = static_cast<std::size_t>(columns) * sizeof(E);
  const int side = row_bytes % 4096 == 0 ? 2 : 4;
  const auto outputs = side == 2 ? dense_outputs<A, E, 2> : dense_outputs<A, E, 4>;
  fetch_first(reinterpret_cast<const std::byte*>(w) + static_cast<std::size_t>(begin) * row_bytes,
              static_cast<std::size_t>(side) * row_bytes);
  for (int row = begin; row < end;) {
    const bool whole = row + side <= end;
    for (int c = 0; c < y.n; ++c) (whole ? outputs : dense_outputs<A, E, 1>)(w, columns, x.row(c), y.row(c), bias, row);
    row += whole ? side : 1;
  }
}

/// Elements of a row of activations by lanes.
template <class A>
constexpr int lane_row_size(int columns) noexcept {
  return (columns + lanes<A> - 1) / lanes<A> * lanes<A>;
}

/// A row by lanes: for each step, the elements of lane 0, of lane 1 and so on; elements behind the row's end are 0.
template <class A>
TMODEL_NOINLINE void arrange_lanes(const f32* x, int columns, f32* to) noexcept {
  constexpr int L = lanes<A>;
  const int step = dense_step(columns);
  for (int from = 0; from < columns; from += step) {
    const int n = std::min(columns - from, step), steps = (n + L - 1) / L;
    for (int k = 0; k < steps; k += L) {
      Floats<A> v[L];
      unroll<L>([&](auto i) TMODEL_INLINE_LAMBDA {
        const int at = (k + i) * L;
        v[i] = at + L <= n ? load<A>(x + from + at) : load_some<A>(x + from + at, std::max(n - at, 0));
      });
      transpose<A>(v);
      unroll<L>([&](auto l) TMODEL_INLINE_LAMBDA { store_first<A>(to + from + l * steps + k, v[l], steps - k); });
    }
  }
}

/// A step of two vectors of rows of weights: element k of lane l of all rows is at [l][k].
template <class A>
struct alignas(cache_line) DensePanel {
  static constexpr int rows = 2 * lanes<A>;
  f32 w[lanes<A>][longest_step / lanes<A>][rows];

  /// n elements of `count` rows, the last of which stands for more; elements behind the n-th are 0.
  template <class E>
  TMODEL_NOINLINE void fill(const E* from, std::size_t stride, int count, int n) noexcept {
    for (int half = 0; half < 2; ++half) {
      const E* row[lanes<A>];
      for (int r = 0; r < lanes<A>; ++r)
        row[r] = from + static_cast<std::size_t>(std::min(half * lanes<A> + r, count - 1)) * stride;
      for (int i = 0, k = 0; i < n; i += lanes<A>, ++k) {
        Floats<A> v[lanes<A>];
        const int rest = n - i;
        unroll<lanes<A>>([&](auto r) TMODEL_INLINE_LAMBDA {
          v[r] = rest >= lanes<A> ? widen<A>(row[r] + i) : widen_some<A>(row[r] + i, rest);
        });
        transpose<A>(v);
        unroll<lanes<A>>([&](auto l) TMODEL_INLINE_LAMBDA { store<A>(w[l][k] + half * lanes<A>, v[l]); });
      }
    }
  }
};

/// Where a panel's products go: outputs [row, end) at the most, of which a step before began the sums if `begun`.
struct DenseOutputs {
  int row, end;
  bool begun;
  const f32* bias;  ///< with the last step only
};

/// What `steps` vectors of elements add to the outputs for `columns` rows of activations, x and y the first of them.
template <class A, int columns>
TMODEL_NOINLINE void dense_panel_outputs(const DensePanel<A>& panel, int steps, const f32* x, std::size_t x_stride,
                                         f32* y, std::size_t y_stride, const DenseOutputs& to) noexcept {
  constexpr int L = lanes<A>;
  Floats<A> parts[L][2 * columns];
  for (int l = 0; l < L; ++l, x += steps) {
    Floats<A> acc[2 * columns];
    unroll<2 * columns>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
    const f32* w = panel.w[l][0];
    const f32* at = x;
    for (int k = 0; k < steps; ++k, w += 2 * L, ++at) {
      Floats<A> low = load<A>(w), high = load<A>(w + L);
      pin<A>(low), pin<A>(high);
      unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
        Floats<A> xs(at[static_cast<std::size_t>(c) * x_stride]);
        pin<A>(xs);
        acc[2 * c] = fused<A>(low, xs, acc[2 * c]);
        acc[2 * c + 1] = fused<A>(high, xs, acc[2 * c + 1]);
      });
    }
    unroll<2 * columns>([&](auto i) TMODEL_INLINE_LAMBDA { parts[l][i] = acc[i]; });
  }
  for (int c = 0; c < columns; ++c)
    for (int half = 0; half < 2; ++half) {
      const int at = to.row + half * L, count = std::min(to.end - at, L);
      if (count <= 0) continue;
      const auto four = [&](int l) TMODEL_INLINE_LAMBDA {
        const auto part = [&](int i) TMODEL_INLINE_LAMBDA { return parts[l + i][2 * c + half]; };
        return (part(0) + part(2)) + (part(1) + part(3));
      };
      Floats<A> sum = four(0);
      if constexpr (L == 8) sum = sum + four(4);
      f32* const out = y + static_cast<std::size_t>(c) * y_stride + at;
      if (to.begun) sum = load_first<A>(out, count) + sum;
      if (to.bias) sum = sum + load_first<A>(to.bias + at, count);
      store_first<A>(out, sum, count);
    }
}

/// Formats without blocks. `by_lanes`: x as arrange_lanes() has it, or null.
template <class A, class Q>
void multiply_dense(const HostMatrix<Q>& m, const HostRows<f32>& x, const f32* by_lanes, const HostRows<f32>& y,
                    const f32* bias, int begin, int end) noexcept {
  if (y.n < worth_panels) return dense_few<A>(m.data, m.columns, x, y, bias, begin, end);
  using Panel = DensePanel<A>;
  Panel panels[dense_rows / Panel::rows];
  const int step = dense_step(m.columns);
  const auto x_stride = static_cast<std::size_t>(lane_row_size<A>(m.columns)),
             y_stride = static_cast<std::size_t>(y.columns);
  for (int row = begin; row < end; row += dense_rows) {
    const int last = std::min(row + dense_rows, end);
    for (int from = 0; from < m.columns; from += step) {
      const int n = std::min(m.columns - from, step), steps = (n + lanes<A> - 1) / lanes<A>;
      for (int at = row, i = 0; at < last; at += Panel::rows, ++i)
        panels[i].fill(m.row(at) + from, static_cast<std::size_t>(m.columns), std::min(last - at, Panel::rows), n);
      const f32* const ends = from + n == m.columns ? bias : nullptr;
      for_columns<dense_columns>(y.n, [&](auto columns, int c) TMODEL_INLINE_LAMBDA {
        const f32* const xs = by_lanes + static_cast<std::size_t>(c) * x_stride + from;
        for (int at = row, i = 0; at < last; at += Panel::rows, ++i)
          dense_panel_outputs<A, columns>(panels[i], steps, xs, x_stride, y.row(c), y_stride,
                                          {at, last, from > 0, ends});
      });
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
        for (int c = 0; c < count; ++c) dense_tile<A, f32, 1>(raw, 0, x.row(first + c) + at, n, acc[c], nullptr);
      }
      for (int c = 0; c < count; ++c) y.row(first + c)[row] = sum_lanes<A>(acc[c][0]) + (bias ? bias[row] : 0.f);
    }
  }
}

}  // namespace tmodel::inline v0::cpu
