#pragma once
// K formats: blocks of 256 weights whose sub-blocks of 16 or 32 have integer scales: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
// Layout: GGML's ggml-common.h and ggml-quants.c; dequantize gives the bits of gguf-py 0.19. Fitting: k_fit.hpp.

#include "tmodel/quant/integers.hpp"
#include "tmodel/quant/k_fit.hpp"

namespace tmodel::inline v0 {

// The order of fields differs: d comes first in Q4_K and Q5_K, last in Q2_K, Q3_K and Q6_K. Minimums are subtracted.
// All quantisers here: src.size() is a multiple of 256. NaN or infinity in a block gives d = NaN, so that it shows.
// In unpack, `part` is the number of 32 consecutive elements, in which element l stands.
namespace detail::k {

inline constexpr f16 nan{0x7E00};

struct ScaleAndMinimum {
  int scale, minimum;
};

/// Q4_K and Q5_K: the 6-bit scale and minimum of sub-block k = 0..7 from 12 bytes.
inline ScaleAndMinimum scale_and_minimum(const std::uint8_t* packed, std::size_t k) noexcept {
  if (k < 4) return {packed[k] & 63, packed[k + 4] & 63};
  return {(packed[k + 4] & 15) | ((packed[k - 4] >> 6) << 4), (packed[k + 4] >> 4) | ((packed[k] >> 6) << 4)};
}

inline void pack_scales_and_minimums(const std::uint8_t* scales, const std::uint8_t* minimums,
                                     std::uint8_t* packed) noexcept {
  for (std::size_t k = 0; k < 4; ++k) {
    packed[k] = static_cast<std::uint8_t>(scales[k] | ((scales[k + 4] >> 4) << 6));
    packed[k + 4] = static_cast<std::uint8_t>(minimums[k] | ((minimums[k + 4] >> 4) << 6));
    packed[k + 8] = static_cast<std::uint8_t>((scales[k + 4] & 15) | ((minimums[k + 4] & 15) << 4));
  }
}

/// Q3_K: the 6-bit scale, without its offset of 32, of sub-block k = 0..15 from 12 bytes.
inline int scale_of_16(const std::uint8_t* packed, std::size_t k) noexcept {
  const int low = k < 8 ? packed[k] & 15 : packed[k - 8] >> 4;
  const int high = (packed[8 + k % 4] >> (2 * (k / 4))) & 3;
  return low | (high << 4);
}

inline void pack_scale_of_16(int scale, std::size_t k, std::uint8_t* packed) noexcept {
  std::uint8_t& low = packed[k % 8];
  std::uint8_t& high = packed[8 + k % 4];
  low = static_cast<std::uint8_t>(low | ((scale & 15) << (4 * (k / 8))));
  high = static_cast<std::uint8_t>(high | ((scale >> 4) << (2 * (k / 4))));
}

/// Writes `bits` into `byte` from bit `shift` on; the place holds zeros.
inline void put(std::uint8_t& byte, int bits, std::size_t shift) noexcept {
  byte = static_cast<std::uint8_t>(byte | (bits << shift));
}

}  // namespace detail::k

/// 2 bits, sub-blocks of 16 with 4-bit scale and minimum: d * sc * q - dmin * mn.
struct Q2_K {
  struct Block {
    std::uint8_t scales[16];  // low nibble: scale, high: minimum
    std::uint8_t qs[64];
    f16 d, dmin;
  };
  static_assert(sizeof(Block) == 84 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q2_K";
  static constexpr std::size_t block_len = 256;
  static constexpr std::uint32_t gguf_id = 10;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 16, true>;

  static void unpack(const Block& block, Integers& out) noexcept {
    for (std::size_t part = 0; part < 8; ++part)
      for (std::size_t l = 0; l < 32; ++l) {
        const int q = (block.qs[32 * (part / 4) + l] >> (part % 4 * 2)) & 3;
        out.q[32 * part + l] = static_cast<std::int8_t>(q);
      }
    const f32 d = to_f32(block.d), dmin = to_f32(block.dmin);
    for (std::size_t s = 0; s < Integers::count; ++s) {
      out.scales[s] = d * static_cast<f32>(block.scales[s] & 15);
      out.offsets[s] = -(dmin * static_cast<f32>(block.scales[s] >> 4));
    }
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q2_K>(blocks, out); }
  /// Normal values: mean squared error at most 7.9 % of the mean square.
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const auto x = src.subspan(b * block_len, block_len);
      Block& block = blocks[b] = {};
      block.d = detail::k::nan;
      if (!detail::k_fit::all_finite(x)) continue;
      const auto fit = detail::k_fit::affine_scales<16>(x, 3, 15);
      block.d = fit.d;
      block.dmin = fit.dmin;
      for (std::size_t s = 0; s < 16; ++s)
        block.scales[s] = static_cast<std::uint8_t>(fit.scales[s] | (fit.minimums[s] << 4));
      for (std::size_t e = 0; e < block_len; ++e) {
        const f64 scale = f64{to_f32(fit.d)} * fit.scales[e / 16];
        const f64 shifted = x[e] + f64{to_f32(fit.dmin)} * fit.minimums[e / 16];
        detail::k::put(block.qs[32 * (e / 128) + e % 32], detail::k_fit::level_of(shifted, scale, 0, 3),
                       e % 128 / 32 * 2);
      }
    }
  }
};

