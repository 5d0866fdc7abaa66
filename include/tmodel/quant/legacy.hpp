#pragma once
// Formats with blocks of 32 weights and one f16 scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
// Layout and rounding: GGML's ggml-common.h and ggml-quants.c; dequantize and quantize give the bits of gguf-py 0.19.

#include <algorithm>

#include "tmodel/quant/integers.hpp"
#include "tmodel/quant/rounding.hpp"

namespace tmodel::inline v0 {

// All quantisers here: src.size() is a multiple of 32. NaN or infinity in a block, or a scale beyond 65504, makes the
// block's scale or minimum NaN or infinite, so that it shows; a scale whose reciprocal overflows counts as zero.
namespace detail::legacy {

inline constexpr std::size_t length = 32;

/// Elements 0..15 are the low nibbles, 16..31 the high ones (not even and odd pairs).
inline void unpack_nibbles(const std::uint8_t* packed, std::int8_t* q) noexcept {
  for (std::size_t i = 0; i < 16; ++i) {
    q[i] = static_cast<std::int8_t>(packed[i] & 15);
    q[i + 16] = static_cast<std::int8_t>(packed[i] >> 4);
  }
}

inline void pack_nibbles(const std::uint8_t* q, std::uint8_t* packed) noexcept {
  for (std::size_t i = 0; i < 16; ++i) packed[i] = static_cast<std::uint8_t>((q[i] & 15) | ((q[i + 16] & 15) << 4));
}

/// Bit e of the little-endian 32-bit word `high` is the fifth bit of element e.
inline void unpack_fifth_bits(const std::uint8_t* high, std::int8_t* q) noexcept {
  for (std::size_t e = 0; e < length; ++e)
    q[e] = static_cast<std::int8_t>(q[e] | (((high[e / 8] >> (e % 8)) & 1) << 4));
}

inline void pack_fifth_bits(const std::uint8_t* q, std::uint8_t* high) noexcept {
  for (std::size_t i = 0; i < 4; ++i) high[i] = 0;
  for (std::size_t e = 0; e < length; ++e)
    high[e / 8] = static_cast<std::uint8_t>(high[e / 8] | ((q[e] >> 4) << (e % 8)));
}

/// The first value of the largest magnitude, with its sign; NaN if there is one.
inline f32 widest(const f32* x) noexcept {
  f32 value = x[0];
  for (std::size_t i = 0; i < length; ++i) {
    if (std::isnan(x[i])) return x[i];
    if (std::fabs(x[i]) > std::fabs(value)) value = x[i];
  }
  return value;
}

struct Range {
  f32 low, high;
};

/// Smallest and largest value; NaN twice if there is one.
inline Range range_of(const f32* x) noexcept {
  Range range{x[0], x[0]};
  for (std::size_t i = 0; i < length; ++i) {
    if (std::isnan(x[i])) return {x[i], x[i]};
    range.low = std::min(range.low, x[i]);
    range.high = std::max(range.high, x[i]);
  }
  return range;
}

/// q = trunc((x - low) * inverse + bias) in [0, top]; each operation rounded by itself, as numpy does.
inline void to_levels(const f32* x, f32 low, f32 inverse, f32 bias, int top, std::uint8_t* q) noexcept {
  for (std::size_t i = 0; i < length; ++i)
    q[i] = static_cast<std::uint8_t>(truncated_within(rounded((x[i] - low) * inverse) + bias, 0, top));
}

}  // namespace detail::legacy

/// 4 bits, symmetric: d * (q - 8).
struct Q4_0 {
  struct Block {
    f16 d;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 18 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q4_0";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 2;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    detail::legacy::unpack_nibbles(block.qs, out.q);
    for (std::int8_t& q : out.q) q = static_cast<std::int8_t>(q - 8);
    out.scales[0] = to_f32(block.d);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q4_0>(blocks, out); }
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    std::uint8_t q[block_len];
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const f32* const x = src.data() + b * block_len;
      const f32 d = detail::legacy::widest(x) / -8.0f;
      detail::legacy::to_levels(x, 0.0f, reciprocal_or_zero(d), 8.5f, 15, q);
      blocks[b].d = to_f16(d);
      detail::legacy::pack_nibbles(q, blocks[b].qs);
    }
  }
};

