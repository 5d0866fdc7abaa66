#pragma once
// Scalar types of the library and the macros that every floor may use.
// f16: IEEE 754-2008 binary16. bf16: the upper 16 bits of binary32.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tmodel/fwd.hpp"

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "tmodel: -ffast-math (or -ffinite-math-only) changes results and breaks the same-bits promise; compile without it"
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tmodel: model files are little endian and read in place; this machine is big endian"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define TMODEL_NOINLINE __attribute__((noinline))
#define TMODEL_COLD __attribute__((noinline, cold))
#define TMODEL_INLINE inline __attribute__((always_inline))
#elif defined(_MSC_VER)
#define TMODEL_NOINLINE __declspec(noinline)
#define TMODEL_COLD __declspec(noinline)
#define TMODEL_INLINE __forceinline
#else
#define TMODEL_NOINLINE
#define TMODEL_COLD
#define TMODEL_INLINE inline
#endif

namespace tmodel::inline v0 {

using f32 = float;
using f64 = double;
using token_t = std::int32_t;  ///< id of a token; negative: none
using pos_t = std::int32_t;    ///< position of a token in its sequence, from 0

struct f16 {
  std::uint16_t bits;
};
struct bf16 {
  std::uint16_t bits;
};

constexpr f32 to_f32(bf16 x) noexcept { return std::bit_cast<f32>(std::uint32_t{x.bits} << 16); }

/// Exact, subnormals and infinities included.
constexpr f32 to_f32(f16 x) noexcept {
  const std::uint32_t sign = std::uint32_t{x.bits & 0x8000u} << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 0x1Fu;
  const std::uint32_t mantissa = x.bits & 0x3FFu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in f32
    const f32 magnitude = static_cast<f32>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 0x1F ? 0xFFu : exponent + 112u;
  return std::bit_cast<f32>(sign | (wide << 23) | (mantissa << 13));
}

/// Rounds to nearest, ties to even, as the F16C instruction does; NaN stays NaN.
constexpr f16 to_f16(f32 x) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return {static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu))};
  if (magnitude >= 0x477FF000u) return {static_cast<std::uint16_t>(sign | 0x7C00u)};  // rounds to 2^16 or more
  if (magnitude < 0x38800000u) {                                                      // below 2^-14: subnormal
    // Adding 0.5 shifts the value so that its unit in the last place is 2^-24; the FPU rounds to even.
    const f32 shifted = std::bit_cast<f32>(magnitude) + 0.5f;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u))};
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return {static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13))};
}

constexpr bf16 to_bf16(f32 x) noexcept {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
}

/// Reads a T from bytes of any alignment.
template <class T>
T load_unaligned(const void* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace tmodel::inline v0
