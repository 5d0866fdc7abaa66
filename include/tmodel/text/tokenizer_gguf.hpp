#pragma once
// Reads the tokenizer of a GGUF file: the tokenizer.ggml.* keys, models "gpt2" and "llama".
// Facts: llama.cpp's vocabulary loader and its converter.

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/metadata.hpp"
#include "tmodel/text/gguf_pretokenizers.hpp"
#include "tmodel/text/regex_syntax.hpp"
#include "tmodel/text/tokenizer_parts.hpp"

namespace tmodel::inline v0::tokenization {

namespace detail {

/// tokenizer.ggml.token_type.
enum class GgufTokenType : int { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// Reads the keys of one file.
class GgufTokenizerReader {
 public:
  explicit GgufTokenizerReader(const Metadata& metadata) : metadata_(metadata) {}

  expected<TokenizerParts> run() {
    const auto model = metadata_.string("tokenizer.ggml.model");
    if (!model) return bad("tokenizer.ggml.model", "the file has no tokenizer");
    if (*model != "gpt2" && *model != "llama")
      return fail(Errc::unsupported, "tokenizer model is not supported", where("tokenizer.ggml.model"), "gpt2 or llama",
                  *model);
    parts_.bpe.byte_level = *model == "gpt2";
    TMODEL_CHECK(read_arrays());
    TMODEL_CHECK(parts_.bpe.byte_level ? read_byte_level() : read_sentencepiece());
    TMODEL_CHECK(read_special());
    parts_.bpe.finish(parts_.vocabulary);
    TMODEL_CHECK(parts_.build_passes(AddedTokens::Order::longest_first));
    std::vector<token_t> ends;
    for (const std::string_view key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
      ends.push_back(id_of(key, -1));
    parts_.collect_ends(ends);
    TMODEL_CHECK(parts_.vocabulary.shrink());
    return std::move(parts_);
  }

 private:
  std::string where(std::string_view key) const { return metadata_.where + ": " + std::string(key); }
  tl::unexpected<Error> bad(std::string_view key, std::string_view what, std::string_view got = {}) const {
    return fail(Errc::bad_metadata, what, where(key), {}, got);
  }

  expected<void> read_arrays() {
    tokens_ = metadata_.array("tokenizer.ggml.tokens");
    types_ = metadata_.array("tokenizer.ggml.token_type");
    scores_ = metadata_.array("tokenizer.ggml.scores");
    if (tokens_ == nullptr || tokens_->type != MetaType::string || tokens_->count == 0)
      return bad("tokenizer.ggml.tokens", "the list of tokens is missing or not a list of texts");
    // Each text takes at least the eight bytes of its length, so that the count is in proportion to the file.
    if (tokens_->count > tokens_->raw.size() / 8 || tokens_->count > 0x7FFFFFF0u)
      return bad("tokenizer.ggml.tokens", "more tokens than bytes");
    if (types_ != nullptr &&
        (types_->count != tokens_->count || (types_->type != MetaType::i32 && types_->type != MetaType::u32)))
      return bad("tokenizer.ggml.token_type", "not one integer a token");
    if (scores_ != nullptr && (scores_->count != tokens_->count || scores_->type != MetaType::f32))
      return bad("tokenizer.ggml.scores", "not one f32 a token");
    return parts_.vocabulary.reserve(tokens_->count, tokens_->raw.size() - 8 * tokens_->count);
  }

  /// Calls fn(id, text, type) for every token; fn returns expected<void>.
  template <class Fn>
  expected<void> for_each_token(Fn&& fn) const {
    MetaReader texts(*tokens_);
    MetaReader types = types_ != nullptr ? MetaReader(*types_) : MetaReader(MetaArray{});
    for (token_t id = 0; !texts.done(); ++id) {
      const std::string_view text = texts.string();
      TMODEL_CHECK(
          fn(id, text,
             types_ != nullptr ? static_cast<GgufTokenType>(static_cast<int>(types.number())) : GgufTokenType::normal));
    }
    return {};
  }

  /// Control, unknown and user-defined tokens are matched in the text; the first two only where special tokens are.
  void note_added(token_t id, std::string_view text, GgufTokenType type) {
    if (text.empty() ||
        (type != GgufTokenType::control && type != GgufTokenType::unknown && type != GgufTokenType::user_defined))
      return;
    AddedToken token;
    append_lossy(token.content, text);
    token.id = id;
    token.special = type != GgufTokenType::user_defined;
    parts_.added.push_back(std::move(token));
  }
  static std::uint32_t flags_of(GgufTokenType type) noexcept {
    switch (type) {
      case GgufTokenType::control:
      case GgufTokenType::unknown:
        return token_exists | token_added | token_special;
      case GgufTokenType::user_defined:
        return token_exists | token_added;
      default:
        return token_exists;
    }
  }

  expected<void> read_byte_level() {
    const std::string_view pre = metadata_.string("tokenizer.ggml.pre").value_or("default");
    const GgufPreTokenizer* known = find_gguf_pretokenizer(pre);
    if (known == nullptr)
      return fail(Errc::unsupported, "pre-tokenizer is not known", where("tokenizer.ggml.pre"), {}, pre);
    for (const std::string_view expression : known->expressions) {
      if (expression.empty()) break;
      TMODEL_TRY(const std::string pattern, translate_regex(expression, pre));
      PreTokenizerStep step;
      TMODEL_TRY(step.regex, Regex::compile(pattern, pre));
      parts_.pre_tokenizer.steps.push_back(std::move(step));
    }
    if (known->nfc) parts_.normalizer.steps.emplace_back();
    parts_.bpe.ignore_merges = known->ignore_merges;
    adds_bos_ = known->add_bos;
    parts_.decoder.kind = Decoder::Kind::byte_level;
    parts_.bpe.byte_tokens.fill(-1);

    std::string unmapped;
    TMODEL_CHECK(for_each_token([&](token_t id, std::string_view text, GgufTokenType type) -> expected<void> {
      std::uint32_t flags = flags_of(type);
      note_added(id, text, type);
      if (type == GgufTokenType::unused) return parts_.vocabulary.add(text, text, flags);
      unmapped.clear();
      const bool mapped = valid_prefix(text) == text.size() && append_unmapped(unmapped, text);
      const std::string_view bytes = mapped ? std::string_view(unmapped) : text;
      flags |= token_in_model | (mapped ? 0u : static_cast<std::uint32_t>(token_literal));
      if (type == GgufTokenType::normal) return parts_.vocabulary.add(bytes, bytes, flags | token_plain);
      return parts_.vocabulary.add(bytes, text, flags);
    }));
    TMODEL_CHECK(parts_.vocabulary.build_index());
    return read_merges();
  }

  expected<void> read_merges() {
    const MetaArray* merges = metadata_.array("tokenizer.ggml.merges");
    if (merges == nullptr || merges->type != MetaType::string || merges->count > merges->raw.size() / 8)
      return bad("tokenizer.ggml.merges", "the list of merges is missing or not a list of texts");
    TMODEL_TRY(parts_.bpe.merges, PairTable::allocate(static_cast<std::size_t>(merges->count)));
    std::string joined, scratch;
    std::uint32_t rank = 0;
    for (MetaReader reader(*merges); !reader.done();) {
      const std::string_view text = reader.string();
      const std::size_t space = text.find(' ', 1);  // a space at 0 would belong to the first part
      if (space == std::string_view::npos)
        return bad("tokenizer.ggml.merges", "merge is not two tokens with a space in between", text);
      if (valid_prefix(text) != text.size()) return bad("tokenizer.ggml.merges", "merge is not UTF-8", text);
      joined.assign(text.substr(0, space)).append(text.substr(space + 1));
      const token_t left = parts_.find_in_model(text.substr(0, space), scratch);
      const token_t right = parts_.find_in_model(text.substr(space + 1), scratch);
      const token_t whole = parts_.find_in_model(joined, scratch);
      if (left < 0 || right < 0 || whole < 0)
        return bad("tokenizer.ggml.merges", "merge names a token that is not in the vocabulary", text);
      TMODEL_CHECK(parts_.bpe.merges.insert(left, right, {rank++, whole}));
    }
    return {};
  }

  expected<void> read_sentencepiece() {
    for (const std::string_view key :
         {"tokenizer.ggml.remove_extra_whitespaces", "tokenizer.ggml.precompiled_charsmap"})
      if (metadata_.has(key) && metadata_.boolean(key).value_or(true))
        return fail(Errc::unsupported, "normalisation of a SentencePiece model is not supported", where(key));
    if (scores_ == nullptr) return bad("tokenizer.ggml.scores", "a SentencePiece vocabulary needs scores");
    Bpe& bpe = parts_.bpe;
    bpe.by_score = bpe.byte_fallback = true;
    adds_bos_ = true;
    if (metadata_.boolean("tokenizer.ggml.add_space_prefix").value_or(true)) {
      NormalizerStep prepend;
      prepend.kind = NormalizerStep::Kind::prepend;
      prepend.content = space_mark;
      parts_.normalizer.steps.push_back(std::move(prepend));
      parts_.decoder.strip_count = 1;
    }
    NormalizerStep replace;
    replace.kind = NormalizerStep::Kind::replace_text;
    replace.pattern = " ";
    replace.content = space_mark;
    parts_.normalizer.steps.push_back(std::move(replace));
    parts_.decoder.kind = Decoder::Kind::fused;
    bpe.byte_tokens.fill(-1);

    std::string piece;
    TMODEL_CHECK(for_each_token([&](token_t id, std::string_view text, GgufTokenType type) -> expected<void> {
      std::uint32_t flags = flags_of(type);
      note_added(id, text, type);
      piece.clear();
      if (type == GgufTokenType::byte) {
        const int byte = byte_of_token(text);
        if (byte < 0) return bad("tokenizer.ggml.tokens", "byte token is not <0xHH>", text);
        bpe.byte_tokens[static_cast<std::size_t>(byte)] = id;
        piece = static_cast<char>(static_cast<unsigned char>(byte));
        return parts_.vocabulary.add(text, piece, flags | token_byte);
      }
      append_lossy(piece, text);
      if (type == GgufTokenType::normal) {
        flags |= token_in_model;
        for (std::size_t at = 0; (at = piece.find(space_mark, at)) != std::string::npos; ++at)
          piece.replace(at, space_mark.size(), " ");
      }
      return parts_.vocabulary.add(text, piece, flags);
    }));
    TMODEL_CHECK(parts_.vocabulary.build_index());
    return rank_scores();
  }

  /// Merging needs the order of the scores only.
  expected<void> rank_scores() {
    struct Scored {
      f32 score;
      token_t id;
    };
    const auto n = static_cast<std::size_t>(parts_.vocabulary.size());
    TMODEL_TRY(auto order, FlatArray<Scored>::allocate(n));
    MetaReader reader(*scores_);
    for (std::size_t id = 0; id < n; ++id) {
      order[id] = {static_cast<f32>(reader.number()), static_cast<token_t>(id)};
      if (std::isnan(order[id].score)) return bad("tokenizer.ggml.scores", "a score is not a number");
    }
    std::sort(order.data(), order.data() + n, [](const Scored& a, const Scored& b) { return a.score > b.score; });
    TMODEL_TRY(parts_.bpe.priority, FlatArray<std::uint32_t>::allocate(n));
    std::uint32_t place = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i > 0 && order[i].score != order[i - 1].score) ++place;
      parts_.bpe.priority[static_cast<std::size_t>(order[i].id)] = place;
    }
    return {};
  }

