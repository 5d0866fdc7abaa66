#pragma once
// How K formats choose scales: try a grid of scales, round, then solve for the best scale of those integers.
// Method: least squares alternated with rounding (Lloyd 1982), over a grid of first guesses as in GGML's k_quants.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "tmodel/quant/rounding.hpp"

namespace tmodel::inline v0::detail::k_fit {

// Sums are f64 over products that are exact in f64, or explicit fma: the same bytes from every compiler.

inline constexpr int grid_reach = 10;  // tenths of a level to both sides of the guess that uses the full range

/// `levels` and t tenths: one rounding, where levels + 0.1 * t has one or two, as the compiler likes.
constexpr f64 grid_levels(int levels, int t) noexcept { return (10 * levels + t) / 10.0; }

/// The scale s that makes s * q closest to x in squares, q being integers in [-levels, levels - 1].
inline f64 scale_of(std::span<const f32> x, int levels) noexcept {
  f64 widest = 0.0;
  for (const f32 v : x)
    if (std::fabs(f64{v}) > std::fabs(widest)) widest = v;
  if (widest == 0.0) return 0.0;

  f64 best_xq = 0.0, best_qq = 1.0;
  for (int t = -grid_reach; t <= grid_reach; ++t) {
    const f64 inverse = -grid_levels(levels, t) / widest;  // the widest value takes the side with one level more
    f64 xq = 0.0;
    std::int64_t qq = 0;
    for (const f32 v : x) {
      const int q = nearest_within(v * inverse, -levels, levels - 1);
      xq += f64{v} * q;
      qq += q * q;
    }
    // The squared error that the best scale leaves is |x|^2 - xq^2 / qq.
    if (qq > 0 && xq * xq * best_qq > best_xq * best_xq * static_cast<f64>(qq)) {
      best_xq = xq;
      best_qq = static_cast<f64>(qq);
    }
  }
  return best_xq / best_qq;
}

struct Affine {
  f64 scale = 0.0;    ///< >= 0
  f64 minimum = 0.0;  ///< >= 0, subtracted
};

/// a * b - c * d with one rounding less, the same one everywhere.
inline f64 difference_of_products(f64 a, f64 b, f64 c, f64 d) noexcept { return std::fma(a, b, -(c * d)); }

/// The scale and minimum that make scale * q - minimum closest to x in squares, q being integers in [0, top].
inline Affine affine_of(std::span<const f32> x, int top) noexcept {
  f64 low = 0.0, high = x[0], sum = 0.0;
  for (const f32 v : x) {
    low = std::min(low, f64{v});
    high = std::max(high, f64{v});
    sum += v;
  }
  if (high <= low) return {0.0, -low};

  Affine best{(high - low) / top, -low};
  f64 least = HUGE_VAL;
  const f64 n = static_cast<f64>(x.size());
  for (int t = -grid_reach; t <= grid_reach; ++t) {
    const f64 inverse = grid_levels(top, t) / (high - low);
    f64 xq = 0.0;
    std::int64_t q_sum = 0, qq_sum = 0;
    for (const f32 v : x) {
      const int q = nearest_within((v - low) * inverse, 0, top);
      xq += f64{v} * q;
      q_sum += q;
      qq_sum += q * q;
    }
    const f64 q1 = static_cast<f64>(q_sum), qq = static_cast<f64>(qq_sum);
    const f64 determinant = n * qq - q1 * q1;  // integers below 2^53: exact
    if (determinant <= 0.0) continue;
    Affine fit{difference_of_products(n, xq, sum, q1) / determinant,
               difference_of_products(q1, xq, qq, sum) / determinant};
    if (fit.minimum < 0.0) fit = {xq / qq, 0.0};
    if (!(fit.scale > 0.0)) continue;

    const f64 back = 1.0 / fit.scale;  // the error counts with the integers that these parameters will get
    f64 error = 0.0;
    for (const f32 v : x) {
      const f64 shifted = v + fit.minimum;
      const f64 rest = std::fma(fit.scale, nearest_within(shifted * back, 0, top), -shifted);
      error = std::fma(rest, rest, error);
    }
    if (error < least) {
      least = error;
      best = fit;
    }
  }
  return best;
}

inline bool all_finite(std::span<const f32> x) noexcept {
  return std::all_of(x.begin(), x.end(), [](f32 v) { return std::isfinite(v); });
}

/// x / unit as an integer in [low, high]; 0 where unit is 0, as no integer says anything then.
inline int level_of(f64 x, f64 unit, int low, int high) noexcept {
  return unit == 0.0 ? std::clamp(0, low, high) : nearest_within(x / unit, low, high);
}

/// The nearest f16 that is not smaller in magnitude: a rounded-down scale would clip the sub-block that needs it most,
/// which costs much where f16 is subnormal, as in Q6_K with weights around 1e-3.
inline f16 to_f16_outwards(f64 value) noexcept {
  const auto wanted = static_cast<f32>(value);
  f16 h = to_f16(wanted);
  if (std::fabs(to_f32(h)) < std::fabs(wanted)) ++h.bits;
  return h;
}

/// The f16 scales of a block and the integer scales of its sub-blocks. Count: sub-blocks per block.
template <std::size_t Count>
struct AffineScales {
  f16 d, dmin;
  std::uint8_t scales[Count], minimums[Count];
};

/// Fits every sub-block, then expresses the results in units of d and dmin, with `top_scale` units at most.
template <std::size_t Count>
AffineScales<Count> affine_scales(std::span<const f32> x, int top, int top_scale) noexcept {
  const std::size_t sub_len = x.size() / Count;
  Affine fits[Count];
  Affine largest;
  for (std::size_t s = 0; s < Count; ++s) {
    fits[s] = affine_of(x.subspan(s * sub_len, sub_len), top);
    largest.scale = std::max(largest.scale, fits[s].scale);
    largest.minimum = std::max(largest.minimum, fits[s].minimum);
  }
  AffineScales<Count> out;
  out.d = to_f16_outwards(largest.scale / top_scale);
  out.dmin = to_f16_outwards(largest.minimum / top_scale);
  for (std::size_t s = 0; s < Count; ++s) {
    out.scales[s] = static_cast<std::uint8_t>(level_of(fits[s].scale, to_f32(out.d), 0, top_scale));
    out.minimums[s] = static_cast<std::uint8_t>(level_of(fits[s].minimum, to_f32(out.dmin), 0, top_scale));
  }
  return out;
}

template <std::size_t Count>
struct SignedScales {
  f16 d;
  std::int8_t scales[Count];
};

/// The same for formats without minimums: integer scales in [-top_scale, top_scale - 1].
template <std::size_t Count>
SignedScales<Count> signed_scales(std::span<const f32> x, int levels, int top_scale) noexcept {
  const std::size_t sub_len = x.size() / Count;
  f64 fits[Count];
  f64 widest = 0.0;
  for (std::size_t s = 0; s < Count; ++s) {
    fits[s] = scale_of(x.subspan(s * sub_len, sub_len), levels);
    if (std::fabs(fits[s]) > std::fabs(widest)) widest = fits[s];
  }
  SignedScales<Count> out;
  out.d = to_f16_outwards(-widest / top_scale);
  for (std::size_t s = 0; s < Count; ++s)
    out.scales[s] = static_cast<std::int8_t>(level_of(fits[s], to_f32(out.d), -top_scale, top_scale - 1));
  return out;
}

}  // namespace tmodel::inline v0::detail::k_fit
