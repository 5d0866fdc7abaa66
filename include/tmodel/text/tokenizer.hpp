#pragma once
// Text to token ids and back, from tokenizer.json, a GGUF file's tokenizer.ggml.* keys, tokenizer.model or a tiktoken
// file. The ids equal the reference's (Hugging Face tokenizers 0.23; llama.cpp for GGUF; sentencepiece; tiktoken), or
// the file is refused by name.

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/metadata.hpp"
#include "tmodel/text/concepts.hpp"
#include "tmodel/text/tiktoken.hpp"
#include "tmodel/text/tokenizer_facts.hpp"
#include "tmodel/text/tokenizer_gguf.hpp"
#include "tmodel/text/tokenizer_json.hpp"

namespace tmodel::inline v0 {

/// Immutable once made; const calls may come from any thread, without locks.
class Tokenizer : public TokenizerFacts {
 public:
  /// tokenizer_config_json may be empty: then tokenizer.json alone decides, as in the tokenizers library; else it
  /// overrides as in transformers: added tokens' flags, bos and eos, and for LlamaTokenizer and its kin what is put
  /// around a text. Its clean_up_tokenization_spaces is not followed: decode() never drops spaces that were generated.
  /// `truncation` and `padding` of the file are not followed. where names the file in errors.
  /// Errors: bad_file, bad_metadata, unsupported (names the kind, step or regular expression), out_of_memory.
  static expected<Tokenizer> from_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                                       std::string_view where) {
    return make([&] { return tokenization::read_tokenizer_json(tokenizer_json, tokenizer_config_json, where); });
  }

  /// A SentencePiece model (tokenizer.model), BPE or unigram, read without the sentencepiece library and with its ids.
  /// Between special tokens each stretch of text is encoded as that library encodes it alone. The file does not say
  /// what stands around a text: BOS, unless tokenizer_config_json (may be empty) has add_bos_token or add_eos_token.
  /// Its added_tokens_decoder is followed too. Errors: bad_file, bad_metadata, unsupported, out_of_memory.
  static expected<Tokenizer> from_sentencepiece(std::string_view tokenizer_model,
                                                std::string_view tokenizer_config_json, std::string_view where) {
    return make([&] { return tokenization::read_tokenizer_model(tokenizer_model, tokenizer_config_json, where); });
  }

  /// A tiktoken rank file with the pattern and the special tokens of its model; copies what it needs.
  /// Errors: bad_file, bad_argument (options), unsupported (the pattern), out_of_memory.
  static expected<Tokenizer> from_tiktoken(std::string_view ranks, const TiktokenOptions& options,
                                           std::string_view where) {
    return make([&] { return tokenization::read_tiktoken(ranks, options, where); });
  }

  /// tokenizer.ggml.model "gpt2" (byte-level BPE), "llama" (SentencePiece BPE) or "t5" (unigram); copies what it needs.
  /// Errors: as from_json.
  static expected<Tokenizer> from_gguf(const Metadata& metadata) {
    return make([&] { return tokenization::read_tokenizer_gguf(metadata); });
  }

  /// Ids of text. Invalid UTF-8 is read as U+FFFD, one for each maximal invalid part (Python's errors="replace").
  /// Errors: bad_argument (text over 2^31 - 1 bytes, or a regular expression of the file gives up on it),
  /// out_of_memory.
  expected<std::vector<token_t>> encode(std::string_view text, EncodeOptions options = {}) const {
    std::vector<token_t> out;
    TMODEL_CHECK(encode(text, out, options));
    return out;
  }
  /// The same, appended to out; on an error out is as it was, up to capacity.
  expected<void> encode(std::string_view text, std::vector<token_t>& out, EncodeOptions options = {}) const {
    const std::size_t before = out.size();
    auto result = guard([&]() -> expected<void> {
      if (options.add_special) out.insert(out.end(), parts_.prefix.begin(), parts_.prefix.end());
      TMODEL_CHECK(parts_.encode(text, {options.parse_special, options.plain}, out));
      if (options.add_special) out.insert(out.end(), parts_.suffix.begin(), parts_.suffix.end());
      return {};
    });
    if (!result) out.resize(before);
    return result;
  }

  /// "byte-level BPE", "SentencePiece BPE", "BPE" or "unigram", for reports.
  std::string_view kind() const noexcept {
    return parts_.unigram             ? "unigram"
           : parts_.bpe.byte_level    ? "byte-level BPE"
           : parts_.bpe.byte_fallback ? "SentencePiece BPE"
                                      : "BPE";
  }
  /// Bytes of its tables: vocabulary, merges, tries, compiled expressions.
  std::size_t memory_bytes() const noexcept { return parts_.memory_bytes(); }

  /// Id of a token by its text as the file writes it ("<|im_end|>"); nullopt also when memory is short.
  std::optional<token_t> find(std::string_view token_text) const {
    const auto id = guard([&]() -> expected<token_t> { return parts_.find(token_text); });
    return id && *id >= 0 ? std::optional(*id) : std::nullopt;
  }
  /// Text of a token as the file writes it, for templates; empty if there is none. Errors: out_of_memory.
  expected<std::string> token_text(token_t id) const {
    return guard([&]() -> expected<std::string> { return parts_.text_of(id); });
  }

 private:
  Tokenizer() = default;
  template <class Read>
  static expected<Tokenizer> make(Read&& read) {
    return guard([&]() -> expected<Tokenizer> {
      Tokenizer tokenizer;
      TMODEL_TRY(tokenizer.parts_, read());
      return tokenizer;
    });
  }
};

static_assert(TextTokenizer<Tokenizer>);

}  // namespace tmodel::inline v0
