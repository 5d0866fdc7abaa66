#pragma once
// An exponential with the same bits on every machine, compiler and flag: libm chooses its code by the CPU, so it cannot
// promise that. Method: e^x = 2^(k/256) * e^z with |z| <= ln 2 / 512; the table and the series are integers, so no
// contraction of products into fused operations can change a result.

#include <array>
#include <limits>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

namespace detail {

/// 2^(i/256) for i in [0, 256), scaled by 2^31 and rounded.
constexpr std::array<std::uint32_t, 256> make_exp2_table() noexcept {
  std::array<std::uint32_t, 256> table{};
  constexpr f64 ln2 = 0.693147180559945309417;
  for (int i = 0; i < 256; ++i) {
    const f64 x = ln2 * i / 256;
    f64 term = 1, sum = 1;
    for (int n = 1; n < 24; ++n) {
      term *= x / n;
      sum += term;
    }
    table[static_cast<std::size_t>(i)] = static_cast<std::uint32_t>(sum * 0x1p31 + 0.5);
  }
  return table;
}
inline constexpr std::array<std::uint32_t, 256> exp2_table = make_exp2_table();

/// e^x as mantissa * 2^(exponent - 62), mantissa in [2^62, 2^63 * 1.01), relative error below 2^-29.
struct ExpParts {
  std::uint64_t mantissa;
  std::int32_t exponent;
};

/// |x| <= 128.
inline ExpParts exp_parts(f32 x) noexcept {
  // 256 log2(e), split so that both products with a 24-bit x are exact: a fused operation rounds like two.
  constexpr f64 high = 0x1.7154765p8, low = 0x1.5c17f0cp-23;
  const f64 wide = x;
  const auto scaled = static_cast<std::int64_t>((wide * high + wide * low) * 0x1p31);  // 256 log2(e) x, times 2^31
  const std::int64_t k = (scaled + (std::int64_t{1} << 30)) >> 31;                     // rounded to an integer
  const std::int64_t fraction = scaled - k * (std::int64_t{1} << 31);                  // in [-2^30, 2^30)
  constexpr std::int64_t step = 2977044472;                                            // ln(2) / 256 * 2^40
  const std::int64_t z = (fraction * step) >> 31;                                      // scaled by 2^40, below 2^31
  const std::int64_t z2 = (z * z) >> 41;  // z^2 / 2; the next term is below 2^-31
  const auto series = static_cast<std::uint64_t>((std::int64_t{1} << 40) + z + z2);
  return {(series >> 9) * exp2_table[static_cast<std::size_t>(k & 255)], static_cast<std::int32_t>(k >> 8)};
}

}  // namespace detail

/// e^x, within one unit in the last place; the same bits everywhere. NaN gives NaN, overflow infinity, underflow 0.
inline f32 portable_exp(f32 x) noexcept {
  if (!(x > -104.f)) return x == x ? 0.f : x;
  if (x > 89.f) return std::numeric_limits<f32>::infinity();
  const detail::ExpParts e = detail::exp_parts(x);
  // A product with a power of two and the one rounding to f32; subnormal results are exact in f64 until then.
  const f64 scale = std::bit_cast<f64>(static_cast<std::uint64_t>(1023 - 62 + e.exponent) << 52);
  return static_cast<f32>(static_cast<f64>(e.mantissa) * scale);
}

/// e^x for x <= 0 in units of 2^-40, rounded: weights whose sums are exact in any order. 0 for NaN. No branch.
inline std::uint64_t exp_weight(f32 x) noexcept {
  constexpr f32 vanishes = -28.5f;  // 2^40 e^x rounds to 0 from here on
  const f32 bounded = x > vanishes ? x : vanishes;
  const detail::ExpParts e = detail::exp_parts(bounded < 0 ? bounded : 0.f);
  const int shift = 22 - e.exponent;
  return ((e.mantissa >> (shift - 1)) + 1) >> 1;
}

}  // namespace tmodel::inline v0
