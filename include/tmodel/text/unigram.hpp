#pragma once
// The unigram language model (Kudo 2018, arXiv 1804.10959): of all ways to cut a text into tokens, the one whose
// log-probabilities add up to the most. Viterbi over byte positions, one trie walk from each character.
// Sums and ties as the reference has them: sentencepiece keeps the best sum so far in f32, the tokenizers library in
// f64.

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "tmodel/text/added_tokens.hpp"
#include "tmodel/text/byte_trie.hpp"
#include "tmodel/text/unicode.hpp"
#include "tmodel/text/vocabulary.hpp"

namespace tmodel::inline v0::tokenization {

/// Room for one text. Each thread has its own.
struct UnigramScratch {
  struct Best {
    f64 sum = 0;
    std::int64_t begin = -1;  ///< -1: not reached yet
    token_t id = -1;
  };
  std::vector<Best> ends;
  std::vector<Segment> path;
};

/// Filled by a reader, then const.
struct Unigram {
  static constexpr f64 unknown_penalty = 10;  ///< an unknown character costs this more than the worst token

  ByteTrie trie;          ///< texts of all tokens that may be chosen
  FlatArray<f64> scores;  ///< by id; the trie's tokens have finite ones
  f64 lowest = 0;         ///< of the normal tokens' scores
  bool rounds_to_f32 = false;
  bool fuse_unknown = true;    ///< neighbouring unknown characters are one unknown token
  bool byte_fallback = false;  ///< an unknown text becomes the tokens of its bytes, if all of them exist
  token_t unknown = -1;        ///< -1: a text that needs it is an error
  std::array<token_t, 256> byte_tokens{};

  std::size_t bytes() const noexcept { return trie.bytes() + scores.bytes(); }

  /// Appends the tokens of a text (valid UTF-8). Errors: bad_metadata (an unknown token is needed and there is none).
  expected<void> encode(std::string_view text, UnigramScratch& scratch, std::vector<token_t>& out) const {
    find_best(text, scratch);
    auto& path = scratch.path;
    path.clear();
    for (std::size_t end = text.size(); end > 0;) {
      const UnigramScratch::Best& best = scratch.ends[end];
      const auto begin = static_cast<std::size_t>(best.begin);
      if (best.id < 0 && fuse_unknown && !path.empty() && path.back().id < 0)
        path.back().begin = begin;
      else
        path.push_back({begin, end, best.id});
      end = begin;
    }
    for (auto part = path.rbegin(); part != path.rend(); ++part) {
      if (part->id >= 0) {
        out.push_back(part->id);
        continue;
      }
      const std::string_view bytes = text.substr(part->begin, part->end - part->begin);
      const auto has_token = [&](char b) { return byte_tokens[static_cast<unsigned char>(b)] >= 0; };
      if (byte_fallback && std::all_of(bytes.begin(), bytes.end(), has_token))
        for (const char b : bytes) out.push_back(byte_tokens[static_cast<unsigned char>(b)]);
      else if (unknown >= 0)
        out.push_back(unknown);
      else
        return fail(Errc::bad_metadata, "text needs the unknown token, which the vocabulary lacks");
    }
    return {};
  }

 private:
  void find_best(std::string_view text, UnigramScratch& scratch) const {
    auto& ends = scratch.ends;
    ends.assign(text.size() + 1, {});
    ends[0].begin = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      const f64 before = ends[begin].sum;
      const std::size_t one = begin + utf8_length_of(text[begin]);
      const auto offer = [&](std::size_t end, f64 score, token_t id) {
        UnigramScratch::Best& best = ends[end];
        const f64 sum = rounds_to_f32 ? static_cast<f64>(static_cast<f32>(score + before)) : score + before;
        if (best.begin < 0 || sum > best.sum) best = {sum, static_cast<std::int64_t>(begin), id};
      };
      bool has_one = false;
      trie.walk(text.substr(begin), [&](std::size_t length, std::uint32_t id) {
        offer(begin + length, scores[id], static_cast<token_t>(id));
        has_one |= begin + length == one;
      });
      if (!has_one) offer(one, unknown_score(), -1);
      begin = one;
    }
  }
  f64 unknown_score() const noexcept {
    return rounds_to_f32 ? static_cast<f64>(static_cast<f32>(lowest) - static_cast<f32>(unknown_penalty))
                         : lowest - unknown_penalty;
  }
};

}  // namespace tmodel::inline v0::tokenization
