#pragma once
// Reads the tokenizer of a GGUF file: the tokenizer.ggml.* keys, models "gpt2", "llama" and "t5" (unigram).
// Facts: llama.cpp's vocabulary loader and its converter.

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/metadata.hpp"
#include "tmodel/text/gguf_pretokenizers.hpp"
#include "tmodel/text/regex_syntax.hpp"
#include "tmodel/text/tokenizer_sentencepiece.hpp"

namespace tmodel::inline v0::tokenization {

namespace detail {

/// Reads the keys of one file.
class GgufTokenizerReader {
 public:
  explicit GgufTokenizerReader(const Metadata& metadata) : metadata_(metadata) {}

  expected<TokenizerParts> run() {
    const auto model = metadata_.string("tokenizer.ggml.model");
    if (!model) return bad("tokenizer.ggml.model", "the file has no tokenizer");
    if (*model != "gpt2" && *model != "llama" && *model != "t5")
      return fail(Errc::unsupported, "tokenizer model is not supported", where("tokenizer.ggml.model"),
                  "gpt2, llama or t5", *model);
    unigram_ = *model == "t5";
    parts_.bpe.byte_level = *model == "gpt2";
    TMODEL_CHECK(read_arrays());
    const bool whole_sentencepiece = unigram_ || (!parts_.bpe.byte_level && has_normalizer());
    TMODEL_CHECK(parts_.bpe.byte_level ? read_byte_level()
                 : whole_sentencepiece ? read_whole_sentencepiece(unigram_)
                                       : read_sentencepiece());
    TMODEL_CHECK(read_special());
    if (!whole_sentencepiece) parts_.bpe.finish(parts_.vocabulary);
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
      TMODEL_CHECK(fn(
          id, text, types_ != nullptr ? static_cast<PieceType>(static_cast<int>(types.number())) : PieceType::normal));
    }
    return {};
  }

