#pragma once
// How SentencePiece prepares a text before it cuts it: characters replaced by the charsmap, blanks made U+2581, one put
// in front, runs of blanks reduced. Semantics: sentencepiece's normalizer (NormalizerSpec of a tokenizer.model).

#include <string>
#include <string_view>

#include "tmodel/text/byte_trie.hpp"
#include "tmodel/text/charsmap.hpp"
#include "tmodel/text/unicode.hpp"

namespace tmodel::inline v0::tokenization {

inline constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581, SentencePiece's space

struct SentencePieceRules {
  Charsmap charsmap;
  ByteTrie user_defined;  ///< symbols that are taken as they are
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;

  std::size_t bytes() const noexcept { return charsmap.bytes() + user_defined.bytes(); }

  /// Replaces out by the prepared form of in (valid UTF-8).
  void apply(std::string_view in, std::string& out) const {
    out.clear();
    while (remove_extra_whitespaces && !in.empty()) {
      const Charsmap::Match first = next(in);
      if (first.replacement != " ") break;
      in.remove_prefix(first.length);
    }
    if (in.empty()) return;
    if (add_dummy_prefix) out += space_mark;
    bool behind_space = remove_extra_whitespaces;
    while (!in.empty()) {
      Charsmap::Match part = next(in);
      while (behind_space && part.replacement.starts_with(' ')) part.replacement.remove_prefix(1);
      for (const char c : part.replacement) c == ' ' ? out += space_mark : out += c;
      if (!part.replacement.empty()) behind_space = part.replacement.ends_with(' ');
      if (!remove_extra_whitespaces) behind_space = false;
      in.remove_prefix(part.length);
    }
    while (remove_extra_whitespaces && out.ends_with(space_mark)) out.resize(out.size() - space_mark.size());
  }

 private:
  Charsmap::Match next(std::string_view in) const {
    std::uint32_t unused = 0;
    if (const std::size_t symbol = user_defined.longest(in, unused)) return {symbol, in.substr(0, symbol)};
    if (const auto rule = charsmap.longest(in)) return *rule;
    const std::size_t one = utf8_length_of(in[0]);
    return {one, in.substr(0, one)};
  }
};

}  // namespace tmodel::inline v0::tokenization
