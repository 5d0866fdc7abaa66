#pragma once
// What generate() asks of a tokenizer and of a sampler: any type with these calls serves.

#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"
#include "tmodel/text/philox.hpp"
#include "tmodel/text/range.hpp"

namespace tmodel::inline v0 {

namespace tokenization {
struct TokenizerParts;
}

struct EncodeOptions {
  bool add_special = true;    ///< BOS and EOS around the text, as the file says
  bool parse_special = true;  ///< special-token text inside the text becomes the token; false: it is plain text
  /// Parts of the text (byte ranges, sorted, disjoint) in which special tokens are not recognised: what a user wrote,
  /// inside a prompt that a template made. The text must be UTF-8 then.
  std::span<const Range> plain{};
};

/// Text to ids and back, from const calls that any thread may make. Semantics: Tokenizer (text/tokenizer.hpp).
template <class T>
concept TextTokenizer = requires(const T t, std::string_view text, std::span<const token_t> ids, token_t id) {
  { t.encode(text, EncodeOptions{}) } -> std::same_as<expected<std::vector<token_t>>>;
  { t.decode(ids, true) } -> std::same_as<expected<std::string>>;
  { t.piece(id) } -> std::convertible_to<std::string_view>;
  { t.is_special(id) } -> std::same_as<bool>;
  { t.is_end(id) } -> std::same_as<bool>;
  { t.vocab_size() } -> std::same_as<int>;
  { t.parts() } -> std::same_as<const tokenization::TokenizerParts&>;  // pieces and flags, which StreamDecoder reads
};

/// Chooses the next token; may overwrite the logits [V]. The same key gives the same choice.
template <class S>
concept TokenSampler = requires(S s, std::span<f32> logits, std::span<const token_t> history, const DrawKey& key) {
  { s(logits, history, key) } -> std::same_as<token_t>;
};

}  // namespace tmodel::inline v0