/// 4 bits with a minimum, which is added: d * q + m.
struct Q4_1 {
  struct Block {
    f16 d, m;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 20 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q4_1";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 3;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, true>;

  static void unpack(const Block& block, Integers& out) noexcept {
    detail::legacy::unpack_nibbles(block.qs, out.q);
    out.scales[0] = to_f32(block.d);
    out.offsets[0] = to_f32(block.m);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q4_1>(blocks, out); }
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    std::uint8_t q[block_len];
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const f32* const x = src.data() + b * block_len;
      const detail::legacy::Range range = detail::legacy::range_of(x);
      const f32 d = (range.high - range.low) / 15.0f;
      detail::legacy::to_levels(x, range.low, reciprocal_or_zero(d), 0.5f, 15, q);
      blocks[b].d = to_f16(d);
      blocks[b].m = to_f16(range.low);
      detail::legacy::pack_nibbles(q, blocks[b].qs);
    }
  }
};

/// 5 bits, symmetric: d * (q - 16).
struct Q5_0 {
  struct Block {
    f16 d;
    std::uint8_t qh[4];  // bytes, not a 32-bit word: a word would be aligned to 4 and the block 24 bytes long
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 22 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q5_0";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 6;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    detail::legacy::unpack_nibbles(block.qs, out.q);
    detail::legacy::unpack_fifth_bits(block.qh, out.q);
    for (std::int8_t& q : out.q) q = static_cast<std::int8_t>(q - 16);
    out.scales[0] = to_f32(block.d);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q5_0>(blocks, out); }
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    std::uint8_t q[block_len];
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const f32* const x = src.data() + b * block_len;
      const f32 d = detail::legacy::widest(x) / -16.0f;
      detail::legacy::to_levels(x, 0.0f, reciprocal_or_zero(d), 16.5f, 31, q);
      blocks[b].d = to_f16(d);
      detail::legacy::pack_nibbles(q, blocks[b].qs);
      detail::legacy::pack_fifth_bits(q, blocks[b].qh);
    }
  }
};

/// 5 bits with a minimum, which is added: d * q + m.
struct Q5_1 {
  struct Block {
    f16 d, m;
    std::uint8_t qh[4];
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 24 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q5_1";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 7;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, true>;

  static void unpack(const Block& block, Integers& out) noexcept {
    detail::legacy::unpack_nibbles(block.qs, out.q);
    detail::legacy::unpack_fifth_bits(block.qh, out.q);
    out.scales[0] = to_f32(block.d);
    out.offsets[0] = to_f32(block.m);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q5_1>(blocks, out); }
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    std::uint8_t q[block_len];
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const f32* const x = src.data() + b * block_len;
      const detail::legacy::Range range = detail::legacy::range_of(x);
      const f32 d = (range.high - range.low) / 31.0f;
      detail::legacy::to_levels(x, range.low, reciprocal_or_zero(d), 0.5f, 31, q);
      blocks[b].d = to_f16(d);
      blocks[b].m = to_f16(range.low);
      detail::legacy::pack_nibbles(q, blocks[b].qs);
      detail::legacy::pack_fifth_bits(q, blocks[b].qh);
    }
  }
};

/// 8 bits, symmetric: d * q. A file may hold -128, quantize writes -127..127.
struct Q8_0 {
  struct Block {
    f16 d;
    std::int8_t qs[32];
  };
  static_assert(sizeof(Block) == 34 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q8_0";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 8;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    for (std::size_t e = 0; e < block_len; ++e) out.q[e] = block.qs[e];
    out.scales[0] = to_f32(block.d);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q8_0>(blocks, out); }
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const f32* const x = src.data() + b * block_len;
      const f32 d = std::fabs(detail::legacy::widest(x)) / 127.0f;
      const f32 inverse = reciprocal_or_zero(d);
      for (std::size_t e = 0; e < block_len; ++e)  // halves away from zero, unlike everywhere else: GGML's roundf
        blocks[b].qs[e] = static_cast<std::int8_t>(truncated_within(std::round(x[e] * inverse), -127, 127));
      blocks[b].d = to_f16(d);
    }
  }
};

}  // namespace tmodel::inline v0
