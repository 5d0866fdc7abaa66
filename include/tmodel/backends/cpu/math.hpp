#pragma once
// exp, tanh, the logistic function and the activations of feed-forward networks, on vectors.
// Own polynomials (coefficients: Cephes, Moshier 1992): libm picks its version by the CPU, which would change bits.

#include "tmodel/backends/cpu/arch.hpp"
#include "tmodel/core/policy.hpp"

namespace tmodel::inline v0::cpu {

/// e^x to 2 units in the last place; 0 below -87.33, infinity above 88.37, NaN for NaN.
template <class A>
TMODEL_INLINE Floats<A> exp(Floats<A> x) noexcept {
  using F = Floats<A>;
  const F magic(12582912.f);  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits
  const F shifted = fused<A>(x, F(1.44269504088896341f), magic);
  const F k = shifted - magic;
  F r = fused<A>(k, F(-0.693359375f), x);  // ln 2 in two parts, the first exact in few bits
  r = fused<A>(k, F(2.12194440e-4f), r);
  F p(1.9875691500e-4f);
  p = fused<A>(p, r, F(1.3981999507e-3f));
  p = fused<A>(p, r, F(8.3334519073e-3f));
  p = fused<A>(p, r, F(4.1665795894e-2f));
  p = fused<A>(p, r, F(1.6666665459e-1f));
  p = fused<A>(p, r, F(5.0000001201e-1f));
  p = fused<A>(p, r * r, r + F(1.f));
  F y = p * power_of_two<A>(shifted);
  y = xsimd::select(x < F(-87.33f), F(0.f), y);
  return xsimd::select(x > F(88.37f), F(HUGE_VALF), y);
}

/// 1 / (1 + e^-x).
template <class A>
TMODEL_INLINE Floats<A> logistic(Floats<A> x) noexcept {
  using F = Floats<A>;
  return F(1.f) / (F(1.f) + exp<A>(F(0.f) - x));
}

/// Hyperbolic tangent to about 2 units in the last place.
template <class A>
TMODEL_INLINE Floats<A> tanh(Floats<A> x) noexcept {
  using F = Floats<A>;
  const F magnitude = xsimd::abs(x), z = x * x;
  F p(-5.70498872745e-3f);
  p = fused<A>(p, z, F(2.06390887954e-2f));
  p = fused<A>(p, z, F(-5.37397155531e-2f));
  p = fused<A>(p, z, F(1.33314422036e-1f));
  p = fused<A>(p, z, F(-3.33332819422e-1f));
  const F near_zero = fused<A>(p * z, x, x);
  const F far = F(1.f) - F(2.f) / (exp<A>(magnitude + magnitude) + F(1.f));
  return xsimd::select(magnitude < F(0.625f), near_zero, xsimd::select(x < F(0.f), F(0.f) - far, far));
}

template <class A, Activation act>
TMODEL_INLINE Floats<A> activation(Floats<A> x) noexcept {
  using F = Floats<A>;
  if constexpr (act == Activation::silu) {
    return x * logistic<A>(x);
  } else if constexpr (act == Activation::gelu_tanh) {  // x/2 (1 + tanh u) = x / (1 + e^-2u), without cancellation
    const F u = fused<A>(F(0.044715f) * x * x, x, x);
    return x * logistic<A>(F(1.5957691216057308f) * u);
  } else {
    return F(0.5f) * x * (F(1.f) + xsimd::erf(x * F(0.70710678118654752f)));
  }
}

}  // namespace tmodel::inline v0::cpu
