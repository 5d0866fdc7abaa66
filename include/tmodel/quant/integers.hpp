#pragma once
// What a block of quantised weights means: small integers, a scale for each sub-block, in some formats an offset.
// Every dequantise, every integer product and every repacking of weights reads blocks through unpack() of its format.

#include <concepts>
#include <span>

#include "tmodel/core/format.hpp"

namespace tmodel::inline v0 {

/// One unpacked block: element e is scales[s] * q[e], or scales[s] * q[e] + offsets[s], with s = e / sub_len.
///
/// scales[s] * q[e] is exact in f32 for every format here: at most 11 bits of an f16 scale, 7 of a sub-scale and 6 of
/// a value (8 where there is no sub-scale). So a compiler that fuses product and sum changes no bit.
template <std::size_t Length, std::size_t SubLength, bool HasOffsets>
struct alignas(64) IntegerBlock {  // g++ 12 -O3 with AVX512VL loads a local one as aligned to 32 without aligning it
  static_assert(Length % SubLength == 0 && (SubLength == 16 || SubLength == 32));
  static constexpr std::size_t length = Length;             ///< elements
  static constexpr std::size_t sub_len = SubLength;         ///< elements that share a scale
  static constexpr std::size_t count = Length / SubLength;  ///< sub-blocks
  static constexpr bool has_offsets = HasOffsets;

  std::int8_t q[length];
  f32 scales[count];
  f32 offsets[has_offsets ? count : 1];  ///< to be added; not set where has_offsets is false
};

/// A format whose products run on integers: it names its IntegerBlock and unpacks into it.
template <class Q>
concept QuantizedFormat = WeightFormat<Q> && Q::acts == Acts::q8&& Q::Integers::length ==
                          Q::block_len&& requires(const typename Q::Block& block, typename Q::Integers& out) {
  { Q::unpack(block, out) }
  noexcept;
};

/// Dequantises out.size() / block_len blocks; each value is rounded once, at the addition of the offset.
template <QuantizedFormat Q>
void dequantize_blocks(const typename Q::Block* blocks, std::span<f32> out) noexcept {
  using Integers = typename Q::Integers;
  Integers unpacked;
  for (std::size_t b = 0; b < out.size() / Q::block_len; ++b) {
    Q::unpack(blocks[b], unpacked);
    f32* const values = out.data() + b * Q::block_len;
    for (std::size_t s = 0; s < Integers::count; ++s)
      for (std::size_t e = s * Integers::sub_len; e < (s + 1) * Integers::sub_len; ++e) {
        const f32 product = unpacked.scales[s] * static_cast<f32>(unpacked.q[e]);
        if constexpr (Integers::has_offsets)
          values[e] = product + unpacked.offsets[s];
        else
          values[e] = product;
      }
  }
}

}  // namespace tmodel::inline v0
