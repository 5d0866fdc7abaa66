#pragma once
// Powers of two and a logarithm with the same bits on every machine and compiler: libm chooses its code by the CPU, so
// it cannot promise that. Every product below is exact or the only rounding of its step, so that a compiler which fuses
// a product and a sum rounds the same; written without branches so that compilers vectorise it.

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

/// Weights are integers in units of 2^-40 of the largest: their sums are exact in any order.
inline constexpr int weight_bits = 40;
/// Octaves (powers of 1/2) are counted in units of 2^-25.
inline constexpr int octave_bits = 25;
/// 41 octaves: 2^-41 is half a unit and rounds to a weight of 0.
inline constexpr std::int32_t vanishing_octaves = (weight_bits + 1) << octave_bits;

/// A number of octaves from 0 on, at most vanishing_octaves; that for NaN too.
inline std::int32_t fixed_octaves(f32 octaves) noexcept {
  constexpr std::int32_t most = std::bit_cast<std::int32_t>(static_cast<f32>(weight_bits + 1));
  const std::int32_t bits = std::bit_cast<std::int32_t>(octaves) & 0x7FFFFFFF;  // orders as the numbers do, NaN last
  return static_cast<std::int32_t>(std::bit_cast<f32>(bits < most ? bits : most) * 0x1p25f);
}

namespace detail {

inline constexpr std::int32_t octave_fraction = (1 << octave_bits) - 1;

/// 2^x, x being the fraction of 41 octaves less these.
inline f64 fractional_power(std::int32_t octaves) noexcept {
  // 1 + x p(x), p the polynomial of degree 4 that is best in relative error and meets both ends (Remez exchange), here
  // in units of x as it comes. With 25 bits in x and 28 in the factor beside it a product fits into an f64.
  constexpr f64 c1 = 0.69315173 * 0x1p-25, c2 = 0.24015927 * 0x1p-50, c3 = 0.05581868 * 0x1p-75,
                c4 = 0.0089910 * 0x1p-100, c5 = 0x1.eca5p-10 * 0x1p-125;
  constexpr std::uint64_t upper_28_bits = ~std::uint64_t{0x1FFFFFF};
  const auto shortened = [](f64 v) { return std::bit_cast<f64>(std::bit_cast<std::uint64_t>(v) & upper_28_bits); };
  const f64 x = static_cast<f64>((vanishing_octaves - octaves) & octave_fraction);
  f64 p = shortened(c5 * x + c4);
  p = shortened(p * x + c3);
  p = shortened(p * x + c2);
  p = shortened(p * x + c1);
  return p * x + 1.0;
}
/// The weight of these octaves, given that.
inline std::uint64_t whole_weight(f64 power, std::int32_t octaves) noexcept {
  // The whole octaves go into the exponent: that gives twice the weight. Numbers from 2^53 on are even: the sum rounds
  // the double to an even number, half of which is the weight and stands in the lower bits.
  const auto whole = static_cast<std::uint32_t>((vanishing_octaves - octaves) & ~octave_fraction);
  const f64 twice =
      std::bit_cast<f64>(std::bit_cast<std::uint64_t>(power) + (std::uint64_t{whole} << (52 - octave_bits)));
  return std::bit_cast<std::uint64_t>(twice + 0x1p53) & ((std::uint64_t{1} << 52) - 1);
}

}  // namespace detail

/// 2^-octaves as a weight, rounded; relative error of the unrounded value below 1.1e-7. Never rises with octaves.
inline std::uint64_t exp2_weight(std::int32_t octaves) noexcept {
  return detail::whole_weight(detail::fractional_power(octaves), octaves);
}

/// The upper 64 bits of a product.
constexpr std::uint64_t high_product(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t a0 = a & 0xFFFFFFFFu, a1 = a >> 32, b0 = b & 0xFFFFFFFFu, b1 = b >> 32;
  const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
  return a1 * b1 + (middle >> 32) + ((a0 * b1 + (middle & 0xFFFFFFFFu)) >> 32);
}

/// log2 of a positive integer, cut off after 32 binary places: squaring brings out one at a time.
constexpr f64 log2_of(std::uint64_t n) noexcept {
  const int whole = 63 - std::countl_zero(n);
  std::uint64_t m = n << (63 - whole), places = 0;  // m: in [1, 2), times 2^63
  for (int i = 0; i < 32; ++i) {
    m = high_product(m, m);
    const std::uint64_t place = m >> 63;
    places = places << 1 | place;
    m <<= 1 - place;
  }
  return whole + static_cast<f64>(places) * 0x1p-32;
}

}  // namespace tmodel::inline v0
