#pragma once
// Weight formats without blocks: F32, F16, BF16. Their products read the float activations.
// Layout: GGUF tensor types 0, 1 and 30; safetensors dtypes of the same names.

#include <span>

#include "tmodel/core/format.hpp"

namespace tmodel::inline v0 {

/// IEEE 754 binary32.
struct F32 {
  using Block = f32;
  static constexpr std::string_view name = "F32";
  static constexpr std::size_t block_len = 1;
  static constexpr std::uint32_t gguf_id = 0;
  static constexpr Acts acts = Acts::floats;

  static void dequantize(const Block* blocks, std::span<f32> out) noexcept {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = blocks[i];
  }
  static void quantize(std::span<const f32> values, Block* blocks) noexcept {
    for (std::size_t i = 0; i < values.size(); ++i) blocks[i] = values[i];
  }
};

/// IEEE 754 binary16. quantize rounds to nearest, ties to even; from 65520 on to infinity.
struct F16 {
  using Block = f16;
  static constexpr std::string_view name = "F16";
  static constexpr std::size_t block_len = 1;
  static constexpr std::uint32_t gguf_id = 1;
  static constexpr Acts acts = Acts::floats;

  static void dequantize(const Block* blocks, std::span<f32> out) noexcept {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_f32(blocks[i]);
  }
  static void quantize(std::span<const f32> values, Block* blocks) noexcept {
    for (std::size_t i = 0; i < values.size(); ++i) blocks[i] = to_f16(values[i]);
  }
};

/// The upper half of binary32. quantize rounds to nearest, ties to even.
struct BF16 {
  using Block = bf16;
  static constexpr std::string_view name = "BF16";
  static constexpr std::size_t block_len = 1;
  static constexpr std::uint32_t gguf_id = 30;
  static constexpr Acts acts = Acts::floats;

  static void dequantize(const Block* blocks, std::span<f32> out) noexcept {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_f32(blocks[i]);
  }
  static void quantize(std::span<const f32> values, Block* blocks) noexcept {
    for (std::size_t i = 0; i < values.size(); ++i) blocks[i] = to_bf16(values[i]);
  }
};

}  // namespace tmodel::inline v0
