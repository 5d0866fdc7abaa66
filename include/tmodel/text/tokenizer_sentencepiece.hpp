#pragma once
// A SentencePiece model (BPE or unigram) as a tokenizer, from a tokenizer.model or from a GGUF file that carries its
// normaliser, without the sentencepiece library. Ids are that library's.
// Facts: bpe_model, unigram_model and normalizer of sentencepiece 0.2.

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/sentencepiece_model.hpp"
#include "tmodel/text/tokenizer_json_steps.hpp"

namespace tmodel::inline v0::tokenization {

namespace detail {

/// Fills parts from a model. bos, eos and what stands around a text are the caller's.
class SentencePieceBuilder {
 public:
  SentencePieceBuilder(const SentencePieceModel& model, std::string_view where) : model_(model), where_(where) {}

  /// Pieces and decoder, and with `encodes` what turns text into ids.
  expected<TokenizerParts> run(bool encodes) {
    std::size_t bytes = 0;
    for (const auto& piece : model_.pieces) bytes += piece.text.size();
    TMODEL_CHECK(parts_.vocabulary.reserve(model_.pieces.size(), bytes));
    byte_tokens_.fill(-1);
    for (std::size_t id = 0; id < model_.pieces.size(); ++id) TMODEL_CHECK(add(static_cast<token_t>(id)));
    TMODEL_CHECK(parts_.vocabulary.build_index());
    parts_.bos = model_.bos, parts_.eos = model_.eos;
    parts_.decoder.kind = Decoder::Kind::fused;
    parts_.decoder.trims_first_marks = model_.remove_extra_whitespaces;
    parts_.decoder.strip_count = model_.add_dummy_prefix && !model_.remove_extra_whitespaces ? 1 : 0;
    if (encodes) {
      TMODEL_CHECK(add_normalizer());
      TMODEL_CHECK(model_.unigram ? build_unigram() : build_bpe());
    }
    return std::move(parts_);
  }

 private:
  /// Pieces that the text can be cut into; the others are named by their ids alone.
  static bool is_text(PieceType type) {
    return type == PieceType::normal || type == PieceType::user_defined || type == PieceType::unused;
  }

  expected<void> add(token_t id) {
    const auto& [text, score, type] = model_.pieces[static_cast<std::size_t>(id)];
    if (std::isnan(score)) return fail(Errc::bad_file, "score of a piece is not a number", where_);
    std::uint32_t flags = token_exists | (is_text(type) ? token_in_model : 0u);
    std::string piece;
    append_lossy(piece, text);
    if (type == PieceType::byte) {
      const int byte = byte_of_token(text);
      if (byte < 0) return fail(Errc::bad_file, "byte piece is not <0xHH>", where_, {}, text);
      byte_tokens_[static_cast<std::size_t>(byte)] = id;
      has_bytes_ = true;
      piece.assign(1, static_cast<char>(static_cast<unsigned char>(byte)));
      flags |= token_byte;
    } else if (type == PieceType::control) {
      flags |= token_added | token_special;
      if (!text.empty()) parts_.added.push_back({.content = piece, .id = id, .special = true});
      piece.clear();
    } else if (type == PieceType::unknown) {
      if (unknown_ >= 0) return fail(Errc::bad_file, "two unknown pieces", where_);
      unknown_ = id;
      piece.clear();
      append_lossy(piece, model_.unknown_surface);
    } else {
      if (text.empty() || piece != text) return fail(Errc::bad_file, "piece is empty or not UTF-8", where_, {}, text);
      if (type == PieceType::unused) flags |= token_unused;
      for (std::size_t at = 0; (at = piece.find(space_mark, at)) != std::string::npos; ++at)
        piece.replace(at, space_mark.size(), " ");
    }
    return parts_.vocabulary.add(text, piece, flags);
  }

  expected<ByteTrie> trie_of(bool user_defined_only) const {
    std::vector<ByteTrie::Entry> entries;
    for (std::size_t id = 0; id < model_.pieces.size(); ++id) {
      const auto& piece = model_.pieces[id];
      if (piece.type == PieceType::user_defined || (!user_defined_only && piece.type == PieceType::normal))
        entries.push_back({piece.text, static_cast<std::uint32_t>(id)});
    }
    return ByteTrie::build(std::move(entries), where_);
  }

  expected<void> add_normalizer() {
    NormalizerStep step;
    step.kind = NormalizerStep::Kind::sentencepiece;
    TMODEL_TRY(step.rules.charsmap, Charsmap::create(model_.charsmap, where_));
    TMODEL_TRY(step.rules.user_defined, trie_of(true));
    step.rules.add_dummy_prefix = model_.add_dummy_prefix;
    step.rules.remove_extra_whitespaces = model_.remove_extra_whitespaces;
    parts_.normalizer.steps.push_back(std::move(step));
    return {};
  }

  expected<void> build_unigram() {
    Unigram& unigram = parts_.unigram.emplace();
    const std::size_t n = model_.pieces.size();
    TMODEL_TRY(unigram.trie, trie_of(false));
    TMODEL_TRY(unigram.scores, FlatArray<f64>::allocate(n));
    unigram.lowest = std::numeric_limits<f32>::max();
    for (std::size_t id = 0; id < n; ++id) {
      const auto& piece = model_.pieces[id];
      // A user-defined piece costs nothing, so that it is always cut out.
      unigram.scores[id] = piece.type == PieceType::user_defined ? 0 : static_cast<f64>(piece.score);
      if (piece.type == PieceType::normal) unigram.lowest = std::min(unigram.lowest, unigram.scores[id]);
    }
    unigram.rounds_to_f32 = true;
    unigram.byte_fallback = has_bytes_;
    unigram.byte_tokens = byte_tokens_;
    unigram.unknown = unknown_;
    return {};
  }

