#pragma once
// Work on rows of activations: norm, rotation, activation, sums. One out-of-line function per row, so that a row has
// the same bits whoever asks for it and whatever stands beside it.

#include "tmodel/backends/cpu/math.hpp"
#include "tmodel/core/rope.hpp"

namespace tmodel::inline v0::cpu {

/// y[i] = fn(x[i], y[i]) over n elements; the last few run as a vector padded with zeros.
template <class A, class Fn>
TMODEL_INLINE void transform(const f32* x, f32* y, int n, Fn fn) noexcept {
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>) store<A>(y + i, fn(load<A>(x + i), load<A>(y + i)));
  if (const int rest = n - i; rest > 0)
    store_some<A>(y + i, fn(load_some<A>(x + i, rest), load_some<A>(y + i, rest)), rest);
}

/// x += s * y.
template <class A>
TMODEL_NOINLINE void add_row(f32* x, const f32* y, int n, f32 s) noexcept {
  transform<A>(y, x, n, [s](Floats<A> from, Floats<A> to) { return fused<A>(Floats<A>(s), from, to); });
}

/// gate = act(gate) * up.
template <class A, Activation act>
TMODEL_NOINLINE void gate_row(f32* gate, const f32* up, int n) noexcept {
  transform<A>(up, gate, n, [](Floats<A> u, Floats<A> g) { return activation<A, act>(g) * u; });
}

template <class A, Activation act>
TMODEL_NOINLINE void activate_row(f32* x, int n) noexcept {
  transform<A>(x, x, n, [](Floats<A> v, Floats<A>) { return activation<A, act>(v); });
}

/// x = cap * tanh(scale * x / cap), or scale * x where cap is 0.
template <class A>
TMODEL_NOINLINE void scale_and_cap_row(f32* x, int n, f32 scale, f32 cap) noexcept {
  using F = Floats<A>;
  if (cap == 0.f)
    transform<A>(x, x, n, [=](F v, F) { return v * F(scale); });
  else
    transform<A>(x, x, n, [=](F v, F) { return F(cap) * tanh<A>(v * F(scale) / F(cap)); });
}

/// x = exp(x - largest); returns the sum of it.
template <class A>
TMODEL_NOINLINE f32 exp_sum(f32* x, int n, f32 largest) noexcept {
  transform<A>(x, x, n, [=](Floats<A> v, Floats<A>) { return exp<A>(v - Floats<A>(largest)); });
  f32 sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i];
  return sum;
}

/// Sum of fn(x[i]), by two accumulators and a fixed tree.
template <class A, class Fn>
TMODEL_INLINE f32 sum_over(const f32* x, int n, Fn fn) noexcept {
  using F = Floats<A>;
  F even(0.f), odd(0.f);
  int i = 0;
  for (; i + 2 * lanes<A> <= n; i += 2 * lanes<A>) {
    even = fn(load<A>(x + i), even);
    odd = fn(load<A>(x + i + lanes<A>), odd);
  }
  if (i + lanes<A> <= n) even = fn(load<A>(x + i), even), i += lanes<A>;
  f32 tail = 0;
  if (const int rest = n - i;
      rest > 0) {  // padding would count in sums of squared distances from a mean: blank it after
    alignas(32) f32 last[lanes<A>];
    store<A>(last, fn(load_some<A>(x + i, rest), F(0.f)));
    for (int k = 0; k < rest; ++k) tail += last[k];
  }
  return sum_lanes<A>(even + odd) + tail;
}

/// y = (x - mean) / sqrt(mean square + eps) * scale + bias; the mean is 0 in an RMS norm. bias may be null; y may be x.
template <class A, NormKind kind>
TMODEL_NOINLINE void norm_row(const f32* x, int n, const f32* scale, const f32* bias, f32 eps, f32* y) noexcept {
  using F = Floats<A>;
  f32 mean = 0;
  if constexpr (kind == NormKind::layer)
    mean = sum_over<A>(x, n, [](F v, F sum) { return sum + v; }) / static_cast<f32>(n);
  const F centre(mean);
  const f32 squares = sum_over<A>(x, n, [=](F v, F sum) {
    const F d = kind == NormKind::layer ? v - centre : v;
    return fused<A>(d, d, sum);
  });
  const F inverse(static_cast<f32>(1.0 / std::sqrt(static_cast<f64>(squares) / n + static_cast<f64>(eps))));
  const auto normed = [&](F v) { return (kind == NormKind::layer ? v - centre : v) * inverse; };
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>)
    store<A>(y + i, fused<A>(normed(load<A>(x + i)), load<A>(scale + i), bias ? load<A>(bias + i) : F(0.f)));
  if (const int rest = n - i; rest > 0)
    store_some<A>(y + i,
                  fused<A>(normed(load_some<A>(x + i, rest)), load_some<A>(scale + i, rest),
                           bias ? load_some<A>(bias + i, rest) : F(0.f)),
                  rest);
}

/// Rotates the heads of a row in place; the result is in halves. `angles`: `pairs` cosines, then as many sines.
template <class A>
TMODEL_NOINLINE void rope_row(f32* x, int heads, int head_dim, int pairs, RopePairing pairing,
                              const f32* angles) noexcept {
  using F = Floats<A>;
  const f32 *cosines = angles, *sines = angles + pairs;
  for (int h = 0; h < heads; ++h) {
    f32* const head = x + h * head_dim;
    f32* const other = head + pairs;
    if (pairing == RopePairing::interleaved) {  // cycle by cycle in place would be shorter to store, longer to read
      f32 odd[512];
      for (int p = 0; p < pairs; ++p) odd[p] = head[2 * p + 1];
      for (int p = 0; p < pairs; ++p) head[p] = head[2 * p];
      for (int p = 0; p < pairs; ++p) other[p] = odd[p];
    }
    const auto rotate = [](F a, F b, F c, F s, F& first, F& second) {
      first = fused<A>(a, c, F(0.f) - b * s);
      second = fused<A>(b, c, a * s);
    };
    F first, second;
    int p = 0;
    for (; p + lanes<A> <= pairs; p += lanes<A>) {
      rotate(load<A>(head + p), load<A>(other + p), load<A>(cosines + p), load<A>(sines + p), first, second);
      store<A>(head + p, first);
      store<A>(other + p, second);
    }
    if (const int rest = pairs - p; rest > 0) {
      rotate(load_some<A>(head + p, rest), load_some<A>(other + p, rest), load_some<A>(cosines + p, rest),
             load_some<A>(sines + p, rest), first, second);
      store_some<A>(head + p, first, rest);
      store_some<A>(other + p, second, rest);
    }
  }
}

}  // namespace tmodel::inline v0::cpu