/// 3 bits, symmetric, sub-blocks of 16 with 6-bit scale: d * (s - 32) * (q - 4). A set bit of hmask adds 4.
struct Q3_K {
  struct Block {
    std::uint8_t hmask[32];
    std::uint8_t qs[64];
    std::uint8_t scales[12];
    f16 d;
  };
  static_assert(sizeof(Block) == 110 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q3_K";
  static constexpr std::size_t block_len = 256;
  static constexpr std::uint32_t gguf_id = 11;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 16, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    for (std::size_t part = 0; part < 8; ++part)
      for (std::size_t l = 0; l < 32; ++l) {
        const int low = (block.qs[32 * (part / 4) + l] >> (part % 4 * 2)) & 3;
        const int high = (block.hmask[l] >> part) & 1;
        out.q[32 * part + l] = static_cast<std::int8_t>((low | (high << 2)) - 4);
      }
    const f32 d = to_f32(block.d);
    for (std::size_t s = 0; s < Integers::count; ++s)
      out.scales[s] = d * static_cast<f32>(detail::k::scale_of_16(block.scales, s) - 32);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q3_K>(blocks, out); }
  /// Normal values: mean squared error at most 2.3 % of the mean square.
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const auto x = src.subspan(b * block_len, block_len);
      Block& block = blocks[b] = {};
      block.d = detail::k::nan;
      if (!detail::k_fit::all_finite(x)) continue;
      const auto fit = detail::k_fit::signed_scales<16>(x, 4, 32);
      block.d = fit.d;
      for (std::size_t s = 0; s < 16; ++s) detail::k::pack_scale_of_16(fit.scales[s] + 32, s, block.scales);
      for (std::size_t e = 0; e < block_len; ++e) {
        const f64 scale = f64{to_f32(fit.d)} * fit.scales[e / 16];
        const int q = detail::k_fit::level_of(x[e], scale, -4, 3) + 4;
        detail::k::put(block.qs[32 * (e / 128) + e % 32], q & 3, e % 128 / 32 * 2);
        detail::k::put(block.hmask[e % 32], q >> 2, e / 32);
      }
    }
  }
};

/// 4 bits, sub-blocks of 32 with 6-bit scale and minimum: d * sc * q - dmin * mn.
struct Q4_K {
  struct Block {
    f16 d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qs[128];
  };
  static_assert(sizeof(Block) == 144 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q4_K";
  static constexpr std::size_t block_len = 256;
  static constexpr std::uint32_t gguf_id = 12;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, true>;

  static void unpack(const Block& block, Integers& out) noexcept {
    for (std::size_t part = 0; part < 8; ++part)
      for (std::size_t l = 0; l < 32; ++l) {
        const int q = (block.qs[32 * (part / 2) + l] >> (part % 2 * 4)) & 15;
        out.q[32 * part + l] = static_cast<std::int8_t>(q);
      }
    const f32 d = to_f32(block.d), dmin = to_f32(block.dmin);
    for (std::size_t s = 0; s < Integers::count; ++s) {
      const auto [scale, minimum] = detail::k::scale_and_minimum(block.scales, s);
      out.scales[s] = d * static_cast<f32>(scale);
      out.offsets[s] = -(dmin * static_cast<f32>(minimum));
    }
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q4_K>(blocks, out); }
  /// Normal values: mean squared error at most 0.56 % of the mean square.
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const auto x = src.subspan(b * block_len, block_len);
      Block& block = blocks[b] = {};
      block.d = detail::k::nan;
      if (!detail::k_fit::all_finite(x)) continue;
      const auto fit = detail::k_fit::affine_scales<8>(x, 15, 63);
      block.d = fit.d;
      block.dmin = fit.dmin;
      detail::k::pack_scales_and_minimums(fit.scales, fit.minimums, block.scales);
      for (std::size_t e = 0; e < block_len; ++e) {
        const f64 scale = f64{to_f32(fit.d)} * fit.scales[e / 32];
        const f64 shifted = x[e] + f64{to_f32(fit.dmin)} * fit.minimums[e / 32];
        detail::k::put(block.qs[32 * (e / 64) + e % 32], detail::k_fit::level_of(shifted, scale, 0, 15),
                       e / 32 % 2 * 4);
      }
    }
  }
};

