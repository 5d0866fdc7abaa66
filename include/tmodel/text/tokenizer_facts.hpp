#pragma once
// What every tokenizer answers about its tokens, whatever encodes the text: the calls of TextTokenizer besides
// encode().

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "tmodel/text/tokenizer_parts.hpp"

namespace tmodel::inline v0 {

class TokenizerFacts {
 public:
  /// Text of tokens as the reference decodes it; ids outside the vocabulary are left out. Errors: out_of_memory.
  expected<std::string> decode(std::span<const token_t> tokens, bool skip_special) const {
    return guard(
        [&]() -> expected<std::string> { return parts_.decoder.decode(parts_.vocabulary, tokens, skip_special); });
  }

  /// The bytes that a token stands for when decoded; may begin or end inside a character. Empty for unknown ids.
  std::string_view piece(token_t id) const noexcept { return parts_.vocabulary.piece(id); }
  bool is_special(token_t id) const noexcept {
    return (parts_.vocabulary.flags(id) & tokenization::token_special) != 0;
  }
  /// Whether generation ends with this token, as far as the tokenizer knows: eos, and the end tokens of chat formats.
  bool is_end(token_t id) const noexcept { return std::binary_search(parts_.ends.begin(), parts_.ends.end(), id); }
  std::span<const token_t> end_tokens() const noexcept { return parts_.ends; }
  token_t bos() const noexcept { return parts_.bos; }  ///< -1: none
  token_t eos() const noexcept { return parts_.eos; }  ///< -1: none
  /// Whether encode() puts the BOS token in front.
  bool adds_bos() const noexcept { return !parts_.prefix.empty() && parts_.prefix.front() == parts_.bos; }
  /// One more than the highest id.
  int vocab_size() const noexcept { return parts_.vocabulary.size(); }

  /// What StreamDecoder reads.
  const tokenization::TokenizerParts& parts() const noexcept { return parts_; }

 protected:
  TokenizerFacts() = default;
  tokenization::TokenizerParts parts_;
};

}  // namespace tmodel::inline v0
