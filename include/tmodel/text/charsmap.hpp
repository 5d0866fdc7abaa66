#pragma once
// SentencePiece's precompiled charsmap: a trie from sequences of characters to what replaces them (NFKC and the like).
// Layout: u32 size of the trie in bytes, the trie as a double array of u32 units (darts-clone), then the replacements,
// each ended by a zero byte. Everything comes from files, so every step is checked against the bounds.

#include <algorithm>
#include <optional>
#include <string_view>

#include "tmodel/text/flat_array.hpp"

namespace tmodel::inline v0::tokenization {

class Charsmap {
 public:
  /// Longest key that is followed and longest replacement that a file may have; real ones stay below 40 bytes. They
  /// bound the work at each place of a text and how much a text can grow.
  static constexpr std::size_t max_key = 256, max_replacement = 1024;

  struct Match {
    std::size_t length = 0;        ///< bytes of the text
    std::string_view replacement;  ///< what stands for them; may be empty
  };

  /// Copies the table. Errors: bad_file, out_of_memory.
  static expected<Charsmap> create(std::string_view blob, std::string_view where) {
    Charsmap map;
    if (blob.empty()) return map;
    const std::size_t units = blob.size() < 4 ? 0 : load_unaligned<std::uint32_t>(blob.data());
    if (units < 1024 || units % 4 != 0 || units >= blob.size() - 4 || blob.back() != '\0')
      return fail(Errc::bad_file, "precompiled charsmap is damaged", where);
    TMODEL_TRY(map.units_, FlatArray<std::uint32_t>::allocate(units / 4));
    std::memcpy(map.units_.data(), blob.data() + 4, units);
    TMODEL_TRY(map.texts_, FlatArray<char>::allocate(blob.size() - 4 - units));
    std::memcpy(map.texts_.data(), blob.data() + 4 + units, map.texts_.size());
    for (std::string_view rest(map.texts_.data(), map.texts_.size()); !rest.empty();) {
      const std::size_t length = rest.find('\0');  // the last byte is one
      if (length > max_replacement) return fail(Errc::bad_file, "replacement of a charsmap is too long", where);
      rest.remove_prefix(length + 1);
    }
    return map;
  }

  bool empty() const noexcept { return units_.empty(); }
  std::size_t bytes() const noexcept { return units_.bytes() + texts_.bytes(); }

  /// The longest rule that fits the start of text, as sentencepiece applies them.
  std::optional<Match> longest(std::string_view text) const noexcept { return search(text, false); }
  /// The shortest one, as the tokenizers library does.
  std::optional<Match> shortest(std::string_view text) const noexcept { return search(text, true); }

 private:
  // A unit: bits 0-7 and 31 the label (bit 31 marks a value), bit 8 whether a value hangs below, bits 10-30 the offset
  // to the children, times 256 if bit 9 is set. A value unit holds its 31 bits.
  static std::uint32_t offset_of(std::uint32_t unit) noexcept { return unit >> 10 << ((unit >> 9 & 1u) * 8); }

  std::optional<Match> search(std::string_view text, bool first) const noexcept {
    std::optional<Match> found;
    if (units_.empty()) return found;
    std::size_t node = offset_of(units_[0]);
    for (std::size_t i = 0; i < std::min(text.size(), max_key); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      node ^= byte;
      if (node >= units_.size()) break;
      const std::uint32_t unit = units_[node];
      if ((unit & 0x800000FFu) != byte) break;
      node ^= offset_of(unit);
      if (node >= units_.size()) break;
      if ((unit >> 8 & 1u) == 0) continue;
      const std::size_t at = units_[node] & 0x7FFFFFFFu;
      if (at >= texts_.size()) break;
      found = Match{i + 1, std::string_view(texts_.data() + at)};  // create() saw the final zero byte
      if (first) break;
    }
    return found;
  }

  FlatArray<std::uint32_t> units_;
  FlatArray<char> texts_;
};

}  // namespace tmodel::inline v0::tokenization
