#pragma once
// The tokens of a vocabulary: one pool of characters, one row a token, one open-addressing table from text to id.
// Own design: no string objects, built once, read by many threads.

#include <string_view>

#include "tmodel/text/flat_array.hpp"

namespace tmodel::inline v0::tokenization {

/// Mixes bytes into 64 bits; same on every machine of the same byte order.
inline std::uint64_t hash_bytes(std::string_view s) noexcept {
  constexpr std::uint64_t factor = 0x9E3779B97F4A7C15u;
  std::uint64_t h = factor ^ s.size();
  const auto mix = [&](std::uint64_t word) {
    h = (h ^ word) * factor;
    h ^= h >> 29;
  };
  const char* p = s.data();
  std::size_t n = s.size();
  for (; n >= 8; p += 8, n -= 8) mix(load_unaligned<std::uint64_t>(p));
  std::uint64_t tail = 0;
  if (n >= 4) {
    tail =
        static_cast<std::uint64_t>(load_unaligned<std::uint32_t>(p)) << 32 | load_unaligned<std::uint32_t>(p + n - 4);
  } else if (n > 0) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])); };
    tail = byte(0) << 16 | byte(n / 2) << 8 | byte(n - 1);
  }
  mix(tail);
  return h * factor ^ h >> 32;
}

/// Longest run of occupied slots that a table of ours may have: a file built to collide is refused, not searched.
inline constexpr std::size_t max_probe = 4096;

/// Smallest power of two that keeps a table of n entries at most half full.
constexpr std::size_t table_size(std::size_t n) noexcept {
  std::size_t size = 16;
  while (size < 2 * n) size *= 2;
  return size;
}

/// What a token is.
enum TokenFlags : std::uint32_t {
  token_exists = 1,    ///< the file names it
  token_in_model = 2,  ///< part of the model's own vocabulary: find() and merging see it
  token_literal = 4,   ///< byte-level vocabularies: the text has characters outside the byte alphabet
  token_special = 8,   ///< left out when special tokens are skipped
  token_byte = 16,     ///< decoded as a byte of a run of bytes (byte fallback)
  token_added = 32,    ///< matched in the text before the model sees it
  token_whole = 64,    ///< encoding its own text gives this one token
  token_plain = 128,   ///< may stand for a whole piece of ordinary text (ignore_merges)
  token_unused = 256,  ///< merging passes through it, but it is never given out
};

class Vocabulary {
 public:
  /// Room for what the file says will come. Errors: out_of_memory.
  expected<void> reserve(std::size_t tokens, std::size_t text_bytes) {
    TMODEL_CHECK(pool_.reserve(text_bytes));
    return tokens_.reserve(tokens);
  }

  /// Appends the next id. text: what encoding compares (raw bytes for byte-level models); piece: what decoding gives.
  /// Errors: bad_file (over 4 GiB), out_of_memory.
  expected<void> add(std::string_view text, std::string_view piece, std::uint32_t flags) {
    if (pool_.size() + text.size() + piece.size() > 0xFFFFFFFFu || tokens_.size() >= 0x7FFFFFF0u)
      return fail(Errc::bad_file, "vocabulary is larger than 4 GiB");
    Token token;
    token.text = token.piece = static_cast<std::uint32_t>(pool_.size());
    token.text_length = static_cast<std::uint32_t>(text.size());
    token.piece_length = static_cast<std::uint32_t>(piece.size());
    token.flags = flags;
    TMODEL_CHECK(pool_.append({text.data(), text.size()}));
    if (piece != text) {
      token.piece = static_cast<std::uint32_t>(pool_.size());
      TMODEL_CHECK(pool_.append({piece.data(), piece.size()}));
    }
    longest_piece_ = std::max(longest_piece_, piece.size());
    return tokens_.push_back(token);
  }

  /// Gives an id another piece. Errors: bad_file (over 4 GiB), out_of_memory.
  expected<void> set_piece(token_t id, std::string_view piece) {
    if (pool_.size() + piece.size() > 0xFFFFFFFFu) return fail(Errc::bad_file, "vocabulary is larger than 4 GiB");
    Token& token = tokens_[static_cast<std::size_t>(id)];
    token.piece = static_cast<std::uint32_t>(pool_.size());
    token.piece_length = static_cast<std::uint32_t>(piece.size());
    longest_piece_ = std::max(longest_piece_, piece.size());
    return pool_.append({piece.data(), piece.size()});
  }