  expected<void> build_bpe() {
    Bpe& bpe = parts_.bpe;
    bpe.by_score = bpe.fuse_unknown = true;
    bpe.byte_fallback = has_bytes_;
    bpe.byte_tokens = byte_tokens_;
    bpe.unknown = unknown_;
    TMODEL_TRY(bpe.user_defined, trie_of(true));
    for (const auto& piece : model_.pieces) bpe.splits_unused |= piece.type == PieceType::unused;
    TMODEL_CHECK(bpe.rank_scores(model_.pieces.size(), [&](std::size_t id) { return model_.pieces[id].score; }));
    bpe.finish(parts_.vocabulary);
    return {};
  }

  const SentencePieceModel& model_;
  std::string_view where_;
  TokenizerParts parts_;
  std::array<token_t, 256> byte_tokens_{};
  bool has_bytes_ = false;
  token_t unknown_ = -1;
};

}  // namespace detail

/// Pieces, flags and the decoder of a model, for whoever encodes otherwise. The tokens around a text and the special
/// tokens' passes stay to be set. Errors: bad_file, unsupported, out_of_memory.
inline expected<TokenizerParts> build_sentencepiece_pieces(const SentencePieceModel& model, std::string_view where,
                                                           bool encodes = false) {
  if (!model.beyond.empty())
    return fail(Errc::unsupported, "SentencePiece model has what is not supported", where, {}, model.beyond);
  return detail::SentencePieceBuilder(model, where).run(encodes);
}
/// The same with all that encodes.
inline expected<TokenizerParts> build_sentencepiece(const SentencePieceModel& model, std::string_view where) {
  if (!model.other_kind.empty())
    return fail(Errc::unsupported, "SentencePiece model needs the sentencepiece library", where, "unigram or BPE",
                model.other_kind, "use SpmTokenizer (text/spm.hpp)");
  return build_sentencepiece_pieces(model, where, true);
}

namespace detail {
/// What tokenizer_config.json says of a tokenizer.model: further added tokens, BOS and EOS.
inline expected<void> apply_config(Json config, TokenizerParts& parts, std::string_view where) {
  Vocabulary& vocabulary = parts.vocabulary;
  TMODEL_TRY(const auto entries, added_tokens_decoder(config));
  for (const auto& [id, item] : entries) {
    AddedToken token = read_added_token(item);
    if (token.content.empty()) continue;
    if (id > vocabulary.size() + 65536)
      return fail(Errc::bad_file, "id of an added token is out of range", where, {}, token.content);
    token.id = static_cast<token_t>(id);
    token.normalized = false;  // the normaliser is sentencepiece's own business
    const std::uint32_t flags = token_exists | token_added | (token.special ? token_special : 0u);
    if (token.id >= vocabulary.size()) {
      while (vocabulary.size() < token.id) TMODEL_CHECK(vocabulary.add({}, {}, 0));
      TMODEL_CHECK(vocabulary.add(token.content, token.content, flags));
    } else if (vocabulary.text(token.id) == token.content) {
      vocabulary.set_flags(token.id, flags);
    } else {
      return fail(Errc::bad_file, "added token has the id of another piece", where, vocabulary.text(token.id),
                  token.content);
    }
    std::erase_if(parts.added, [&](const AddedToken& known) { return known.content == token.content; });
    parts.added.push_back(std::move(token));
  }
  for (const auto& [key, id] : {std::pair("bos_token", &parts.bos), std::pair("eos_token", &parts.eos)})
    if (const std::string_view name = token_name(config[key]); !name.empty()) *id = parts.find(name);
  const bool adds_bos = config["add_bos_token"].boolean(parts.bos >= 0), adds_eos = config["add_eos_token"].boolean();
  if ((adds_bos && parts.bos < 0) || (adds_eos && parts.eos < 0))
    return fail(Errc::bad_metadata, "tokenizer_config.json adds a bos or eos token that does not exist", where);
  if (adds_bos) parts.prefix.push_back(parts.bos);
  if (adds_eos) parts.suffix.push_back(parts.eos);
  return {};
}
}  // namespace detail

/// See Tokenizer::from_sentencepiece.
inline expected<TokenizerParts> read_tokenizer_model(std::string_view bytes, std::string_view tokenizer_config_json,
                                                     std::string_view where) {
  TMODEL_TRY(const SentencePieceModel model, read_model_proto(bytes, where));
  TMODEL_TRY(TokenizerParts parts, build_sentencepiece(model, where));
  JsonDocument config;
  if (!tokenizer_config_json.empty()) {
    TMODEL_TRY(config, JsonDocument::parse(tokenizer_config_json, "tokenizer_config.json"));
  }
  TMODEL_CHECK(detail::apply_config(tokenizer_config_json.empty() ? Json() : config.root(), parts, where));
  TMODEL_CHECK(parts.build_passes(AddedTokens::Order::longest_first));
  parts.collect_ends({});
  TMODEL_CHECK(parts.vocabulary.shrink());
  return parts;
}

}  // namespace tmodel::inline v0::tokenization
