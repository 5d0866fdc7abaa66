#pragma once
// The meaning of a product of quantised weights with quantised activations, in plain scalar code.
// Exact integer sums, then one chain of fused multiply-adds: the oracle that vector kernels are tested against.

#include <cmath>

#include "tmodel/quant/activations.hpp"
#include "tmodel/quant/integers.hpp"

namespace tmodel::inline v0 {

namespace detail {
inline f32 fused(f32 a, f32 b, f32 c) noexcept { return std::fma(a, b, c); }
}  // namespace detail

/// Product of one row of weights with one row of activations; `columns` is a multiple of Q::block_len.
///
/// For each sub-block in ascending order, with I = the exact sum of q_w * q_x over it and S = that of q_x:
///   acc = fma(scale_w * d_x, I, acc), and in formats with offsets then acc = fma(offset_w, d_x * S, acc).
/// |I| <= 128 * 127 * 32 < 2^24, so I and S are exact in f32 too. The bits do not depend on compiler or flags.
/// `fused` is the fma: SSE2, which has none, is compared with an oracle that rounds twice.
template <QuantizedFormat Q>
f32 dot_q8(const typename Q::Block* row, const Q8Block* x, std::size_t columns,
           f32 (*fused)(f32, f32, f32) noexcept = detail::fused) noexcept {
  using Integers = typename Q::Integers;
  Integers w;
  f32 acc = 0.0f;
  for (std::size_t b = 0; b < columns / Q::block_len; ++b) {
    Q::unpack(row[b], w);
    for (std::size_t s = 0; s < Integers::count; ++s) {
      const std::size_t first = s * Integers::sub_len;  // of the sub-block, in its block
      const Q8Block& xs = x[(b * Q::block_len + first) / q8_block_len];
      const std::size_t half = first % q8_block_len / 16;  // where a sub-block of 16 lies in xs
      std::int32_t sum = 0;
      for (std::size_t e = 0; e < Integers::sub_len; ++e)
        sum += std::int32_t{w.q[first + e]} * std::int32_t{xs.qs[16 * half + e]};
      acc = fused(w.scales[s] * xs.d, static_cast<f32>(sum), acc);
      if constexpr (Integers::has_offsets) {
        const std::int32_t sum_x = Integers::sub_len == 32 ? xs.sums[0] + xs.sums[1] : xs.sums[half];
        acc = fused(w.offsets[s], xs.d * static_cast<f32>(sum_x), acc);
      }
    }
  }
  return acc;
}

}  // namespace tmodel::inline v0
