#pragma once
// tiktoken's rank files: a line for each token, its bytes in base64, a space, its rank, which is its id too. The merges
// are not listed: two neighbours join to the token of their bytes, the lowest rank first.
// Source: openai/tiktoken (load.py, src/lib.rs); the pattern and the special tokens stand in program code there.

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/base64.hpp"
#include "tmodel/text/regex_syntax.hpp"
#include "tmodel/text/tokenizer_parts.hpp"

namespace tmodel::inline v0 {

/// What a rank file does not say.
struct TiktokenOptions {
  std::string_view pattern{};  ///< regular expression that cuts the text into pieces (Oniguruma's or Rust's syntax)
  std::span<const std::pair<std::string_view, token_t>> special_tokens{};
  std::string_view bos{}, eos{};  ///< names of special tokens; empty: none
  bool add_bos = false, add_eos = false;
};

namespace tokenization {

/// See Tokenizer::from_tiktoken.
inline expected<TokenizerParts> read_tiktoken(std::string_view ranks, const TiktokenOptions& options,
                                              std::string_view where) {
  const auto bad = [&](std::string_view what, std::string_view got = {}) {
    return fail(Errc::bad_file, what, where, {}, got);
  };
  const std::size_t lines = static_cast<std::size_t>(std::count(ranks.begin(), ranks.end(), '\n')) + 1;
  TokenizerParts parts;
  TMODEL_TRY(auto by_id, FlatArray<std::string_view>::allocate(2 * lines + 65536));
  std::string pool;
  pool.reserve(ranks.size());  // never grows again: the views below stay where they are
  std::size_t rows = 0;
  while (!ranks.empty()) {
    const std::size_t end = std::min(ranks.find('\n'), ranks.size());
    std::string_view line = ranks.substr(0, end);
    ranks.remove_prefix(std::min(end + 1, ranks.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string_view number = line.substr(std::min(space + 1, line.size()));
    std::uint32_t rank = 0;
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), rank);
    const std::size_t begin = pool.size();
    if (!append_base64(pool, line.substr(0, space)) || pool.size() == begin || error != std::errc() ||
        stop != number.data() + number.size())
      return bad("line is not a token in base64 and its rank", line);
    if (rank >= by_id.size()) return bad("rank is out of range", number);
    if (by_id[rank].data() != nullptr) return bad("two tokens have the same rank", number);
    by_id[rank] = std::string_view(pool).substr(begin);
    rows = std::max<std::size_t>(rows, rank + 1);
  }
  if (rows == 0) return bad("no tokens");

  Bpe& bpe = parts.bpe;
  bpe.byte_level = bpe.by_score = bpe.ignore_merges = true;
  bpe.byte_tokens.fill(-1);
  TMODEL_CHECK(parts.vocabulary.reserve(rows, pool.size()));
  for (std::size_t id = 0; id < rows; ++id)
    TMODEL_CHECK(parts.vocabulary.add(by_id[id], by_id[id],
                                      by_id[id].empty() ? 0u : token_exists | token_in_model | token_plain));
  for (const auto& [text, id] : options.special_tokens) {
    const bool taken =
        id < 0 || text.empty() || static_cast<std::size_t>(id) > 2 * lines + 65536 || parts.vocabulary.has(id);
    if (taken) return fail(Errc::bad_argument, "special token has an impossible id", where, {}, text);
    while (parts.vocabulary.size() <= id) TMODEL_CHECK(parts.vocabulary.add({}, {}, 0));
    parts.added.push_back({.content = std::string(text), .id = id, .special = true});
    TMODEL_CHECK(parts.vocabulary.replace(id, text, token_exists | token_added | token_special));
  }
  TMODEL_CHECK(parts.vocabulary.build_index());
  const auto count = static_cast<std::size_t>(parts.vocabulary.size());
  TMODEL_CHECK(bpe.rank_scores(count, [](std::size_t id) { return -static_cast<f64>(id); }));
  bpe.finish(parts.vocabulary);
  for (const token_t unit : bpe.units)
    if (unit < 0) return bad("a byte has no token");

  if (options.pattern.empty()) return fail(Errc::bad_argument, "a tiktoken file needs the pattern of its model", where);
  TMODEL_TRY(const std::string pattern, translate_regex(options.pattern, where));
  PreTokenizerStep step;
  TMODEL_TRY(step.regex, Regex::compile(pattern, where));
  step.behavior = SplitBehavior::removed;  // what the pattern does not match is lost, as findall does it
  step.invert = true;
  parts.pre_tokenizer.steps.push_back(std::move(step));
  parts.decoder.kind = Decoder::Kind::byte_level;

  const auto find = [&](std::string_view name) { return name.empty() ? token_t{-1} : parts.find(name); };
  parts.bos = find(options.bos), parts.eos = find(options.eos);
  if ((options.add_bos && parts.bos < 0) || (options.add_eos && parts.eos < 0))
    return fail(Errc::bad_argument, "bos or eos is to be added and names no special token", where);
  if (options.add_bos) parts.prefix.push_back(parts.bos);
  if (options.add_eos) parts.suffix.push_back(parts.eos);
  TMODEL_CHECK(parts.build_passes(AddedTokens::Order::leftmost_longest));
  parts.collect_ends({});
  TMODEL_CHECK(parts.vocabulary.shrink());
  return parts;
}

}  // namespace tokenization
}  // namespace tmodel::inline v0
