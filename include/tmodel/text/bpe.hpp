#pragma once
// Byte-pair encoding of one piece of text. Two sources of merges: a ranked list of pairs (tokenizer.json, GGUF "gpt2"),
// or the scores of the tokens that pairs join to (GGUF "llama", SentencePiece). Lowest rank first, leftmost on ties
// (Sennrich et al. 2016, arXiv 1508.07909). A heap keeps long words at n log n; short ones are scanned.

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "tmodel/text/byte_level.hpp"
#include "tmodel/text/sentencepiece_rules.hpp"
#include "tmodel/text/vocabulary.hpp"

namespace tmodel::inline v0::tokenization {

/// What a pair of neighbours becomes, and how early.
struct Merge {
  static constexpr std::uint32_t never = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t rank = never;
  token_t id = -1;
};

/// (left id, right id) -> Merge; open addressing.
class PairTable {
 public:
  /// Room for n pairs. Errors: out_of_memory.
  static expected<PairTable> allocate(std::size_t n) {
    PairTable table;
    TMODEL_TRY(table.slots_, FlatArray<Slot>::allocate(table_size(n)));
    return table;
  }
  /// A pair that is there already takes the new merge, as in the reference. Errors: bad_file (made to collide).
  expected<void> insert(token_t left, token_t right, Merge merge) {
    const std::uint64_t key = key_of(left, right);
    std::size_t slot = slot_of(key), probes = 0;
    for (; slots_[slot].key != 0 && slots_[slot].key != key; slot = (slot + 1) & (slots_.size() - 1))
      if (++probes > max_probe) return fail(Errc::bad_file, "merges were made to collide in a hash table");
    slots_[slot] = {key, merge};
    return {};
  }
  Merge find(token_t left, token_t right) const noexcept {
    if (slots_.empty()) return {};
    const std::uint64_t key = key_of(left, right);
    std::size_t slot = slot_of(key);
    for (; slots_[slot].key != 0; slot = (slot + 1) & (slots_.size() - 1))
      if (slots_[slot].key == key) return slots_[slot].merge;
    return {};
  }
  std::size_t bytes() const noexcept { return slots_.bytes(); }

 private:
  struct Slot {
    std::uint64_t key = 0;  ///< left << 32 | right, plus 1; 0: free
    Merge merge;
  };
  static std::uint64_t key_of(token_t left, token_t right) noexcept {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right)) + 1;
  }
  std::size_t slot_of(std::uint64_t key) const noexcept {
    key *= 0x9E3779B97F4A7C15u;
    key ^= key >> 32;
    key *= 0xD6E8FEB86659FD93u;
    return static_cast<std::size_t>(key >> 32) & (slots_.size() - 1);
  }
  FlatArray<Slot> slots_;
};

/// Part of a piece on its way to a token.
struct Symbol {
  std::uint32_t begin = 0, end = 0;  ///< in the piece
  token_t id = -1;                   ///< -1: no token of the vocabulary (only with scores)
  bool whole = false;                ///< a user-defined symbol: it merges with nothing
};

/// Room for one piece, reused from piece to piece. Each thread has its own.
struct BpeScratch {
  struct Entry {
    std::uint32_t rank, position;
    token_t id;
  };
  struct Links {
    std::int32_t previous, next;  ///< -1: none; next of a merged-away symbol is `gone`
  };
  struct Split {
    std::uint32_t begin, middle, end;
  };
  std::vector<Symbol> symbols;
  std::vector<Links> links;
  std::vector<Entry> heap;
  std::vector<Split> splits;  ///< pairs that joined to an unused token, in the order in which they were seen
};

/// The model of a BPE vocabulary. Filled by a reader, then const.
struct Bpe {
  bool byte_level = false;       ///< symbols are bytes of the piece, else characters
  bool by_score = false;         ///< merges come from `priority`, else from `merges`
  bool ignore_merges = false;    ///< a piece that is a token is not merged
  bool byte_fallback = false;    ///< unknown characters become the tokens <0xHH> of their bytes
  bool fuse_unknown = false;     ///< neighbouring unknown characters become one unknown token
  bool names_unknown = false;    ///< the file has an unknown token; if `unknown` is -1, the vocabulary lacks it
  bool splits_at_marks = false;  ///< no merge joins a character with a U+2581 behind it: words are independent
  token_t unknown = -1;
  std::array<token_t, 256> byte_tokens{};  ///< <0xHH>, -1: none
  std::array<token_t, 256> units{};        ///< token of a byte (byte_level) or of an ASCII character, -1: none
  PairTable merges;
  FlatArray<std::uint32_t> priority;  ///< by id: place of its score, 0 the highest; equal scores share a place
  ByteTrie user_defined;              ///< by_score: symbols that are always cut out, with their ids
  bool splits_unused = false;         ///< by_score: tokens flagged token_unused only lead to others

