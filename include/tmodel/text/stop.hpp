#pragma once
// When an answer ends: end tokens, stop strings found across token borders, a number of tokens, the caller's wish.
// Stop strings are matched by the automaton of Aho and Corasick 1975, byte by byte.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"
#include "tmodel/core/function_ref.hpp"

namespace tmodel::inline v0 {

/// Sum of the lengths of all stop strings, in bytes.
inline constexpr std::size_t max_stop_bytes = std::size_t{1} << 16;

/// Cuts a stream of text before the first stop string that completes in it. Text that may still become one is held
/// back, no more than that.
class StopStrings {
 public:
  /// Errors: bad_argument (an empty string, one that begins inside a character, too many bytes), out_of_memory.
  static expected<StopStrings> create(std::span<const std::string> strings) {
    return guard([&]() -> expected<StopStrings> {
      StopStrings stops;
      std::size_t bytes = 0, longest = 0;
      for (const std::string& s : strings) {
        if (s.empty()) return fail(Errc::bad_argument, "a stop string is empty", "stop");
        if ((static_cast<unsigned char>(s[0]) & 0xC0) == 0x80)  // the text before it would end in half a character
          return fail(Errc::bad_argument, "a stop string begins inside a character", "stop", "UTF-8");
        bytes += s.size();
        longest = std::max(longest, s.size());
        if (bytes > max_stop_bytes)
          return fail(Errc::bad_argument, "stop strings are too long", "stop", "at most 65536 bytes in all");
      }
      stops.nodes_.reserve(bytes + 1);
      stops.nodes_.emplace_back();
      for (const std::string& s : strings) stops.add(s);
      stops.link();
      constexpr std::size_t usual_piece = 4096;  // a longer piece of text makes push() allocate once
      stops.held_.reserve(longest + usual_piece);
      stops.out_.reserve(longest + usual_piece);
      return stops;
    });
  }
  StopStrings(StopStrings&&) noexcept = default;
  StopStrings& operator=(StopStrings&&) noexcept = default;

  /// Takes more text; returns what may be shown now, valid until the next call. After a stop it returns nothing.
  std::string_view push(std::string_view text) {
    out_.clear();
    if (stopped_) return out_;
    held_ += text;
    const std::size_t first = held_.size() - text.size();  // bytes before it are in the automaton already
    for (std::size_t i = first; i < held_.size(); ++i) {
      state_ = next(state_, held_[i]);
      const Node& node = nodes_[state_];
      if (node.match == 0) continue;
      stopped_ = true;
      held_.resize(i + 1 - node.match);
      std::swap(out_, held_);
      held_.clear();
      return out_;
    }
    const std::size_t shown = held_.size() - nodes_[state_].depth;
    out_.append(held_, 0, shown);
    held_.erase(0, shown);
    return out_;
  }

  /// The end of the text: what was held back, valid until the next call. The object is then as new.
  std::string_view finish() {
    std::swap(out_, held_);
    held_.clear();
    if (stopped_) out_.clear();
    stopped_ = false;
    state_ = 0;
    return out_;
  }

  /// A stop string was found.
  bool stopped() const noexcept { return stopped_; }
  /// Bytes that are held back now.
  std::size_t held() const noexcept { return held_.size(); }

 private:
  struct Node {
    std::uint32_t parent = 0, fallback = 0;
    std::uint32_t first_child = 0, next_sibling = 0;
    std::uint32_t depth = 0;  ///< bytes from the root
    std::uint32_t match = 0;  ///< length of the longest stop string that ends here, 0: none
    char byte = 0;
  };
  StopStrings() = default;

  std::uint32_t child(std::uint32_t node, char byte) const noexcept {
    std::uint32_t c = nodes_[node].first_child;
    while (c != 0 && nodes_[c].byte != byte) c = nodes_[c].next_sibling;
    return c;
  }
  std::uint32_t next(std::uint32_t node, char byte) const noexcept {
    for (;; node = nodes_[node].fallback) {
      if (const std::uint32_t c = child(node, byte)) return c;
      if (node == 0) return 0;
    }
  }
  void add(std::string_view s) {
    std::uint32_t node = 0;
    for (const char byte : s) {
      std::uint32_t c = child(node, byte);
      if (c == 0) {
        c = static_cast<std::uint32_t>(nodes_.size());
        Node fresh;
        fresh.parent = node;
        fresh.next_sibling = nodes_[node].first_child;
        fresh.depth = nodes_[node].depth + 1;
        fresh.byte = byte;
        nodes_.push_back(fresh);
        nodes_[node].first_child = c;
      }
      node = c;
    }
    nodes_[node].match = nodes_[node].depth;
  }
  /// Sets where each node falls back to: the longest proper suffix that is in the tree. Breadth first, so that shorter
  /// ones are there.
  void link() {
    std::vector<std::uint32_t> order{0};
    order.reserve(nodes_.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      Node& node = nodes_[order[i]];
      if (node.depth > 1) node.fallback = next(nodes_[node.parent].fallback, node.byte);
      node.match = std::max(node.match, nodes_[node.fallback].match);
      for (std::uint32_t c = node.first_child; c != 0; c = nodes_[c].next_sibling) order.push_back(c);
    }
  }