  /// Id under a key; `otherwise` if the key is missing; -1 if there is no such token.
  token_t id_of(std::string_view key, token_t otherwise) const {
    const std::int64_t id = metadata_.integer(key).value_or(otherwise);
    return id >= 0 && id < parts_.vocabulary.size() ? static_cast<token_t>(id) : -1;
  }

  expected<void> read_special() {
    const bool byte_level = parts_.bpe.byte_level;
    // 11 is Falcon's end of text, from before GGUF files said so; elsewhere it is an ordinary token.
    const token_t legacy = (parts_.vocabulary.flags(11) & token_special) != 0 ? 11 : -1;
    parts_.bos = id_of("tokenizer.ggml.bos_token_id", byte_level ? legacy : 1);
    parts_.eos = id_of("tokenizer.ggml.eos_token_id", byte_level ? legacy : 2);
    if (!byte_level) parts_.bpe.unknown = id_of("tokenizer.ggml.unknown_token_id", 0);
    const bool adds_bos = metadata_.boolean("tokenizer.ggml.add_bos_token").value_or(adds_bos_);
    if (adds_bos && parts_.bos < 0)
      return bad("tokenizer.ggml.bos_token_id", "the file adds a BOS token that does not exist");
    if (adds_bos) parts_.prefix.push_back(parts_.bos);
    const bool adds_eos = metadata_.boolean("tokenizer.ggml.add_eos_token").value_or(false);
    if (adds_eos && parts_.eos < 0)
      return bad("tokenizer.ggml.eos_token_id", "the file adds an EOS token that does not exist");
    if (adds_eos) parts_.suffix.push_back(parts_.eos);
    strip_behind_phi3();
    return {};
  }

  /// GGUF files do not carry rstrip; llama.cpp goes by the model's name, and so must equal ids.
  void strip_behind_phi3() {
    std::string name(metadata_.string("general.name").value_or(""));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos) return;
    for (AddedToken& token : parts_.added)
      token.rstrip = token.content != "<unk>" && token.content != "<s>" && token.content != "<|endoftext|>";
  }

  const Metadata& metadata_;
  TokenizerParts parts_;
  const MetaArray* tokens_ = nullptr;
  const MetaArray* types_ = nullptr;
  const MetaArray* scores_ = nullptr;
  bool adds_bos_ = false;
};
}  // namespace detail

/// See Tokenizer::from_gguf.
inline expected<TokenizerParts> read_tokenizer_gguf(const Metadata& metadata) {
  return detail::GgufTokenizerReader(metadata).run();
}

}  // namespace tmodel::inline v0::tokenization
