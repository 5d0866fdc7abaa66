#pragma once
// Added tokens: texts that are cut out before the model sees the rest ("<|im_start|>"). One byte trie.
// Match rules: the reference's added vocabulary (leftmost-longest, single_word, lstrip, rstrip) and llama.cpp's
// partition for GGUF files (longest text first over the whole text).

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/byte_trie.hpp"
#include "tmodel/text/range.hpp"
#include "tmodel/text/unicode.hpp"

namespace tmodel::inline v0::tokenization {

struct AddedToken {
  std::string content;
  token_t id = -1;
  bool single_word = false;  ///< not where a word character touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space behind it
  bool normalized = false;   ///< matched in normalised text
  bool special = false;
};

/// Bytes [begin, end) of a text.
using Range = Range;

/// A part of the text: an added token, or (id -1) text for the model.
struct Segment {
  std::size_t begin = 0, end = 0;
  token_t id = -1;
};

/// Where special tokens may be recognised.
struct SpecialRule {
  bool everywhere = true;          ///< false: nowhere
  std::span<const Range> plain{};  ///< if everywhere: except where one of these ranges is touched; sorted, disjoint
  bool allows(std::size_t begin, std::size_t end) const noexcept {
    if (!everywhere) return false;
    const auto range = std::partition_point(plain.begin(), plain.end(), [&](const Range& r) { return r.end <= begin; });
    return range == plain.end() || range->begin >= end;
  }
};

class AddedTokens {
 public:
  enum class Order : std::uint8_t { leftmost_longest, longest_first };