  std::vector<Node> nodes_;
  std::uint32_t state_ = 0;
  bool stopped_ = false;
  std::string held_, out_;
};

/// Why an answer ended. The last two come from the session, not from a rule.
enum class StopReason : std::uint8_t { none, end_token, stop_string, max_tokens, caller, context_full, cancelled };

constexpr std::string_view name_of(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::none:
      return "not ended";
    case StopReason::end_token:
      return "end of text";
    case StopReason::stop_string:
      return "stop string";
    case StopReason::max_tokens:
      return "token limit";
    case StopReason::caller:
      return "stopped by the caller";
    case StopReason::context_full:
      return "context full";
    case StopReason::cancelled:
      return "cancelled";
  }
  return "";
}

/// The rules by which an answer ends. end_tokens: the union of what configuration, generation configuration, tokenizer
/// and template name.
struct StopOptions {
  std::span<const token_t> end_tokens{};
  std::span<const std::string> stop_strings{};
  int max_tokens = 0;  ///< 0: no bound
  /// Asked after each token but an end token, with the text that it made visible.
  FunctionRef<bool(token_t, std::string_view)> is_over = {};
};

/// Applies the rules to one answer, token by token.
class StopRules {
 public:
  struct Step {
    std::string_view text;  ///< what may be shown now, valid until the next call
    StopReason reason = StopReason::none;
  };

  /// Errors: those of StopStrings, bad_argument (max_tokens below 0).
  static expected<StopRules> create(const StopOptions& options) {
    return guard([&]() -> expected<StopRules> {
      if (options.max_tokens < 0) return fail(Errc::bad_argument, "the number of tokens is negative", "max_tokens");
      TMODEL_TRY(StopStrings strings, StopStrings::create(options.stop_strings));
      StopRules rules(std::move(strings));
      rules.end_tokens_.assign(options.end_tokens.begin(), options.end_tokens.end());
      std::sort(rules.end_tokens_.begin(), rules.end_tokens_.end());
      rules.max_tokens_ = options.max_tokens;
      rules.is_over_ = options.is_over;
      return rules;
    });
  }

  bool is_end(token_t id) const noexcept { return std::binary_search(end_tokens_.begin(), end_tokens_.end(), id); }

  /// Takes a token and the text that it completed (of an end token: ignored). After a reason other than none only
  /// finish() is left; the held text is then lost if the reason is a stop string, and shown by finish() otherwise.
  Step push(token_t id, std::string_view text) {
    if (is_end(id)) return {{}, StopReason::end_token};
    ++tokens_;
    const std::string_view shown = strings_.push(text);
    const bool is_over = is_over_ && is_over_(id, shown);
    if (strings_.stopped()) return {shown, StopReason::stop_string};
    if (is_over) return {shown, StopReason::caller};
    return {shown, max_tokens_ > 0 && tokens_ >= max_tokens_ ? StopReason::max_tokens : StopReason::none};
  }
  /// Text that no further token completes: the rest of a stream, before finish().
  std::string_view push_rest(std::string_view text) { return strings_.push(text); }
  /// What was held back, once the answer has ended. The object is then as new.
  std::string_view finish() {
    tokens_ = 0;
    return strings_.finish();
  }
  int tokens() const noexcept { return tokens_; }  ///< taken, end tokens not counted

 private:
  explicit StopRules(StopStrings strings) : strings_(std::move(strings)) {}
  StopStrings strings_;
  std::vector<token_t> end_tokens_;
  int max_tokens_ = 0, tokens_ = 0;
  FunctionRef<bool(token_t, std::string_view)> is_over_;
};

}  // namespace tmodel::inline v0
