#pragma once
// What a tokenizer is made of, and the path of a text through it. tokenizer_json.hpp and tokenizer_gguf.hpp fill one;
// tokenizer.hpp is its public face.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/added_tokens.hpp"
#include "tmodel/text/bpe.hpp"
#include "tmodel/text/decoder.hpp"
#include "tmodel/text/normalizer.hpp"
#include "tmodel/text/pretokenizer.hpp"
#include "tmodel/text/unigram.hpp"

namespace tmodel::inline v0::tokenization {

/// Texts of tokens that end an answer in the known chat formats; a GGUF file carries at most three end ids.
inline constexpr std::string_view end_texts[] = {"<|eot_id|>",
                                                 "<|im_end|>",
                                                 "<|end|>",
                                                 "<end_of_turn>",
                                                 "<|endoftext|>",
                                                 "<|eom_id|>",
                                                 "<|end_of_text|>",
                                                 "<\xEF\xBD\x9C"
                                                 "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                                                 "<EOT>",
                                                 "</s>"};

struct TokenizerParts {
  Vocabulary vocabulary;
  Bpe bpe;
  std::optional<Unigram> unigram;  ///< in place of bpe
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool pieces_are_mapped = false;  ///< pieces leave the pre-tokeniser in the byte alphabet
  std::vector<AddedToken> added;   ///< in the order of the file
  AddedTokens raw_pass;            ///< matched in the text as it comes
  AddedTokens normalized_pass;     ///< matched in what the first pass leaves, normalised
  std::vector<token_t> prefix;     ///< special tokens around a text
  std::vector<token_t> suffix;
  Decoder decoder;
  token_t bos = -1, eos = -1;
  std::vector<token_t> ends;  ///< sorted

  /// Id of a token of the model's own vocabulary by its text as files write it, or -1.
  token_t find_in_model(std::string_view text, std::string& scratch) const {
    if (!bpe.byte_level) return vocabulary.find(text);
    scratch.clear();
    return append_unmapped(scratch, text) ? vocabulary.find(scratch) : vocabulary.find(text, true);
  }
  /// The same, added tokens first.
  token_t find(std::string_view text) const {
    for (const AddedToken& token : added)
      if (token.content == text) return token.id;
    std::string scratch;
    return valid_prefix(text) == text.size() ? find_in_model(text, scratch) : -1;
  }
  /// Text of a token as files write it; empty if there is none.
  std::string text_of(token_t id) const {
    for (const AddedToken& token : added)
      if (token.id == id) return token.content;
    const std::string_view text = vocabulary.text(id);
    if (!bpe.byte_level || (vocabulary.flags(id) & (token_in_model | token_literal)) != token_in_model)
      return std::string(text);
    std::string mapped;
    append_mapped(mapped, text);
    return mapped;
  }

  /// Sets `ends` to eos, the given ids and the known texts. Call last.
  void collect_ends(std::span<const token_t> more) {
    const auto put = [&](token_t id) {
      if (vocabulary.has(id)) ends.push_back(id);
    };
    put(eos);
    for (const token_t id : more) put(id);
    for (const AddedToken& token : added)
      for (const std::string_view text : end_texts)
        if (token.content == text && (text != "</s>" || token.special)) put(token.id);
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  }

  /// Builds both passes from `added`; a normalised token is matched by its normalised content.
  expected<void> build_passes(AddedTokens::Order order) {
    std::vector<AddedToken> raw, normalized;
    RegexScratch scratch;
    // Of tokens with equal normalised contents the reference matches any, by the order of a hash map; here it is the
    // first of the file, special ones before others.
    std::vector<AddedToken> ordered = added;
    std::stable_partition(ordered.begin(), ordered.end(), [](const AddedToken& token) { return token.special; });
    for (AddedToken& token : ordered) {
      if (!token.normalized) {
        raw.push_back(token);
        continue;
      }
      bool cut = false;
      std::string content;
      TMODEL_CHECK(normalizer.apply(token.content, content, scratch, cut));
      token.content = content;
      normalized.push_back(token);
    }
    TMODEL_TRY(raw_pass, AddedTokens::build(raw, order));
    TMODEL_TRY(normalized_pass, AddedTokens::build(normalized, order));
    return {};
  }

