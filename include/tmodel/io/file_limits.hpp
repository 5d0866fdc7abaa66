#pragma once
// The most that a model file may hold. Far above every real file; what exceeds them is refused before it is allocated.
// Counts and lengths are checked against the file's own size as well: a small file never asks for much memory.

#include <cstddef>
#include <cstdint>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0::file_limits {

/// Tensors of one file; the largest published mixtures of experts have about 100,000 in all their files together.
inline constexpr std::uint64_t tensors = 1u << 20;
/// Key-value pairs of a GGUF file, and flattened keys of a config.json. Real files have below 100 and below 3,000.
inline constexpr std::uint64_t keys = 1u << 16;
/// Bytes of a GGUF key, from the specification.
inline constexpr std::uint64_t key_bytes = 65535;
/// Bytes of a tensor's name. ggml stops at 63; other writers of GGUF do not.
inline constexpr std::uint64_t tensor_name_bytes = 1024;
/// Bytes of one string value of a GGUF file; the longest real ones are whole tokenizer.json texts of 35 MB.
/// Strings inside arrays (tokens, merges) stay in the file and have no limit but its size.
inline constexpr std::uint64_t string_bytes = 1u << 28;
/// general.alignment of a GGUF file; 32 is usual.
inline constexpr std::uint64_t alignment = 1u << 30;
/// Parts of a split GGUF file: five digits in the name.
inline constexpr std::uint64_t split_parts = 99999;
/// Bytes of a safetensors header, from the format's own reader.
inline constexpr std::uint64_t safetensors_header_bytes = 100'000'000;
/// Bytes of model.safetensors.index.json; 100,000 tensors take 10 MB.
inline constexpr std::size_t index_bytes = 1u << 26;
/// Bytes of config.json and of generation_config.json; real ones are below 200 kB.
inline constexpr std::size_t config_bytes = 1u << 24;
/// Bytes of all flattened keys of a configuration together: nesting repeats the outer names in every inner one.
inline constexpr std::size_t config_key_bytes = 1u << 23;

}  // namespace tmodel::inline v0::file_limits