  /// Control, unknown and user-defined tokens are matched in the text; the first two only where special tokens are.
  void note_added(token_t id, std::string_view text, PieceType type) {
    if (text.empty() || (type != PieceType::control && type != PieceType::unknown && type != PieceType::user_defined))
      return;
    AddedToken token;
    append_lossy(token.content, text);
    token.id = id;
    token.special = type != PieceType::user_defined;
    parts_.added.push_back(std::move(token));
  }
  static std::uint32_t flags_of(PieceType type) noexcept {
    switch (type) {
      case PieceType::control:
      case PieceType::unknown:
        return token_exists | token_added | token_special;
      case PieceType::user_defined:
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
    TMODEL_CHECK(for_each_token([&](token_t id, std::string_view text, PieceType type) -> expected<void> {
      std::uint32_t flags = flags_of(type);
      note_added(id, text, type);
      if (type == PieceType::unused) return parts_.vocabulary.add(text, text, flags);
      unmapped.clear();
      const bool mapped = valid_prefix(text) == text.size() && append_unmapped(unmapped, text);
      const std::string_view bytes = mapped ? std::string_view(unmapped) : text;
      flags |= token_in_model | (mapped ? 0u : static_cast<std::uint32_t>(token_literal));
      if (type == PieceType::normal) return parts_.vocabulary.add(bytes, bytes, flags | token_plain);
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

  expected<FlatArray<f32>> read_scores() const {
    if (scores_ == nullptr) return bad("tokenizer.ggml.scores", "a SentencePiece vocabulary needs scores");
    TMODEL_TRY(auto scores, FlatArray<f32>::allocate(tokens_->count));
    MetaReader reader(*scores_);
    for (std::size_t id = 0; id < scores.size(); ++id) {
      scores[id] = static_cast<f32>(reader.number());
      if (std::isnan(scores[id])) return bad("tokenizer.ggml.scores", "a score is not a number");
    }
    return scores;
  }

  /// A file that carries sentencepiece's normaliser is read as sentencepiece would; llama.cpp does so for "t5" and
  /// ignores it for "llama", where no converter writes it.
  bool has_normalizer() const {
    return metadata_.has("tokenizer.ggml.remove_extra_whitespaces") ||
           metadata_.has("tokenizer.ggml.precompiled_charsmap");
  }

  expected<void> read_whole_sentencepiece(bool unigram) {
    TMODEL_TRY(const auto scores, read_scores());
    SentencePieceModel model;
    model.unigram = unigram;
    model.add_dummy_prefix = metadata_.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
    model.remove_extra_whitespaces = metadata_.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
    if (const MetaArray* map = metadata_.array("tokenizer.ggml.precompiled_charsmap")) {
      if (size_of(map->type) != 1) return bad("tokenizer.ggml.precompiled_charsmap", "not a list of bytes");
      model.charsmap = {reinterpret_cast<const char*>(map->raw.data()), map->raw.size()};
    }
    TMODEL_CHECK(for_each_token([&](token_t id, std::string_view text, PieceType type) -> expected<void> {
      model.pieces.push_back({text, scores[static_cast<std::size_t>(id)], type});
      return {};
    }));
    TMODEL_TRY(parts_, build_sentencepiece(model, metadata_.where));
    return {};
  }

  /// SentencePiece BPE as llama.cpp reads it: no normaliser but the space in front, user-defined tokens cut out first.
  expected<void> read_sentencepiece() {
    TMODEL_TRY(const auto scores, read_scores());
    Bpe& bpe = parts_.bpe;
    bpe.by_score = bpe.byte_fallback = true;
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
    TMODEL_CHECK(for_each_token([&](token_t id, std::string_view text, PieceType type) -> expected<void> {
      std::uint32_t flags = flags_of(type);
      note_added(id, text, type);
      piece.clear();
      if (type == PieceType::byte) {
        const int byte = byte_of_token(text);
        if (byte < 0) return bad("tokenizer.ggml.tokens", "byte token is not <0xHH>", text);
        bpe.byte_tokens[static_cast<std::size_t>(byte)] = id;
        piece = static_cast<char>(static_cast<unsigned char>(byte));
        return parts_.vocabulary.add(text, piece, flags | token_byte);
      }
      append_lossy(piece, text);
      if (type == PieceType::normal) {
        flags |= token_in_model;
        for (std::size_t at = 0; (at = piece.find(space_mark, at)) != std::string::npos; ++at)
          piece.replace(at, space_mark.size(), " ");
      }
      return parts_.vocabulary.add(text, piece, flags);
    }));
    TMODEL_CHECK(parts_.vocabulary.build_index());
    bpe.unknown = id_of("tokenizer.ggml.unknown_token_id", 0);
    return bpe.rank_scores(scores.size(), [&](std::size_t id) { return scores[id]; });
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
    parts_.bos = id_of("tokenizer.ggml.bos_token_id", byte_level ? legacy : unigram_ ? -1 : 1);
    parts_.eos = id_of("tokenizer.ggml.eos_token_id", byte_level ? legacy : unigram_ ? 1 : 2);
    const bool adds_bos =
        metadata_.boolean("tokenizer.ggml.add_bos_token").value_or(byte_level ? adds_bos_ : !unigram_);
    if (adds_bos && parts_.bos < 0)
      return bad("tokenizer.ggml.bos_token_id", "the file adds a BOS token that does not exist");
    if (adds_bos) parts_.prefix.push_back(parts_.bos);
    const bool adds_eos = metadata_.boolean("tokenizer.ggml.add_eos_token").value_or(unigram_);
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
  bool adds_bos_ = false, unigram_ = false;
};
}  // namespace detail

/// See Tokenizer::from_gguf.
inline expected<TokenizerParts> read_tokenizer_gguf(const Metadata& metadata) {
  return detail::GgufTokenizerReader(metadata).run();
}

}  // namespace tmodel::inline v0::tokenization
