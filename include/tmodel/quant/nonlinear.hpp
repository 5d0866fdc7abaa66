#pragma once
// 4-bit formats whose codes index a table: IQ4_NL, IQ4_XS, MXFP4. They can be read, not written.
// Layout and tables: GGML's ggml-common.h; MXFP4: OCP Microscaling Formats 1.0, FP4 E2M1 with an E8M0 scale.

#include "tmodel/quant/integers.hpp"

namespace tmodel::inline v0 {

namespace detail::nonlinear {

inline constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
/// E2M1 doubled, so that they are integers; the scale is halved in return.
inline constexpr std::int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// 32 elements: 0..15 from the low nibbles, 16..31 from the high ones.
inline void look_up(const std::int8_t (&table)[16], const std::uint8_t* packed, std::int8_t* q) noexcept {
  for (std::size_t i = 0; i < 16; ++i) {
    q[i] = table[packed[i] & 15];
    q[i + 16] = table[packed[i] >> 4];
  }
}

/// 2^(e - 128): half of an E8M0 scale. 255, NaN in the standard, is 2^127, as in GGML.
constexpr f32 half_of_e8m0(std::uint8_t e) noexcept {
  return std::bit_cast<f32>(e < 2 ? std::uint32_t{0x00200000} << e : (std::uint32_t{e} - 1) << 23);
}

}  // namespace detail::nonlinear

/// 4-bit table codes, blocks of 32 with one scale: d * T[q].
struct IQ4_NL {
  struct Block {
    f16 d;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 18 && alignof(Block) == 2);
  static constexpr std::string_view name = "IQ4_NL";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 20;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    detail::nonlinear::look_up(detail::nonlinear::iq4_values, block.qs, out.q);
    out.scales[0] = to_f32(block.d);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<IQ4_NL>(blocks, out); }
};

/// The same codes in blocks of 256 with 6-bit scales per 32: d * (s - 32) * T[q].
struct IQ4_XS {
  struct Block {
    f16 d;
    std::uint16_t scales_h;  // bits 2b, 2b+1: the upper bits of scale b
    std::uint8_t scales_l[4];
    std::uint8_t qs[128];
  };
  static_assert(sizeof(Block) == 136 && alignof(Block) == 2);
  static constexpr std::string_view name = "IQ4_XS";
  static constexpr std::size_t block_len = 256;
  static constexpr std::uint32_t gguf_id = 23;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    const f32 d = to_f32(block.d);
    for (std::size_t b = 0; b < 8; ++b) {
      const int low = (block.scales_l[b / 2] >> (4 * (b % 2))) & 15;
      const int high = (block.scales_h >> (2 * b)) & 3;
      out.scales[b] = d * static_cast<f32>((low | (high << 4)) - 32);
      detail::nonlinear::look_up(detail::nonlinear::iq4_values, block.qs + 16 * b, out.q + 32 * b);
    }
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<IQ4_XS>(blocks, out); }
};

/// 4-bit floats E2M1, blocks of 32 with a power of two as scale. The code of minus zero reads as +0, as in GGML.
struct MXFP4 {
  struct Block {
    std::uint8_t e;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 17 && alignof(Block) == 1);
  static constexpr std::string_view name = "MXFP4";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 39;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    detail::nonlinear::look_up(detail::nonlinear::e2m1_doubled, block.qs, out.q);
    out.scales[0] = detail::nonlinear::half_of_e8m0(block.e);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<MXFP4>(blocks, out); }
};

}  // namespace tmodel::inline v0