  std::size_t bytes() const noexcept { return merges.bytes() + priority.bytes() + user_defined.bytes(); }

  /// Fills `priority` for n tokens: merging needs the order of the scores only. score_of(id) is a number, not NaN.
  /// Errors: out_of_memory.
  template <class ScoreOf>
  expected<void> rank_scores(std::size_t n, ScoreOf&& score_of) {
    TMODEL_TRY(auto order, FlatArray<token_t>::allocate(n));
    for (std::size_t id = 0; id < n; ++id) order[id] = static_cast<token_t>(id);
    const auto score = [&](token_t id) { return score_of(static_cast<std::size_t>(id)); };
    std::sort(order.data(), order.data() + n, [&](token_t a, token_t b) { return score(a) > score(b); });
    TMODEL_TRY(priority, FlatArray<std::uint32_t>::allocate(n));
    std::uint32_t place = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i > 0 && score(order[i]) != score(order[i - 1])) ++place;
      priority[static_cast<std::size_t>(order[i])] = place;
    }
    return {};
  }

  /// Sets what follows from vocabulary and merges: units, splits_at_marks, token_whole. Call last.
  void finish(Vocabulary& vocabulary);

  /// Appends the tokens of one piece (valid UTF-8, or any bytes for byte_level; at most 2^31 - 1 bytes).
  /// Errors: bad_metadata (an unknown token is needed and the vocabulary lacks it).
  expected<void> encode(const Vocabulary& vocabulary, std::string_view piece, BpeScratch& scratch,
                        std::vector<token_t>& out) const;

 private:
  expected<void> encode_word(const Vocabulary& vocabulary, std::string_view word, BpeScratch& scratch,
                             std::vector<token_t>& out) const;
  bool start_symbols(const Vocabulary& vocabulary, std::string_view word, std::vector<Symbol>& symbols) const;
  expected<void> give_out(const Vocabulary& vocabulary, std::string_view word, const Symbol& symbol,
                          const BpeScratch& scratch, std::vector<token_t>& out) const;
};

namespace detail {
struct MergeByRank {
  const PairTable& merges;
  Merge operator()(const Symbol& left, const Symbol& right) const noexcept { return merges.find(left.id, right.id); }
};
struct MergeByScore {
  const Vocabulary& vocabulary;
  const FlatArray<std::uint32_t>& priority;
  std::string_view word;
  std::vector<BpeScratch::Split>* splits;  ///< nullptr: the vocabulary has no unused tokens
  Merge operator()(const Symbol& left, const Symbol& right) const {
    if (left.whole || right.whole) return {};
    const token_t id = vocabulary.find(word.substr(left.begin, right.end - left.begin));
    if (id < 0) return {};
    if (splits != nullptr && (vocabulary.flags(id) & token_unused) != 0)
      splits->push_back({left.begin, right.begin, right.end});
    return {priority[static_cast<std::size_t>(id)], id};
  }
};

inline constexpr std::size_t short_word = 24;  // symbols up to which scanning beats the heap

template <class MergeOf>
void merge_short(std::vector<Symbol>& symbols, const MergeOf& merge_of) {
  std::array<Merge, short_word> merges;
  std::size_t n = symbols.size();
  for (std::size_t i = 0; i + 1 < n; ++i) merges[i] = merge_of(symbols[i], symbols[i + 1]);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == Merge::never) break;
    symbols[best].end = symbols[best + 1].end;
    symbols[best].id = merges[best].id;
    --n;
    for (std::size_t i = best + 1; i < n; ++i) symbols[i] = symbols[i + 1];
    for (std::size_t i = best + 1; i + 1 < n; ++i) merges[i] = merges[i + 1];
    if (best > 0) merges[best - 1] = merge_of(symbols[best - 1], symbols[best]);
    if (best + 1 < n) merges[best] = merge_of(symbols[best], symbols[best + 1]);
  }
  symbols.resize(n);
}

