#pragma once
// Philox4x32-10, a counter-based random generator: a pure function of counter and key, no state to carry.
// Source: Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11.

#include <array>
#include <cstdint>

#include "tmodel/fwd.hpp"

namespace tmodel::inline v0 {

/// Four random words for a counter and a key.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) noexcept {
  constexpr std::uint64_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;  // golden ratio, sqrt(3) - 1
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = multiplier0 * counter[0], product1 = multiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key = {key[0] + weyl0, key[1] + weyl1};
  }
  return counter;
}

/// What a draw depends on: the same key and logits give the same token on any machine.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;  ///< tells sequences with one seed apart
  std::uint64_t position = 0;  ///< of the token to be drawn
};

/// 64 random bits for a draw.
constexpr std::uint64_t draw_bits(const DrawKey& key) noexcept {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); };
  const auto words = philox4x32({low(key.position), high(key.position), low(key.sequence), high(key.sequence)},
                                {low(key.seed), high(key.seed)});
  return words[0] | (std::uint64_t{words[1]} << 32);
}

}  // namespace tmodel::inline v0