  /// tokens: those of one pass, contents as they are matched. Of equal contents the first counts.
  /// Errors: unsupported (a content over max_trie_text), out_of_memory.
  static expected<AddedTokens> build(std::span<const AddedToken> tokens, Order order) {
    AddedTokens result;
    result.order_ = order;
    std::vector<const AddedToken*> sorted;
    for (const AddedToken& token : tokens) {
      if (!token.content.empty()) sorted.push_back(&token);
    }
    std::stable_sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->content < b->content; });
    const auto twice = [](auto* a, auto* b) { return a->content == b->content; };
    sorted.erase(std::unique(sorted.begin(), sorted.end(), twice), sorted.end());
    std::vector<ByteTrie::Entry> texts;
    for (const AddedToken* token : sorted) {
      texts.push_back({token->content, static_cast<std::uint32_t>(result.entries_.size())});
      TMODEL_CHECK(result.entries_.push_back({token->id, static_cast<std::uint32_t>(token->content.size()), 0,
                                              token->single_word, token->lstrip, token->rstrip, token->special}));
    }
    TMODEL_CHECK(result.build_ranks());
    TMODEL_TRY(result.trie_, ByteTrie::build(std::move(texts), "added_tokens"));
    TMODEL_CHECK(result.entries_.shrink());
    return result;
  }

  bool empty() const noexcept { return entries_.empty(); }
  std::size_t bytes() const noexcept { return entries_.bytes() + by_rank_.bytes() + trie_.bytes(); }

  /// Appends the segments of text (valid UTF-8) in order.
  void split(std::string_view text, const SpecialRule& rule, std::vector<Segment>& out) const {
    order_ == Order::leftmost_longest ? split_leftmost(text, rule, out) : split_longest_first(text, rule, out);
  }

 private:
  struct Entry {
    token_t id;
    std::uint32_t length;
    std::uint32_t rank;  ///< place by length, the longest first, then by id
    bool single_word, lstrip, rstrip, special;
  };
  expected<void> build_ranks() {
    TMODEL_TRY(by_rank_, FlatArray<std::uint32_t>::allocate(entries_.size()));
    std::uint32_t* const begin = by_rank_.data();
    for (std::size_t i = 0; i < entries_.size(); ++i) by_rank_[i] = static_cast<std::uint32_t>(i);
    std::sort(begin, begin + by_rank_.size(), [&](std::uint32_t a, std::uint32_t b) {
      const Entry &x = entries_[a], &y = entries_[b];
      return x.length != y.length ? x.length > y.length : x.id != y.id ? x.id < y.id : a < b;
    });
    for (std::uint32_t rank = 0; rank < by_rank_.size(); ++rank) entries_[by_rank_[rank]].rank = rank;
    return {};
  }

  /// Calls found(entry) for every token that starts at `at`, shortest first.
  template <class Fn>
  void matches_at(std::string_view text, std::size_t at, Fn&& found) const {
    trie_.walk(text.substr(at), [&](std::size_t, std::uint32_t entry) { found(entries_[entry]); });
  }

  /// As the reference: white space that rstrip took is still searched for further tokens, and a special token that the
  /// rule forbids still uses up its text for shorter ones.
  void split_leftmost(std::string_view text, const SpecialRule& rule, std::vector<Segment>& out) const {
    std::size_t start = 0;
    for (std::size_t at = 0; at < text.size();) {
      const Entry* found = nullptr;
      matches_at(text, at, [&](const Entry& entry) { found = &entry; });
      if (found == nullptr) {
        ++at;
        continue;
      }
      std::size_t begin = at, end = at + found->length;
      at = end;
      if (found->special && !rule.allows(begin, end)) continue;
      if (found->single_word && ((begin > 0 && is_word(last_of_utf8(text.substr(0, begin)))) ||
                                 (end < text.size() && is_word(decode_utf8(text.substr(end))))))
        continue;
      if (found->lstrip) begin = std::max(start, space_before(text, begin));
      if (found->rstrip) end = space_behind(text, end);
      if (start < begin) out.push_back({start, begin, -1});
      if (begin < end) out.push_back({begin, end, found->id});  // else the strip before took all of it: no token
      start = end;
    }
    if (start < text.size()) out.push_back({start, text.size(), -1});
  }

  /// As llama.cpp: the longest token takes all its places first, then the next one in what is left. Each place of the
  /// text waits in a queue with its longest match; if that is cut off by a former one, it waits again with a shorter.
  void split_longest_first(std::string_view text, const SpecialRule& rule, std::vector<Segment>& out) const {
    std::vector<std::uint64_t> queue;  // rank of the entry << 32 | place: lowest first
    const auto candidate = [&](std::size_t at, std::uint32_t below) {
      const Entry* longest = nullptr;
      matches_at(text, at, [&](const Entry& entry) {
        if (entry.length < below && (!entry.special || rule.allows(at, at + entry.length))) longest = &entry;
      });
      if (longest != nullptr) queue.push_back(static_cast<std::uint64_t>(longest->rank) << 32 | at);
      return longest != nullptr;
    };
    for (std::size_t at = 0; at < text.size(); ++at) candidate(at, static_cast<std::uint32_t>(-1));
    std::make_heap(queue.begin(), queue.end(), std::greater<>());
    std::vector<bool> taken(queue.empty() ? 0 : text.size(), false);
    std::vector<Segment> cut;
    while (!queue.empty()) {
      std::pop_heap(queue.begin(), queue.end(), std::greater<>());
      const Entry& entry = entries_[by_rank_[static_cast<std::size_t>(queue.back() >> 32)]];
      const std::size_t begin = queue.back() & 0xFFFFFFFFu, end = begin + entry.length;
      queue.pop_back();
      if (taken[begin]) continue;
      if (std::find(taken.begin() + offset(begin), taken.begin() + offset(end), true) != taken.begin() + offset(end)) {
        if (candidate(begin, entry.length)) std::push_heap(queue.begin(), queue.end(), std::greater<>());
        continue;
      }
      const auto blank = [&](std::size_t i) {
        return !taken[i] && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'));
      };
      std::size_t left = begin, right = end;
      while (entry.lstrip && left > 0 && blank(left - 1)) --left;
      while (entry.rstrip && right < text.size() && blank(right)) ++right;
      std::fill(taken.begin() + offset(left), taken.begin() + offset(right), true);
      if (left < begin) cut.push_back({left, begin, dropped_id});
      cut.push_back({begin, end, entry.id});
      if (right > end) cut.push_back({end, right, dropped_id});
    }
    std::sort(cut.begin(), cut.end(), [](const Segment& a, const Segment& b) { return a.begin < b.begin; });
    std::size_t start = 0;
    for (const Segment& segment : cut) {
      if (start < segment.begin) out.push_back({start, segment.begin, -1});
      if (segment.id != dropped_id) out.push_back(segment);
      start = segment.end;
    }
    if (start < text.size()) out.push_back({start, text.size(), -1});
  }

  static constexpr token_t dropped_id = -2;
  static std::ptrdiff_t offset(std::size_t i) noexcept { return static_cast<std::ptrdiff_t>(i); }

  static std::size_t space_before(std::string_view text, std::size_t at) noexcept {
    while (at > 0 && is_space(last_of_utf8(text.substr(0, at)))) {
      do --at;
      while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u);
    }
    return at;
  }
  static std::size_t space_behind(std::string_view text, std::size_t at) noexcept {
    while (at < text.size() && is_space(decode_utf8(text.substr(at)))) at += utf8_length_of(text[at]);
    return at;
  }

  Order order_ = Order::leftmost_longest;
  FlatArray<Entry> entries_;
  FlatArray<std::uint32_t> by_rank_;  ///< rank -> entry
  ByteTrie trie_;                     ///< contents -> places in entries_
};

}  // namespace tmodel::inline v0::tokenization