template <class MergeOf>
void merge_long(BpeScratch& scratch, const MergeOf& merge_of) {
  constexpr std::int32_t gone = -2;
  auto& symbols = scratch.symbols;
  auto& links = scratch.links;
  auto& heap = scratch.heap;
  const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  const auto later = [](const BpeScratch::Entry& a, const BpeScratch::Entry& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  links.resize(symbols.size());
  heap.clear();
  const auto n = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t i = 0; i < n; ++i) {
    links[at(i)] = {i - 1, i + 1 < n ? i + 1 : -1};
    if (i + 1 == n) break;
    const Merge merge = merge_of(symbols[at(i)], symbols[at(i + 1)]);
    if (merge.rank != Merge::never) heap.push_back({merge.rank, static_cast<std::uint32_t>(i), merge.id});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto push = [&](std::int32_t left, std::int32_t right) {
    const Merge merge = merge_of(symbols[at(left)], symbols[at(right)]);
    if (merge.rank == Merge::never) return;
    heap.push_back({merge.rank, static_cast<std::uint32_t>(left), merge.id});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const BpeScratch::Entry top = heap.back();
    heap.pop_back();
    const auto left = static_cast<std::int32_t>(top.position);
    const std::int32_t right = links[at(left)].next;
    if (right < 0) continue;  // merged away, or the last one by now
    const Merge merge = merge_of(symbols[at(left)], symbols[at(right)]);
    if (merge.id != top.id || merge.rank != top.rank) continue;  // the pair has changed since
    symbols[at(left)].end = symbols[at(right)].end;
    symbols[at(left)].id = top.id;
    const std::int32_t after = links[at(right)].next;
    links[at(right)].next = gone;
    links[at(left)].next = after;
    if (after >= 0) links[at(after)].previous = left;
    if (links[at(left)].previous >= 0) push(links[at(left)].previous, left);
    if (after >= 0) push(left, after);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < symbols.size(); ++i)
    if (links[i].next != gone) symbols[kept++] = symbols[i];
  symbols.resize(kept);
}

template <class MergeOf>
void merge_symbols(BpeScratch& scratch, const MergeOf& merge_of) {
  scratch.symbols.size() <= short_word ? merge_short(scratch.symbols, merge_of) : merge_long(scratch, merge_of);
}
}  // namespace detail

/// The first symbols of a word. With ranks, unknown characters are replaced here, before merging, as the reference
/// does: an unknown token waits until the next known character, so byte tokens in between come before it.
inline bool Bpe::start_symbols(const Vocabulary& vocabulary, std::string_view word,
                               std::vector<Symbol>& symbols) const {
  symbols.clear();
  bool waiting = false;
  const auto put = [&](std::size_t begin, std::size_t end, token_t id) {
    symbols.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), id});
  };
  for (std::size_t i = 0; i < word.size();) {
    std::uint32_t defined = 0;
    if (const std::size_t n = user_defined.longest(word.substr(i), defined)) {
      symbols.push_back(
          {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i + n), static_cast<token_t>(defined), true});
      i += n;
      continue;
    }
    const auto first = static_cast<unsigned char>(word[i]);
    const std::size_t n = byte_level ? 1 : utf8_length_of(word[i]);
    const token_t id = n == 1 ? units[first] : vocabulary.find(word.substr(i, n));
    if (id >= 0 || by_score) {
      if (waiting) put(i, i, unknown);
      waiting = false;
      put(i, i + n, id);
      i += n;
      continue;
    }
    char mapped[4];
    std::string_view bytes = word.substr(i, n);
    if (byte_level) bytes = std::string_view(mapped, encode_utf8(byte_alphabet[first], mapped));
    const auto has_token = [&](char b) { return byte_tokens[static_cast<unsigned char>(b)] >= 0; };
    if (byte_fallback && std::all_of(bytes.begin(), bytes.end(), has_token)) {
      for (const char b : bytes) put(i, i, byte_tokens[static_cast<unsigned char>(b)]);
    } else if (names_unknown) {
      if (unknown < 0) return false;
      if (waiting && !fuse_unknown) put(i, i, unknown);
      waiting = true;
    }
    i += n;
  }
  if (waiting) put(word.size(), word.size(), unknown);
  return true;
}

inline expected<void> Bpe::encode_word(const Vocabulary& vocabulary, std::string_view word, BpeScratch& scratch,
                                       std::vector<token_t>& out) const {
  if (!start_symbols(vocabulary, word, scratch.symbols))
    return fail(Errc::bad_metadata, "text needs the unknown token, which the vocabulary lacks", "model.unk_token");
  if (!by_score) {
    detail::merge_symbols(scratch, detail::MergeByRank{merges});
    for (const Symbol& symbol : scratch.symbols) out.push_back(symbol.id);
    return {};
  }
  scratch.splits.clear();
  detail::merge_symbols(scratch,
                        detail::MergeByScore{vocabulary, priority, word, splits_unused ? &scratch.splits : nullptr});
  for (const Symbol& symbol : scratch.symbols) TMODEL_CHECK(give_out(vocabulary, word, symbol, scratch, out));
  return {};
}

