#pragma once
// Activations as 8-bit integers: what every quantised weight format is multiplied with.
// Symmetric, one f32 scale per 32 elements; the sums of its halves carry the offsets of weights exactly.

#include <algorithm>
#include <span>

#include "tmodel/quant/rounding.hpp"

namespace tmodel::inline v0 {

/// 32 activations: element e is d * qs[e], qs in [-127, 127]. sums[h] is the sum of qs[16h .. 16h + 15].
struct Q8Block {
  f32 d;
  std::int16_t sums[2];
  std::int8_t qs[32];
};
static_assert(sizeof(Q8Block) == 40);

inline constexpr std::size_t q8_block_len = 32;

/// Blocks whose largest magnitude is below this are zero: their products would vanish and 127 / amax overflow.
inline constexpr f32 q8_smallest = 0x1p-100f;

/// Quantises row.size() (a multiple of 32) activations into row.size() / 32 blocks.
///
/// With amax the largest magnitude: d = amax / 127 and qs = x * (127 / amax), each operation rounded to f32, then to
/// the nearest integer, ties to even. This defines the bits: vector versions give the same ones. A block that holds
/// NaN or infinity has d = NaN and qs = 0, so every product with it is NaN.
inline void quantize_row(std::span<const f32> row, Q8Block* blocks) noexcept {
  for (std::size_t b = 0; b < row.size() / q8_block_len; ++b) {
    const f32* const x = row.data() + b * q8_block_len;
    Q8Block& block = blocks[b];
    // As integers, magnitudes of floats are ordered, with infinity and NaN on top: no comparison loses a NaN.
    std::uint32_t widest = 0;
    for (std::size_t e = 0; e < q8_block_len; ++e)
      widest = std::max(widest, std::bit_cast<std::uint32_t>(x[e]) & 0x7FFFFFFFu);
    const f32 amax = std::bit_cast<f32>(widest);

    block = {};
    if (!std::isfinite(amax)) {
      block.d = std::bit_cast<f32>(std::uint32_t{0x7FC00000});
      continue;
    }
    if (amax < q8_smallest) continue;
    block.d = amax / 127.0f;
    const f32 inverse = 127.0f / amax;
    for (std::size_t e = 0; e < q8_block_len; ++e) {
      const int q = nearest_within(x[e] * inverse, -127, 127);
      block.qs[e] = static_cast<std::int8_t>(q);
      block.sums[e / 16] = static_cast<std::int16_t>(block.sums[e / 16] + q);
    }
  }
}

}  // namespace tmodel::inline v0
