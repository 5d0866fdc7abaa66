#pragma once
// Bytes by purpose: what plan() returns, and what an Arena counts and then allocates.

#include <array>
#include <cstdint>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

enum class Purpose : std::uint8_t {
  weights_mapped,  ///< read in place from the file; the page cache holds them
  weights_copied,  ///< allocated or uploaded
  kv_cache,
  workspace,       ///< activations, logits, scratch
  tokenizer,       ///< vocabulary, merges, template
};
inline constexpr std::size_t purpose_count = 5;

struct MemoryUse {
  std::array<std::size_t, purpose_count> bytes{};

  std::size_t& operator[](Purpose p) noexcept { return bytes[static_cast<std::size_t>(p)]; }
  std::size_t operator[](Purpose p) const noexcept { return bytes[static_cast<std::size_t>(p)]; }
  std::size_t total() const noexcept {
    std::size_t sum = 0;
    for (const std::size_t b : bytes) sum += b;
    return sum;
  }
  MemoryUse& operator+=(const MemoryUse& other) noexcept {
    for (std::size_t i = 0; i < purpose_count; ++i) bytes[i] += other.bytes[i];
    return *this;
  }
  friend bool operator==(const MemoryUse&, const MemoryUse&) = default;
};

}  // namespace tmodel::inline v0
