#pragma once
// Reads tokenizer.json (models BPE and Unigram) and what tokenizer_config.json changes.
// Facts: the tokenizers library 0.23 (models/bpe, added_vocabulary) and transformers 4 (tokenization_utils_fast).

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/tokenizer_json_steps.hpp"

namespace tmodel::inline v0::tokenization {

namespace detail {

/// Reads one tokenizer.json.
class JsonTokenizerReader {
 public:
  JsonTokenizerReader(Json root, Json config, std::string_view where) : root_(root), config_(config), where_(where) {}

  expected<TokenizerParts> run() {
    TMODEL_CHECK(check_model());
    TMODEL_CHECK(read_normalizer(root_["normalizer"], parts_.normalizer.steps, where_));
    TMODEL_CHECK(read_pre_tokenizer(root_["pre_tokenizer"], parts_, where_));
    TMODEL_CHECK(check_first_mark());
    TMODEL_CHECK(prefix_space_of_config());
    TMODEL_CHECK(read_decoder(root_["decoder"], parts_, rule_, where_));
    if (parts_.unigram) {
      TMODEL_CHECK(read_unigram());
    } else {
      TMODEL_CHECK(read_vocabulary());
      TMODEL_CHECK(read_merges());
      TMODEL_CHECK(read_options());
    }
    TMODEL_CHECK(read_added_tokens());
    if (config_) TMODEL_CHECK(read_config_tokens());
    TMODEL_CHECK(add_rows());
    if (!parts_.unigram) parts_.bpe.finish(parts_.vocabulary);
    TMODEL_CHECK(read_post_processor(root_["post_processor"], parts_, where_));
    if (config_)
      TMODEL_CHECK(apply_config());
    else if (!parts_.prefix.empty())
      parts_.bos = parts_.prefix.front();
    for (const auto* list : {&parts_.prefix, &parts_.suffix})
      for (const token_t id : *list)
        if (!parts_.vocabulary.has(id))
          return fail(Errc::bad_file, "post_processor names a token that does not exist", where_);
    TMODEL_CHECK(parts_.build_passes(AddedTokens::Order::leftmost_longest));
    parts_.collect_ends({});
    TMODEL_CHECK(parts_.vocabulary.shrink());
    return std::move(parts_);
  }

 private:
  tl::unexpected<Error> bad(std::string_view what, std::string_view got = {}) const {
    return fail(Errc::bad_file, what, where_, {}, got);
  }

  expected<void> check_model() {
    const Json model = root_["model"];
    if (!model.is_object()) return bad("tokenizer.json has no model");
    if (model["type"].string() == "Unigram") {
      parts_.unigram.emplace();
      return model["vocab"].is_array() ? expected<void>{} : bad("vocab of a unigram model is not a list");
    }
    if (!model["vocab"].is_object() || !model["merges"].is_array() || model["type"].string("BPE") != "BPE")
      return unsupported("tokenizer model is not supported", model["type"].string(), where_);
    for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!model[key].is_null() && !model[key].string("?").empty())
        return unsupported(std::string(key) + " is not supported", model[key].string(), where_);
    if (const auto dropout = model["dropout"].number(); dropout && *dropout != 0)
      return fail(Errc::unsupported, "BPE dropout is not supported", where_);
    return {};
  }

  /// Metaspace "first" asks where a piece stood in the text before it was normalised; behind a split only texts that no
  /// normaliser changed tell that.
  expected<void> check_first_mark() const {
    const auto& steps = parts_.pre_tokenizer.steps;
    for (std::size_t i = 1; i < steps.size() && !parts_.normalizer.empty(); ++i)
      if (steps[i].kind == PreTokenizerStep::Kind::mark_spaces && steps[i].scheme == PrependScheme::first)
        return fail(Errc::unsupported,
                    "Metaspace with prepend_scheme first behind a normalizer and another pre_tokenizer", where_);
    return {};
  }

  /// transformers sets add_prefix_space of a ByteLevel that is the whole pre_tokenizer.
  expected<void> prefix_space_of_config() {
    const Json wanted = config_["add_prefix_space"], json = root_["pre_tokenizer"];
    if (!wanted.is_bool() || json["type"].string() != "ByteLevel" ||
        wanted.boolean() == json["add_prefix_space"].boolean(true))
      return {};
    auto& steps = parts_.pre_tokenizer.steps;
    if (!wanted.boolean()) return (steps.erase(steps.begin()), expected<void>{});
    PreTokenizerStep prefix;
    prefix.kind = PreTokenizerStep::Kind::prefix_space;
    steps.insert(steps.begin(), std::move(prefix));
    return {};
  }