  /// Gives an id that has no text yet its text, which is also its piece. Errors: as set_piece.
  expected<void> replace(token_t id, std::string_view text, std::uint32_t flags) {
    TMODEL_CHECK(set_piece(id, text));
    Token& token = tokens_[static_cast<std::size_t>(id)];
    token.text = token.piece, token.text_length = token.piece_length, token.flags = flags;
    return {};
  }

  /// Makes find() work. Of two equal texts the higher id wins. Call once, after the last in_model token.
  /// Errors: bad_file (texts that collide on purpose), out_of_memory.
  expected<void> build_index() {
    std::size_t n = 0;
    for (const Token& token : tokens_.span()) n += (token.flags & token_in_model) != 0;
    TMODEL_TRY(index_, FlatArray<std::uint64_t>::allocate(table_size(n)));
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      if ((tokens_[id].flags & token_in_model) == 0) continue;
      const std::string_view key = text(static_cast<token_t>(id));
      longest_text_ = std::max(longest_text_, key.size());
      const std::uint64_t hash = hash_bytes(key);
      std::size_t slot = hash & (index_.size() - 1);
      for (std::size_t probes = 0;; slot = (slot + 1) & (index_.size() - 1)) {
        if (index_[slot] == 0 || matches(index_[slot], hash, key, (tokens_[id].flags & token_literal) != 0)) break;
        if (++probes > max_probe) return fail(Errc::bad_file, "vocabulary was made to collide in a hash table");
      }
      index_[slot] = (hash & ~std::uint64_t{0xFFFFFFFFu}) | (id + 1);
    }
    return {};
  }

  expected<void> shrink() {
    TMODEL_CHECK(pool_.shrink());
    return tokens_.shrink();
  }

  /// Id of a text of the model's vocabulary, or -1. literal: see token_literal.
  token_t find(std::string_view key, bool literal = false) const noexcept {
    if (key.size() > longest_text_ || index_.empty()) return -1;
    const std::uint64_t hash = hash_bytes(key);
    for (std::size_t slot = hash & (index_.size() - 1); index_[slot] != 0; slot = (slot + 1) & (index_.size() - 1))
      if (matches(index_[slot], hash, key, literal)) return id_of(index_[slot]);
    return -1;
  }

  bool has(token_t id) const noexcept { return flags(id) != 0; }
  std::uint32_t flags(token_t id) const noexcept { return inside(id) ? at(id).flags : 0; }
  void set_flags(token_t id, std::uint32_t more) noexcept { tokens_[static_cast<std::size_t>(id)].flags |= more; }
  std::string_view text(token_t id) const noexcept {
    return inside(id) ? std::string_view(pool_.data() + at(id).text, at(id).text_length) : std::string_view();
  }
  std::string_view piece(token_t id) const noexcept {
    return inside(id) ? std::string_view(pool_.data() + at(id).piece, at(id).piece_length) : std::string_view();
  }
  int size() const noexcept { return static_cast<int>(tokens_.size()); }
  std::size_t longest_piece() const noexcept { return longest_piece_; }
  std::size_t bytes() const noexcept { return pool_.bytes() + tokens_.bytes() + index_.bytes(); }

 private:
  struct Token {
    std::uint32_t text = 0, text_length = 0, piece = 0, piece_length = 0, flags = 0;
  };
  static token_t id_of(std::uint64_t slot) noexcept { return static_cast<token_t>((slot & 0xFFFFFFFFu) - 1); }
  bool matches(std::uint64_t slot, std::uint64_t hash, std::string_view key, bool literal) const noexcept {
    return slot >> 32 == hash >> 32 && text(id_of(slot)) == key &&
           ((at(id_of(slot)).flags & token_literal) != 0) == literal;
  }
  bool inside(token_t id) const noexcept { return id >= 0 && static_cast<std::size_t>(id) < tokens_.size(); }
  const Token& at(token_t id) const noexcept { return tokens_[static_cast<std::size_t>(id)]; }

  FlatArray<char> pool_;
  FlatArray<Token> tokens_;
  FlatArray<std::uint64_t> index_;  ///< upper half of the hash, id + 1; 0: free
  std::size_t longest_piece_ = 0, longest_text_ = 0;
};

}  // namespace tmodel::inline v0::tokenization
