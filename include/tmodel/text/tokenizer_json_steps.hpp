#pragma once
// The parts of tokenizer.json around the model: normalizer, pre_tokenizer, post_processor, decoder.
// Kinds and defaults: the tokenizers library 0.23. A kind or option that is not here is refused by its name.

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/json.hpp"
#include "tmodel/text/base64.hpp"
#include "tmodel/text/regex_syntax.hpp"
#include "tmodel/text/tokenizer_parts.hpp"

namespace tmodel::inline v0::tokenization {

/// GPT-2's expression, which ByteLevel uses, in Oniguruma's syntax.
inline constexpr std::string_view gpt2_pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

namespace detail {
/// Steps of all Sequences together; bounds recursion while encoding.
inline constexpr std::size_t max_steps = 32;

inline tl::unexpected<Error> unsupported(std::string_view what, std::string_view got, std::string_view where) {
  return fail(Errc::unsupported, what, where, {}, got.empty() ? "(no type)" : got);
}

inline expected<Regex> compile_regex(std::string_view oniguruma, std::string_view where) {
  TMODEL_TRY(const std::string pattern, translate_regex(oniguruma, where));
  return Regex::compile(pattern, where);
}

inline expected<SplitBehavior> read_behavior(Json value, std::string_view where) {
  const std::string_view name = value.string();
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  return unsupported("split behavior is not known", name, where);
}

/// {"String": s} or {"Regex": s}: a text that is not empty, or a compiled expression.
struct Pattern {
  std::string text;
  std::optional<Regex> regex;
};
inline expected<Pattern> read_pattern(Json value, std::string_view where) {
  Pattern pattern;
  if (const Json text = value["String"]; text.is_string() && !text.string().empty()) {
    pattern.text = text.string();
    return pattern;
  }
  const Json regex = value["Regex"];
  if (!regex.is_string() || regex.string().empty()) return fail(Errc::bad_file, "pattern is empty or not known", where);
  TMODEL_TRY(pattern.regex, compile_regex(regex.string(), where));
  return pattern;
}
/// bos_token and its kin: a text or an object with one.
inline std::string_view token_name(Json value) {
  return value.is_string() ? value.string() : value["content"].string();
}

/// added_tokens_decoder of tokenizer_config.json, sorted by id. Errors: bad_file, unsupported (over 65,536).
inline expected<std::vector<std::pair<std::int64_t, Json>>> added_tokens_decoder(Json config) {
  constexpr std::string_view where = "tokenizer_config.json";
  const Json decoder = config["added_tokens_decoder"];
  std::vector<std::pair<std::int64_t, Json>> entries;
  if (decoder.size() > 65536) return fail(Errc::unsupported, "more than 65,536 added tokens", where);
  for (Json item = decoder.first(); item; item = item.next()) {
    std::int64_t id = -1;
    const auto [end, error] = std::from_chars(item.key().data(), item.key().data() + item.key().size(), id);
    if (error != std::errc() || end != item.key().data() + item.key().size() || id < 0)
      return fail(Errc::bad_file, "added_tokens_decoder has a key that is no id", where, {}, item.key());
    entries.emplace_back(id, item);
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return entries;
}
}  // namespace detail

/// An entry of added_tokens or added_tokens_decoder, without its id.
inline AddedToken read_added_token(Json json) {
  AddedToken token;
  token.content = json["content"].string();
  token.single_word = json["single_word"].boolean();
  token.lstrip = json["lstrip"].boolean();
  token.rstrip = json["rstrip"].boolean();
  token.special = json["special"].boolean();
  token.normalized = json["normalized"].boolean(!token.special);
  return token;
}

/// Appends the steps of a normalizer; null has none.
inline expected<void> read_normalizer(Json json, std::vector<NormalizerStep>& steps, std::string_view where) {
  if (json.is_null()) return {};
  const std::string_view type = json["type"].string();
  if (type == "Sequence") {
    for (Json item = json["normalizers"].first(); item; item = item.next())
      TMODEL_CHECK(read_normalizer(item, steps, where));
    return {};
  }
  if (steps.size() >= detail::max_steps) return fail(Errc::unsupported, "more than 32 normalizer steps", where);
  using Kind = NormalizerStep::Kind;
  NormalizerStep step;
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    step.form = type == "NFC"    ? NormalForm::nfc
                : type == "NFD"  ? NormalForm::nfd
                : type == "NFKC" ? NormalForm::nfkc
                                 : NormalForm::nfkd;
  } else if (type == "Replace") {
    TMODEL_TRY(detail::Pattern pattern, detail::read_pattern(json["pattern"], where));
    step.kind = pattern.regex ? Kind::replace_regex : Kind::replace_text;
    step.pattern = std::move(pattern.text);
    step.regex = std::move(pattern.regex);
    step.content = json["content"].string();
  } else if (type == "Prepend") {
    step.kind = Kind::prepend;
    step.content = json["prepend"].string();
  } else if (type == "Strip") {
    step.kind = Kind::strip;
    step.left = json["strip_left"].boolean(true);
    step.right = json["strip_right"].boolean(true);
  } else if (type == "Lowercase") {
    step.kind = Kind::lowercase;
  } else if (type == "Precompiled") {
    std::string blob;
    if (!append_base64(blob, json["precompiled_charsmap"].string()))
      return fail(Errc::bad_file, "precompiled charsmap is not base64", where);
    if (blob.empty()) return {};
    step.kind = Kind::precompiled;
    TMODEL_TRY(step.rules.charsmap, Charsmap::create(blob, where));
  } else {
    return detail::unsupported("normalizer is not supported", type, where);
  }
  steps.push_back(std::move(step));
  return {};
}

/// Appends the steps of a pre_tokenizer; null has none. ByteLevel's mapping sets parts.bpe.byte_level; if it is the
/// last step it is left out, since the model then reads the bytes themselves.
inline expected<void> read_pre_tokenizer(Json json, TokenizerParts& parts, std::string_view where) {
  if (json.is_null()) return {};
  auto& steps = parts.pre_tokenizer.steps;
  if (parts.bpe.byte_level && !parts.pieces_are_mapped) {  // something follows ByteLevel: it works on mapped text
    PreTokenizerStep map;
    map.kind = PreTokenizerStep::Kind::map_bytes;
    steps.push_back(std::move(map));
    parts.pieces_are_mapped = true;
  }
  const std::string_view type = json["type"].string();
  if (type == "Sequence") {
    for (Json item = json["pretokenizers"].first(); item; item = item.next())
      TMODEL_CHECK(read_pre_tokenizer(item, parts, where));
    return {};
  }
  if (steps.size() >= detail::max_steps) return fail(Errc::unsupported, "more than 32 pre_tokenizer steps", where);
  using Kind = PreTokenizerStep::Kind;
  PreTokenizerStep step;
  if (type == "Split") {
    TMODEL_TRY(detail::Pattern pattern, detail::read_pattern(json["pattern"], where));
    step.kind = pattern.regex ? Kind::split_regex : Kind::split_text;
    step.text = std::move(pattern.text);
    step.regex = std::move(pattern.regex);
    TMODEL_TRY(step.behavior, detail::read_behavior(json["behavior"], where));
    step.invert = json["invert"].boolean();
  } else if (type == "ByteLevel") {
    if (parts.bpe.byte_level) return fail(Errc::unsupported, "ByteLevel stands twice in the pre_tokenizer", where);
    parts.bpe.byte_level = true;
    if (json["add_prefix_space"].boolean(true)) {
      PreTokenizerStep prefix;
      prefix.kind = Kind::prefix_space;
      steps.push_back(std::move(prefix));
    }
    if (!json["use_regex"].boolean(true)) return {};
    TMODEL_TRY(step.regex, detail::compile_regex(gpt2_pattern, where));
  } else if (type == "Metaspace") {
    step.kind = Kind::mark_spaces;
    step.text = json["replacement"].string(space_mark);
    if (step.text.empty()) return fail(Errc::bad_file, "Metaspace has no replacement", where);
    const std::string_view scheme =
        json["prepend_scheme"].string(json["add_prefix_space"].boolean(true) ? "always" : "never");
    if (scheme != "always" && scheme != "first" && scheme != "never")
      return detail::unsupported("prepend_scheme is not known", scheme, where);
    step.scheme = scheme == "always"  ? PrependScheme::always
                  : scheme == "first" ? PrependScheme::first
                                      : PrependScheme::never;
    if (json["split"].boolean(true)) {
      const std::string mark = step.text;
      steps.push_back(std::move(step));
      step = PreTokenizerStep();
      step.kind = Kind::split_text;
      step.behavior = SplitBehavior::merged_with_next;
      step.text = mark;
    }
  } else if (type == "Digits") {
    step.kind = Kind::split_numeric;
    step.behavior = json["individual_digits"].boolean() ? SplitBehavior::isolated : SplitBehavior::contiguous;
  } else if (type == "Punctuation") {
    step.kind = Kind::split_punctuation;
    if (json["behavior"]) {
      TMODEL_TRY(step.behavior, detail::read_behavior(json["behavior"], where));
    }
  } else if (type == "WhitespaceSplit") {
    step.kind = Kind::split_space;
    step.behavior = SplitBehavior::removed;
  } else {
    return detail::unsupported("pre_tokenizer is not supported", type, where);
  }
  steps.push_back(std::move(step));
  return {};
}

/// What a post_processor puts around a text: prefix and suffix of parts. The vocabulary is not asked.
inline expected<void> read_post_processor(Json json, TokenizerParts& parts, std::string_view where) {
  if (json.is_null()) return {};
  const std::string_view type = json["type"].string();
  if (type == "ByteLevel") return {};  // moves offsets only
  if (type == "Sequence") {
    for (Json item = json["processors"].first(); item; item = item.next())
      TMODEL_CHECK(read_post_processor(item, parts, where));
    return {};
  }
  std::vector<token_t> before, behind;
  const auto put = [&](std::vector<token_t>& list, Json id) {
    const auto value = id.integer();
    if (!value || *value < 0 || *value > 0x7FFFFFFF) return false;
    list.push_back(static_cast<token_t>(*value));
    return true;
  };
  if (type == "TemplateProcessing") {
    bool text_seen = false;
    for (Json item = json["single"].first(); item; item = item.next()) {
      if (const Json sequence = item["Sequence"]) {
        if (text_seen || sequence["id"].string() != "A")
          return fail(Errc::unsupported, "template has the text twice", where);
        text_seen = true;
        continue;
      }
      const Json ids = json["special_tokens"][item["SpecialToken"]["id"].string()]["ids"];
      if (ids.size() == 0) return fail(Errc::bad_file, "template names a special token without ids", where);
      for (Json id = ids.first(); id; id = id.next())
        if (!put(text_seen ? behind : before, id))
          return fail(Errc::bad_file, "special token's id is not a number", where);
    }
    if (!text_seen) return fail(Errc::unsupported, "template leaves the text out", where);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    if (!put(before, json["cls"].first().next()) || !put(behind, json["sep"].first().next()))
      return fail(Errc::bad_file, "cls or sep is not [text, id]", where);
  } else {
    return detail::unsupported("post_processor is not supported", type, where);
  }
  parts.prefix.insert(parts.prefix.begin(), before.begin(), before.end());
  parts.suffix.insert(parts.suffix.end(), behind.begin(), behind.end());
  return {};
}

/// What a decoder does to each token, before the tokens are put together.
struct PieceRule {
  std::vector<std::pair<std::string, std::string>> replace;  ///< text, content
  bool byte_fallback = false;                                ///< <0xHH> becomes a byte
};

/// Fills parts.decoder and rule. The supported order is Replace*, ByteFallback, Fuse, Strip; or ByteLevel or Metaspace
/// alone.
inline expected<void> read_decoder(Json json, TokenizerParts& parts, PieceRule& rule, std::string_view where) {
  Decoder& decoder = parts.decoder;
  if (json.is_null()) return {};
  std::vector<Json> steps;
  if (json["type"].string() == "Sequence")
    for (Json item = json["decoders"].first(); item; item = item.next()) steps.push_back(item);
  else
    steps.push_back(json);
  const std::string_view first = steps.empty() ? std::string_view() : steps[0]["type"].string();
  if (steps.size() == 1 && first == "ByteLevel") {
    decoder.kind = Decoder::Kind::byte_level;
    return {};
  }
  if (steps.size() == 1 && first == "Metaspace") {
    decoder.kind = Decoder::Kind::metaspace;
    decoder.mark = steps[0]["replacement"].string(space_mark);
    const bool legacy = steps[0]["add_prefix_space"].boolean(true);
    decoder.drops_first_marks = steps[0]["prepend_scheme"].string(legacy ? "always" : "never") != "never";
    if (decoder.mark.empty()) return fail(Errc::bad_file, "Metaspace has no replacement", where);
    rule.replace.emplace_back(decoder.mark, " ");
    return {};
  }
  decoder.kind = Decoder::Kind::fused;
  bool fused = false;
  for (const Json step : steps) {
    const std::string_view type = step["type"].string();
    if (type == "Replace" && !rule.byte_fallback && !fused) {
      TMODEL_TRY(const detail::Pattern pattern, detail::read_pattern(step["pattern"], where));
      if (pattern.regex) return fail(Errc::unsupported, "decoder replaces by a regular expression", where);
      rule.replace.emplace_back(pattern.text, step["content"].string());
    } else if (type == "ByteFallback" && !fused && !rule.byte_fallback) {
      rule.byte_fallback = true;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip" && fused && decoder.strip_count == 0 && step["stop"].integer() == 0) {
      const std::string_view content = step["content"].string();
      const auto start = step["start"].integer();
      if (content.empty() || content.size() != utf8_length_of(content[0]) || !start || *start < 0 || *start > 1024)
        return fail(Errc::bad_file, "decoder Strip is malformed", where);
      decoder.strip = decode_utf8(content);
      decoder.strip_count = static_cast<std::uint32_t>(*start);
    } else {
      return detail::unsupported("decoder step is not supported at this place", type, where);
    }
  }
  return {};
}

}  // namespace tmodel::inline v0::tokenization