  /// What a token is decoded to; text as the file writes it. Adds token_byte to flags if that is a byte of a run.
  std::string_view piece_of(std::string_view text, std::uint32_t& flags) {
    if (parts_.decoder.kind == Decoder::Kind::byte_level) {
      piece_.clear();
      return append_unmapped(piece_, text) ? std::string_view(piece_) : text;
    }
    piece_ = text;
    for (const auto& [pattern, content] : rule_.replace) {
      std::string next;
      for (std::size_t at = 0;;) {
        const std::size_t found = piece_.find(pattern, at);
        next.append(piece_, at, found - at);
        if (found == std::string::npos) break;
        next += content;
        at = found + pattern.size();
      }
      piece_ = std::move(next);
    }
    if (const int byte = rule_.byte_fallback ? byte_of_token(piece_) : -1; byte >= 0) {
      flags |= token_byte;
      piece_.assign(1, static_cast<char>(byte));
    }
    return piece_;
  }

  expected<void> add_model_row(std::string_view text) {
    std::uint32_t flags = token_exists | token_in_model | token_plain;
    const std::string_view piece = piece_of(text, flags);
    unmapped_.clear();
    if (!parts_.bpe.byte_level) return parts_.vocabulary.add(text, piece, flags);
    const bool mapped = append_unmapped(unmapped_, text);
    return parts_.vocabulary.add(mapped ? unmapped_ : text, piece,
                                 flags | (mapped ? 0u : static_cast<std::uint32_t>(token_literal)));
  }

  expected<void> read_vocabulary() {
    const Json vocab = root_["model"]["vocab"];
    count_ = vocab.size();
    std::size_t rows = 0, text_bytes = 0;
    for (Json entry = vocab.first(); entry; entry = entry.next()) {
      text_bytes += entry.key().size();
      const auto id = entry.integer();
      // Ids may have gaps, but what is allocated stays in proportion to the file.
      if (!id || *id < 0 || static_cast<std::uint64_t>(*id) > 2 * count_ + 65536)
        return bad("token id is not a number in range", entry.key());
      rows = std::max(rows, static_cast<std::size_t>(*id) + 1);
    }
    TMODEL_CHECK(parts_.vocabulary.reserve(rows, text_bytes));
    TMODEL_TRY(auto by_id, FlatArray<std::string_view>::allocate(rows));
    for (Json entry = vocab.first(); entry; entry = entry.next()) {
      std::string_view& row = by_id[static_cast<std::size_t>(*entry.integer())];
      if (row.data() != nullptr) return bad("two tokens have the same id", entry.key());
      row = entry.key().data() != nullptr ? entry.key() : std::string_view("");
    }
    for (std::size_t id = 0; id < rows; ++id) {
      if (by_id[id].data() == nullptr)
        TMODEL_CHECK(parts_.vocabulary.add({}, {}, 0));
      else
        TMODEL_CHECK(add_model_row(by_id[id]));
    }
    return parts_.vocabulary.build_index();
  }

  expected<void> read_unigram() {
    const Json model = root_["model"], vocab = model["vocab"];
    if (parts_.bpe.byte_level && !parts_.pieces_are_mapped)
      return unsupported("ByteLevel before a unigram model", "", where_);
    Unigram& unigram = *parts_.unigram;
    count_ = vocab.size();
    std::vector<ByteTrie::Entry> texts;
    TMODEL_TRY(unigram.scores, FlatArray<f64>::allocate(count_));
    std::size_t bytes = 0;
    for (Json entry = vocab.first(); entry; entry = entry.next()) {
      const std::string_view text = entry.first().string();
      const auto score = entry.first().next().number();
      if (!entry.first().is_string() || !score || !std::isfinite(*score))
        return bad("vocab of a unigram model is not a list of texts and numbers");
      bytes += text.size();
      unigram.lowest = texts.empty() ? *score : std::min(unigram.lowest, *score);
      unigram.scores[texts.size()] = *score;
      texts.push_back({text, static_cast<std::uint32_t>(texts.size())});
    }
    TMODEL_CHECK(parts_.vocabulary.reserve(count_, bytes));
    for (const ByteTrie::Entry& entry : texts) TMODEL_CHECK(add_model_row(entry.text));
    TMODEL_CHECK(parts_.vocabulary.build_index());
    std::erase_if(texts, [](const ByteTrie::Entry& entry) { return entry.text.empty(); });
    TMODEL_TRY(unigram.trie, ByteTrie::build(std::move(texts), where_));
    if (const auto unknown = model["unk_id"].integer()) {
      if (*unknown < 0 || static_cast<std::uint64_t>(*unknown) >= count_)
        return bad("unk_id is outside the vocabulary");
      unigram.unknown = static_cast<token_t>(*unknown);
    }
    unigram.byte_fallback = model["byte_fallback"].boolean();
    std::string scratch;
    for (unsigned b = 0; b < 256; ++b) unigram.byte_tokens[b] = parts_.find_in_model(byte_token_text(b), scratch);
    return {};
  }