/// 5 bits, sub-blocks of 32 with 6-bit scale and minimum: d * sc * q - dmin * mn.
struct Q5_K {
  struct Block {
    f16 d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qh[32];  // bit s of qh[l]: the fifth bit of element l of sub-block s
    std::uint8_t qs[128];
  };
  static_assert(sizeof(Block) == 176 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q5_K";
  static constexpr std::size_t block_len = 256;
  static constexpr std::uint32_t gguf_id = 13;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 32, true>;

  static void unpack(const Block& block, Integers& out) noexcept {
    for (std::size_t part = 0; part < 8; ++part)
      for (std::size_t l = 0; l < 32; ++l) {
        const int low = (block.qs[32 * (part / 2) + l] >> (part % 2 * 4)) & 15;
        const int high = (block.qh[l] >> part) & 1;
        out.q[32 * part + l] = static_cast<std::int8_t>(low | (high << 4));
      }
    const f32 d = to_f32(block.d), dmin = to_f32(block.dmin);
    for (std::size_t s = 0; s < Integers::count; ++s) {
      const auto [scale, minimum] = detail::k::scale_and_minimum(block.scales, s);
      out.scales[s] = d * static_cast<f32>(scale);
      out.offsets[s] = -(dmin * static_cast<f32>(minimum));
    }
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q5_K>(blocks, out); }
  /// Normal values: mean squared error at most 0.143 % of the mean square.
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const auto x = src.subspan(b * block_len, block_len);
      Block& block = blocks[b] = {};
      block.d = detail::k::nan;
      if (!detail::k_fit::all_finite(x)) continue;
      const auto fit = detail::k_fit::affine_scales<8>(x, 31, 63);
      block.d = fit.d;
      block.dmin = fit.dmin;
      detail::k::pack_scales_and_minimums(fit.scales, fit.minimums, block.scales);
      for (std::size_t e = 0; e < block_len; ++e) {
        const f64 scale = f64{to_f32(fit.d)} * fit.scales[e / 32];
        const f64 shifted = x[e] + f64{to_f32(fit.dmin)} * fit.minimums[e / 32];
        const int q = detail::k_fit::level_of(shifted, scale, 0, 31);
        detail::k::put(block.qs[32 * (e / 64) + e % 32], q & 15, e / 32 % 2 * 4);
        detail::k::put(block.qh[e % 32], q >> 4, e / 32);
      }
    }
  }
};

/// 6 bits, symmetric, sub-blocks of 16 with 8-bit scale: d * sc * (q - 32).
struct Q6_K {
  struct Block {
    std::uint8_t ql[128];
    std::uint8_t qh[64];
    std::int8_t scales[16];
    f16 d;
  };
  static_assert(sizeof(Block) == 210 && alignof(Block) == 2);
  static constexpr std::string_view name = "Q6_K";
  static constexpr std::size_t block_len = 256;
  static constexpr std::uint32_t gguf_id = 14;
  static constexpr Acts acts = Acts::q8;
  using Integers = IntegerBlock<block_len, 16, false>;

  static void unpack(const Block& block, Integers& out) noexcept {
    for (std::size_t part = 0; part < 8; ++part)
      for (std::size_t l = 0; l < 32; ++l) {
        const std::size_t half = part / 4;
        const int low = (block.ql[64 * half + 32 * (part % 2) + l] >> (part % 4 / 2 * 4)) & 15;
        const int high = (block.qh[32 * half + l] >> (part % 4 * 2)) & 3;
        out.q[32 * part + l] = static_cast<std::int8_t>((low | (high << 4)) - 32);
      }
    const f32 d = to_f32(block.d);
    for (std::size_t s = 0; s < Integers::count; ++s) out.scales[s] = d * static_cast<f32>(block.scales[s]);
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Q6_K>(blocks, out); }
  /// Normal values: mean squared error at most 0.033 % of the mean square.
  static void quantize(std::span<const f32> src, Block* blocks) noexcept {
    for (std::size_t b = 0; b < src.size() / block_len; ++b) {
      const auto x = src.subspan(b * block_len, block_len);
      Block& block = blocks[b] = {};
      block.d = detail::k::nan;
      if (!detail::k_fit::all_finite(x)) continue;
      const auto fit = detail::k_fit::signed_scales<16>(x, 32, 128);
      block.d = fit.d;
      for (std::size_t s = 0; s < 16; ++s) block.scales[s] = fit.scales[s];
      for (std::size_t e = 0; e < block_len; ++e) {
        const std::size_t half = e / 128, quarter = e % 128 / 32;
        const f64 scale = f64{to_f32(fit.d)} * fit.scales[e / 16];
        const int q = detail::k_fit::level_of(x[e], scale, -32, 31) + 32;
        detail::k::put(block.ql[64 * half + e % 64], q & 15, quarter / 2 * 4);
        detail::k::put(block.qh[32 * half + e % 32], q >> 4, quarter * 2);
      }
    }
  }
};

}  // namespace tmodel::inline v0
