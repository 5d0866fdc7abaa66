#pragma once
// From tokens back to text, all at once. stream_decoder.hpp does the same token by token.
// Semantics: the tokenizers library's decoders; what they do to a single token is already in the vocabulary's pieces.

#include <span>
#include <string>
#include <string_view>

#include "tmodel/text/sentencepiece_rules.hpp"
#include "tmodel/text/unicode.hpp"
#include "tmodel/text/vocabulary.hpp"

namespace tmodel::inline v0::tokenization {

struct Decoder {
  enum class Kind : std::uint8_t {
    byte_level,  ///< pieces are bytes; invalid UTF-8 of the whole becomes U+FFFD
    fused,       ///< pieces are text; a run of byte tokens that is not UTF-8 becomes one U+FFFD a byte
    metaspace,   ///< pieces are text; the marks of the first one are dropped
    joined,      ///< no decoder in the file: pieces with a space in between
  };
  Kind kind = Kind::joined;
  std::string mark;  ///< metaspace: what the pieces have as a space
  bool drops_first_marks = false;
  char32_t strip = U' ';           ///< fused: this character is dropped at the start of the whole text,
  std::uint32_t strip_count = 0;   ///< at most this often
  bool trims_first_marks = false;  ///< fused: until there is text, each piece loses one mark of a space in front

  /// What a token adds that is no byte of a run. at_start: nothing was there before it.
  std::string_view shown(const Vocabulary& vocabulary, token_t id, bool at_start) const noexcept {
    const std::string_view piece = vocabulary.piece(id);
    return trims_first_marks && at_start && vocabulary.text(id).starts_with(space_mark) ? piece.substr(1) : piece;
  }

  /// Text of tokens; ids that do not exist are left out.
  std::string decode(const Vocabulary& vocabulary, std::span<const token_t> tokens, bool skip_special) const {
    std::string out, bytes;
    bool first = true;
    const auto end_bytes = [&] {
      if (valid_prefix(bytes) == bytes.size())
        out += bytes;
      else
        for (std::size_t i = 0; i < bytes.size(); ++i) out += replacement_text;
      bytes.clear();
    };
    for (const token_t id : tokens) {
      const std::uint32_t flags = vocabulary.flags(id);
      if ((flags & token_exists) == 0 || (skip_special && (flags & token_special) != 0)) continue;
      const std::string_view piece = vocabulary.piece(id);
      if (kind == Kind::byte_level || (flags & token_byte) != 0) {
        bytes += piece;
      } else if (kind == Kind::metaspace && first && drops_first_marks) {
        append_without(out, vocabulary.text(id), mark);
      } else {
        if (kind == Kind::fused) end_bytes();
        if (kind == Kind::joined && !first) out += ' ';
        out += shown(vocabulary, id, out.empty());
      }
      first = false;
    }
    if (kind == Kind::byte_level)
      append_lossy(out, bytes);
    else
      end_bytes();
    std::size_t cut = 0;
    for (std::uint32_t n = 0; n < strip_count && cut < out.size(); ++n) {
      if (decode_utf8(std::string_view(out).substr(cut)) != strip) break;
      cut += utf8_length_of(out[cut]);
    }
    out.erase(0, cut);
    return out;
  }

  static void append_without(std::string& out, std::string_view text, std::string_view mark) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t found = std::min(text.find(mark, at), text.size());
      out += text.substr(at, found - at);
      at = found + mark.size();
    }
  }
};

}  // namespace tmodel::inline v0::tokenization