  expected<void> read_merges() {
    const Json merges = root_["model"]["merges"];
    TMODEL_TRY(parts_.bpe.merges, PairTable::allocate(merges.size()));
    std::uint32_t rank = 0;
    std::string joined, scratch;
    for (Json merge = merges.first(); merge; merge = merge.next()) {
      std::string_view left, right;
      if (merge.is_string()) {
        const std::string_view text = merge.string();
        if (text.substr(0, 8) == "#version") continue;
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
          return bad("merge is not two tokens with a space in between", text);
        left = text.substr(0, space), right = text.substr(space + 1);
      } else {
        const Json second = merge.first().next();
        if (merge.size() != 2 || !merge.first().is_string() || !second.is_string())
          return bad("merge is not a pair of texts");
        left = merge.first().string(), right = second.string();
      }
      joined.assign(left).append(right);
      std::array<token_t, 3> ids{};
      const std::array<std::string_view, 3> texts = {left, right, joined};
      for (std::size_t i = 0; i < 3; ++i) {
        ids[i] = parts_.find_in_model(texts[i], scratch);
        if (ids[i] < 0) return bad("merge names a token that is not in the vocabulary", texts[i]);
      }
      TMODEL_CHECK(parts_.bpe.merges.insert(ids[0], ids[1], {rank++, ids[2]}));
    }
    return {};
  }

  expected<void> read_options() {
    const Json model = root_["model"];
    Bpe& bpe = parts_.bpe;
    std::string scratch;
    bpe.ignore_merges = model["ignore_merges"].boolean();
    bpe.byte_fallback = model["byte_fallback"].boolean();
    bpe.fuse_unknown = model["fuse_unk"].boolean();
    bpe.names_unknown = model["unk_token"].is_string();
    if (bpe.names_unknown) bpe.unknown = parts_.find_in_model(model["unk_token"].string(), scratch);
    for (unsigned b = 0; b < 256; ++b) bpe.byte_tokens[b] = parts_.find_in_model(byte_token_text(b), scratch);
    return {};
  }

  AddedToken* find_added(std::string_view content) {
    const auto it = added_.find(content);
    return it == added_.end() ? nullptr : &parts_.added[it->second];
  }
  /// The id that the reference gives a new added token: the model's, or the next free one.
  token_t next_id(std::string_view content) {
    std::string scratch;
    if (const token_t id = parts_.find_in_model(content, scratch); id >= 0) return id;
    const auto count = static_cast<token_t>(count_);
    return highest_added_ >= count ? highest_added_ + 1 : count;
  }
  expected<void> add_token(AddedToken token, std::optional<std::int64_t> id) {
    token.id = next_id(token.content);
    if (id && *id != token.id)
      return fail(Errc::unsupported, "added token has another id than the reference gives it", where_,
                  std::to_string(token.id), std::to_string(*id) + " for " + token.content);
    highest_added_ = std::max(highest_added_, token.id);
    added_.emplace(token.content, parts_.added.size());
    parts_.added.push_back(std::move(token));
    return {};
  }
  expected<void> read_added_tokens() {
    if (root_["added_tokens"].size() > 65536) return fail(Errc::unsupported, "more than 65,536 added tokens", where_);
    for (Json item = root_["added_tokens"].first(); item; item = item.next()) {
      AddedToken token = read_added_token(item);
      if (token.content.empty()) continue;
      if (AddedToken* known = find_added(token.content)) {
        token.id = known->id;
        token.special |= known->special;
        *known = std::move(token);
        continue;
      }
      TMODEL_CHECK(add_token(std::move(token), item["id"].integer()));
    }
    return {};
  }

