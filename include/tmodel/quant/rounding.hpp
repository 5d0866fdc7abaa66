#pragma once
// Float to integer without undefined behaviour, and a product that no compiler fuses into the addition after it.
// Why: g++ contracts a * b + c into one fma by default, which changes bytes that have to match another program's.

#include <cmath>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

/// The value itself, rounded to f32: the trip through memory keeps the compiler from contracting what is around it.
inline f32 rounded(f32 value) noexcept {
  volatile f32 stored = value;
  return stored;
}

/// The integer nearest to `value`, ties to even, held within [low, high]; NaN gives low.
inline int nearest_within(f64 value, int low, int high) noexcept {
  if (!(value > low)) return low;
  if (value >= high) return high;
  return static_cast<int>(std::nearbyint(value));
}

/// `value` without its fraction, held within [low, high]; NaN gives low.
inline int truncated_within(f32 value, int low, int high) noexcept {
  if (!(value > static_cast<f32>(low))) return low;
  if (value >= static_cast<f32>(high)) return high;
  return static_cast<int>(value);
}

/// 1 / scale, or 0 where that is infinite: a block with such a small scale holds nothing that f16 scales can say.
inline f32 reciprocal_or_zero(f32 scale) noexcept {
  const f32 inverse = 1.0f / scale;
  return std::isinf(inverse) ? 0.0f : inverse;
}

}  // namespace tmodel::inline v0
