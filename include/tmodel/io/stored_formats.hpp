#pragma once
// How many bytes the numbers of each tensor format take in a file: enough to check and list every well-formed file.
// Sources: ggml's type table (ids 0 to 42, removed ones left out); the dtype list of the safetensors format.

#include <array>
#include <string>
#include <string_view>

#include "tmodel/io/tensor_source.hpp"

namespace tmodel::inline v0 {

/// One format as a container sees it: `block_len` elements take `block_bytes` bytes.
struct StoredFormat {
  format_id id;
  std::string_view name;
  std::uint32_t block_len;
  std::uint32_t block_bytes;
};

/// Ids from here on are ours: dtypes of safetensors that GGUF has no number for. The container lists them, a loader
/// refuses them by name.
inline constexpr format_id first_private_format = 0x10000;

inline constexpr std::array stored_formats{
    StoredFormat{0, "F32", 1, 4},
    StoredFormat{1, "F16", 1, 2},
    StoredFormat{2, "Q4_0", 32, 18},
    StoredFormat{3, "Q4_1", 32, 20},
    StoredFormat{6, "Q5_0", 32, 22},
    StoredFormat{7, "Q5_1", 32, 24},
    StoredFormat{8, "Q8_0", 32, 34},
    StoredFormat{9, "Q8_1", 32, 36},
    StoredFormat{10, "Q2_K", 256, 84},
    StoredFormat{11, "Q3_K", 256, 110},
    StoredFormat{12, "Q4_K", 256, 144},
    StoredFormat{13, "Q5_K", 256, 176},
    StoredFormat{14, "Q6_K", 256, 210},
    StoredFormat{15, "Q8_K", 256, 292},
    StoredFormat{16, "IQ2_XXS", 256, 66},
    StoredFormat{17, "IQ2_XS", 256, 74},
    StoredFormat{18, "IQ3_XXS", 256, 98},
    StoredFormat{19, "IQ1_S", 256, 50},
    StoredFormat{20, "IQ4_NL", 32, 18},
    StoredFormat{21, "IQ3_S", 256, 110},
    StoredFormat{22, "IQ2_S", 256, 82},
    StoredFormat{23, "IQ4_XS", 256, 136},
    StoredFormat{24, "I8", 1, 1},
    StoredFormat{25, "I16", 1, 2},
    StoredFormat{26, "I32", 1, 4},
    StoredFormat{27, "I64", 1, 8},
    StoredFormat{28, "F64", 1, 8},
    StoredFormat{29, "IQ1_M", 256, 56},
    StoredFormat{30, "BF16", 1, 2},
    StoredFormat{34, "TQ1_0", 256, 54},
    StoredFormat{35, "TQ2_0", 256, 66},
    StoredFormat{39, "MXFP4", 32, 17},
    StoredFormat{40, "NVFP4", 64, 36},
    StoredFormat{41, "Q1_0", 128, 18},
    StoredFormat{42, "Q2_0", 64, 18},
    StoredFormat{first_private_format + 0, "BOOL", 1, 1},
    StoredFormat{first_private_format + 1, "U8", 1, 1},
    StoredFormat{first_private_format + 2, "U16", 1, 2},
    StoredFormat{first_private_format + 3, "U32", 1, 4},
    StoredFormat{first_private_format + 4, "U64", 1, 8},
    StoredFormat{first_private_format + 5, "F8_E5M2", 1, 1},
    StoredFormat{first_private_format + 6, "F8_E4M3", 1, 1},
    StoredFormat{first_private_format + 7, "F8_E8M0", 1, 1},
    StoredFormat{first_private_format + 8, "F8_E4M3FNUZ", 1, 1},
    StoredFormat{first_private_format + 9, "F8_E5M2FNUZ", 1, 1},
    StoredFormat{first_private_format + 10, "F4", 2, 1},
    StoredFormat{first_private_format + 11, "F6_E2M3", 4, 3},
    StoredFormat{first_private_format + 12, "F6_E3M2", 4, 3},
    StoredFormat{first_private_format + 13, "C64", 1, 8},
};

/// The format with this number, nullptr if there is none (unknown, or removed from ggml).
constexpr const StoredFormat* find_stored_format(format_id id) noexcept {
  for (const StoredFormat& format : stored_formats)
    if (format.id == id) return &format;
  return nullptr;
}

/// The format that safetensors calls `dtype`, nullptr if there is none. Block formats have no dtype.
constexpr const StoredFormat* find_dtype(std::string_view dtype) noexcept {
  for (const StoredFormat& format : stored_formats)
    if (format.name == dtype && (format.id >= first_private_format || format.block_len == 1)) return &format;
  return nullptr;
}

/// "Q4_0", or "format 77" where the number has no name.
inline std::string stored_format_name(format_id id) {
  const StoredFormat* format = find_stored_format(id);
  return format != nullptr ? std::string(format->name) : "format " + std::to_string(id);
}

/// Bytes of `elements` numbers; false if they do not fill whole blocks or the count does not fit.
[[nodiscard]] constexpr bool stored_bytes(const StoredFormat& format, std::uint64_t elements,
                                          std::uint64_t& bytes) noexcept {
  const std::uint64_t blocks = elements / format.block_len;
  if (elements % format.block_len != 0 || blocks > ~std::uint64_t{0} / format.block_bytes) return false;
  bytes = blocks * format.block_bytes;
  return true;
}

/// Elements of a shape; false if a dimension or the product is 2^63 or more, zero dimensions counted as one for that,
/// so that the product of any subset of the dimensions fits as well.
[[nodiscard]] constexpr bool count_elements(std::span<const std::uint64_t> shape, std::uint64_t& elements) noexcept {
  constexpr std::uint64_t most = 0x7FFFFFFFFFFFFFFF;
  std::uint64_t product = 1;
  bool empty = false;
  for (const std::uint64_t dim : shape) {
    if (dim > most / product) return false;
    if (dim == 0)
      empty = true;
    else
      product *= dim;
  }
  elements = empty ? 0 : product;
  return true;
}

}  // namespace tmodel::inline v0