  /// Added tokens that tokenizer_config.json changes or adds.
  expected<void> read_config_tokens() {
    TMODEL_TRY(const auto entries, detail::added_tokens_decoder(config_));
    for (const auto& [id, item] : entries) {
      AddedToken token = read_added_token(item);
      if (token.content.empty()) continue;
      if (AddedToken* known = find_added(token.content)) {
        known->single_word = token.single_word, known->lstrip = token.lstrip, known->rstrip = token.rstrip;
        known->special |= token.special;
        continue;
      }
      TMODEL_CHECK(add_token(std::move(token), id));
    }
    const auto make_special = [&](std::string_view name) -> expected<void> {
      if (name.empty() || find_added(name) != nullptr) return {};
      AddedToken token;
      token.content = name;
      token.special = true;
      return add_token(std::move(token), std::nullopt);
    };
    for (const std::string_view key :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
      TMODEL_CHECK(make_special(token_name(config_[key])));
    for (Json item = config_["additional_special_tokens"].first(); item; item = item.next())
      TMODEL_CHECK(make_special(token_name(item)));
    return {};
  }

  /// Rows and flags of the added tokens. Their ids follow each other behind the model's, as next_id gives them.
  /// A normalised token is decoded to its normalised content, and skipped as special by that, as in the reference.
  expected<void> add_rows() {
    RegexScratch scratch;
    std::string content;
    for (const AddedToken& token : parts_.added) {
      content = token.content;
      bool cut = false;
      if (token.normalized) TMODEL_CHECK(parts_.normalizer.apply(token.content, content, scratch, cut));
      const AddedToken* shown = content == token.content ? &token : find_added(content);
      std::uint32_t flags = token_exists | token_added;
      if (shown != nullptr && shown->special) flags |= token_special;
      const std::string_view piece = piece_of(content, flags);
      Vocabulary& vocabulary = parts_.vocabulary;
      while (vocabulary.size() < token.id) TMODEL_CHECK(vocabulary.add({}, {}, 0));
      if (token.id == vocabulary.size()) {
        TMODEL_CHECK(vocabulary.add(content, piece, flags));
        continue;
      }
      if (!vocabulary.has(token.id))
        return fail(Errc::unsupported, "added token falls into a gap of the vocabulary", where_, {}, token.content);
      vocabulary.set_flags(token.id, flags);
      if (piece == vocabulary.piece(token.id)) continue;
      if (parts_.decoder.kind == Decoder::Kind::metaspace)
        return fail(Errc::unsupported, "a normalized added token with a Metaspace decoder", where_, {}, token.content);
      TMODEL_CHECK(vocabulary.set_piece(token.id, piece));
    }
    return {};
  }

  /// bos, eos, and what transformers' Llama tokenizer and its kin put around a text.
  expected<void> apply_config() {
    struct Class {
      std::string_view name, bos, eos;
    };
    static constexpr std::array<Class, 4> rebuilding = {{{"LlamaTokenizer", "<s>", "</s>"},
                                                         {"CodeLlamaTokenizer", "<s>", "</s>"},
                                                         {"GemmaTokenizer", "<bos>", "<eos>"},
                                                         {"CohereTokenizer", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"}}};
    std::string_view name = config_["tokenizer_class"].string();
    if (name.size() > 4 && name.substr(name.size() - 4) == "Fast") name.remove_suffix(4);
    const auto known =
        std::find_if(rebuilding.begin(), rebuilding.end(), [&](const Class& c) { return c.name == name; });
    const bool rebuilds = known != rebuilding.end();
    const auto id_of = [&](std::string_view key, std::string_view otherwise) {
      const Json value = config_[key];
      const std::string_view text = value ? token_name(value) : otherwise;
      return text.empty() ? -1 : parts_.find(text);
    };
    parts_.bos = id_of("bos_token", rebuilds ? known->bos : std::string_view());
    parts_.eos = id_of("eos_token", rebuilds ? known->eos : std::string_view());
    if (!rebuilds) return {};
    const auto wants = [&](std::string_view key, bool otherwise) {
      return config_[key] ? config_[key].boolean() : otherwise;
    };
    const bool adds_bos = wants("add_bos_token", true), adds_eos = wants("add_eos_token", false);
    if ((adds_bos && parts_.bos < 0) || (adds_eos && parts_.eos < 0))
      return fail(Errc::bad_metadata, "tokenizer_config.json adds a bos or eos token that it does not name", where_);
    parts_.prefix.clear();
    parts_.suffix.clear();
    if (adds_bos) parts_.prefix.push_back(parts_.bos);
    if (adds_eos) parts_.suffix.push_back(parts_.eos);
    return {};
  }

  Json root_, config_;
  std::string_view where_;
  TokenizerParts parts_;
  PieceRule rule_;
  std::size_t count_ = 0;                                  ///< tokens of the model
  std::map<std::string, std::size_t, std::less<>> added_;  ///< content -> place in parts_.added
  token_t highest_added_ = -1;
  std::string unmapped_, piece_;
};
}  // namespace detail

/// See Tokenizer::from_json.
inline expected<TokenizerParts> read_tokenizer_json(std::string_view tokenizer_json,
                                                    std::string_view tokenizer_config_json, std::string_view where) {
  TMODEL_TRY(const JsonDocument document, JsonDocument::parse(tokenizer_json, where));
  JsonDocument config;
  const bool has_config = !tokenizer_config_json.empty();
  if (has_config) {
    TMODEL_TRY(config, JsonDocument::parse(tokenizer_config_json, "tokenizer_config.json"));
  }
  if (has_config && !config.root().is_object())
    return fail(Errc::bad_file, "not a JSON object", "tokenizer_config.json");
  return detail::JsonTokenizerReader(document.root(), has_config ? config.root() : Json(), where).run();
}

}  // namespace tmodel::inline v0::tokenization