  std::size_t memory_bytes() const noexcept {
    std::size_t bytes = vocabulary.bytes() + bpe.bytes() + (unigram ? unigram->bytes() : 0) +
                        normalizer.memory_bytes() + pre_tokenizer.memory_bytes() + raw_pass.bytes() +
                        normalized_pass.bytes() + added.capacity() * sizeof(AddedToken) +
                        (prefix.capacity() + suffix.capacity() + ends.capacity()) * sizeof(token_t);
    const std::size_t inside = std::string().capacity();  // shorter contents live in the string object itself
    for (const AddedToken& token : added)
      if (token.content.capacity() > inside) bytes += token.content.capacity() + 1;
    return bytes;
  }

  /// Appends the tokens of text, without prefix and suffix. Invalid UTF-8 is read as U+FFFD.
  /// Errors: bad_argument (over 2^31 - 1 bytes, a regular expression gave up), bad_metadata (see Bpe::encode).
  expected<void> encode(std::string_view text, const SpecialRule& rule, std::vector<token_t>& out) const {
    if (text.size() > 0x7FFFFFFFu) return fail(Errc::bad_argument, "text is longer than 2^31 - 1 bytes");
    std::string repaired;
    if (valid_prefix(text) != text.size()) {
      if (!rule.plain.empty()) return fail(Errc::bad_argument, "text with plain ranges is not UTF-8");
      append_lossy(repaired, text);
      text = repaired;
    }
    Scratch scratch;
    std::vector<Segment> segments;
    raw_pass.split(text, rule, segments);
    for (const Segment& segment : segments) {
      if (segment.id >= 0)
        out.push_back(segment.id);
      else
        TMODEL_CHECK(encode_segment(text, segment, rule, scratch, out));
    }
    return {};
  }

 private:
  struct Scratch {
    std::string normalized, unmapped;
    std::vector<Segment> segments;
    std::vector<Range> plain;
    PreTokenizerScratch pre_tokenizer;
    BpeScratch bpe;
    UnigramScratch unigram;
  };

  expected<void> encode_segment(std::string_view whole, const Segment& segment, const SpecialRule& rule,
                                Scratch& scratch, std::vector<token_t>& out) const {
    std::string_view text = whole.substr(segment.begin, segment.end - segment.begin);
    bool front_cut = false;
    if (!normalizer.empty()) {
      TMODEL_CHECK(normalizer.apply(text, scratch.normalized, scratch.pre_tokenizer.regex, front_cut));
      text = scratch.normalized;
    }
    const bool at_start = segment.begin == 0 && !front_cut;
    if (normalized_pass.empty()) return encode_text(text, at_start, scratch, out);
    SpecialRule inner{rule.everywhere, {}};
    scratch.plain.clear();
    for (const Range& range : rule.plain) {
      if (range.end <= segment.begin || range.begin >= segment.end) continue;
      // Normalising moves bytes, so that a range is no longer known: then nothing special is recognised here.
      if (!normalizer.empty()) inner.everywhere = false;
      scratch.plain.push_back(
          {std::max(range.begin, segment.begin) - segment.begin, std::min(range.end, segment.end) - segment.begin});
    }
    inner.plain = scratch.plain;
    scratch.segments.clear();
    normalized_pass.split(text, inner, scratch.segments);
    for (const Segment& part : scratch.segments) {
      if (part.id >= 0)
        out.push_back(part.id);
      else
        TMODEL_CHECK(
            encode_text(text.substr(part.begin, part.end - part.begin), at_start && part.begin == 0, scratch, out));
    }
    return {};
  }

  expected<void> encode_text(std::string_view text, bool at_start, Scratch& scratch, std::vector<token_t>& out) const {
    return pre_tokenizer.run(text, at_start, scratch.pre_tokenizer, [&](std::string_view piece) -> expected<void> {
      if (pieces_are_mapped) {
        scratch.unmapped.clear();
        append_unmapped(scratch.unmapped, piece);
        piece = scratch.unmapped;
      }
      return unigram ? unigram->encode(piece, scratch.unigram, out) : bpe.encode(vocabulary, piece, scratch.bpe, out);
    });
  }
};

}  // namespace tmodel::inline v0::tokenization