/// Appends the tokens of a symbol that scores have merged: its own, those it was made of if that one is unused, those
/// of its bytes, or the unknown one.
inline expected<void> Bpe::give_out(const Vocabulary& vocabulary, std::string_view word, const Symbol& symbol,
                                    const BpeScratch& scratch, std::vector<token_t>& out) const {
  const auto text_of = [&](std::size_t begin, std::size_t end) { return word.substr(begin, end - begin); };
  const std::string_view text = text_of(symbol.begin, symbol.end);
  if (symbol.id >= 0 && (vocabulary.flags(symbol.id) & token_unused) != 0) {
    const auto split = std::find_if(scratch.splits.rbegin(), scratch.splits.rend(),
                                    [&](const BpeScratch::Split& s) { return text_of(s.begin, s.end) == text; });
    if (split != scratch.splits.rend()) {
      const Symbol left{split->begin, split->middle, vocabulary.find(text_of(split->begin, split->middle))};
      const Symbol right{split->middle, split->end, vocabulary.find(text_of(split->middle, split->end))};
      TMODEL_CHECK(give_out(vocabulary, word, left, scratch, out));
      return give_out(vocabulary, word, right, scratch, out);
    }
  }
  if (symbol.id >= 0) {
    out.push_back(symbol.id);
    return {};
  }
  const auto has_token = [&](char b) { return byte_tokens[static_cast<unsigned char>(b)] >= 0; };
  if (byte_fallback && std::all_of(text.begin(), text.end(), has_token)) {
    for (const char b : text) out.push_back(byte_tokens[static_cast<unsigned char>(b)]);
  } else if (unknown < 0) {
    return fail(Errc::bad_metadata, "text needs the unknown token, which the vocabulary lacks");
  } else if (!fuse_unknown || symbol.begin == 0 || out.empty() || out.back() != unknown) {
    out.push_back(unknown);
  }
  return {};
}

inline expected<void> Bpe::encode(const Vocabulary& vocabulary, std::string_view piece, BpeScratch& scratch,
                                  std::vector<token_t>& out) const {
  const auto whole = [&](std::string_view text, std::uint32_t flag) {
    const token_t id = vocabulary.find(text);
    if (id < 0 || (vocabulary.flags(id) & flag) == 0) return false;
    out.push_back(id);
    return true;
  };
  if (piece.empty() || (ignore_merges && whole(piece, token_plain))) return {};
  if (!splits_at_marks)
    return whole(piece, token_whole) ? expected<void>{} : encode_word(vocabulary, piece, scratch, out);
  for (std::size_t begin = 0; begin < piece.size();) {
    std::size_t end = begin;
    while (piece.substr(end, space_mark.size()) == space_mark) end += space_mark.size();
    end = std::min(piece.find(space_mark, end), piece.size());
    const std::string_view word = piece.substr(begin, end - begin);
    if (!whole(word, token_whole)) TMODEL_CHECK(encode_word(vocabulary, word, scratch, out));
    begin = end;
  }
  return {};
}

inline void Bpe::finish(Vocabulary& vocabulary) {
  for (unsigned b = 0; b < 256; ++b) {
    const char text = static_cast<char>(b);
    units[b] = byte_level || b < 0x80 ? vocabulary.find(std::string_view(&text, 1)) : -1;
  }
  splits_at_marks = !byte_level && vocabulary.find(space_mark) >= 0;
  for (token_t id = 0; splits_at_marks && id < vocabulary.size(); ++id) {
    if ((vocabulary.flags(id) & token_in_model) == 0) continue;
    const std::string_view text = vocabulary.text(id);
    std::size_t at = 0;
    while (text.substr(at, space_mark.size()) == space_mark) at += space_mark.size();
    splits_at_marks = text.find(space_mark, at) == std::string_view::npos;
  }
  // A piece that is such a token needs no merging: most words of real text. Long tokens are rare; they stay unmarked.
  BpeScratch scratch;
  std::vector<token_t> out;
  for (token_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    if ((vocabulary.flags(id) & (token_in_model | token_literal)) != token_in_model || text.empty() || text.size() > 24)
      continue;
    out.clear();
    if (encode_word(vocabulary, text, scratch, out) && out.size() == 1 && out[0] == id)
      vocabulary.set_flags(id, token_whole);
  }
}

}  // namespace tmodel::inline v0::tokenization
