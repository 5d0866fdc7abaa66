#pragma once
// A trie over bytes with sorted edges: which of many texts a given text starts with. Built once, read by many threads.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/flat_array.hpp"

namespace tmodel::inline v0::tokenization {

/// Longest text that is searched for at every place of an input; real tokens stay below 200 bytes. Bounds that work.
inline constexpr std::size_t max_trie_text = 1024;

class ByteTrie {
 public:
  struct Entry {
    std::string_view text;  ///< not empty; only build() looks at it
    std::uint32_t value = 0;
  };

  /// Of equal texts the last one counts. Errors: unsupported (a text over max_trie_text), out_of_memory.
  static expected<ByteTrie> build(std::vector<Entry> entries, std::string_view where) {
    for (const Entry& entry : entries)
      if (entry.text.size() > max_trie_text)
        return fail(Errc::unsupported, "token is too long", where, "at most 1024 bytes",
                    std::to_string(entry.text.size()));
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
    ByteTrie trie;
    if (entries.empty()) return trie;
    struct Prefix {
      std::size_t begin, end, depth;  ///< entries that share their first `depth` bytes
    };
    std::vector<Prefix> ranges{{0, entries.size(), 0}};
    for (std::size_t node = 0; node < ranges.size(); ++node) {  // breadth first: the edges of a node stand together
      auto [begin, end, depth] = ranges[node];
      Node made{static_cast<std::uint32_t>(trie.edges_.size()), 0, none};
      for (; begin < end && entries[begin].text.size() == depth; ++begin) made.value = entries[begin].value;
      while (begin < end) {
        const char byte = entries[begin].text[depth];
        std::size_t same = begin;
        while (same < end && entries[same].text[depth] == byte) ++same;
        if (depth == 0) trie.roots_[static_cast<unsigned char>(byte)] = static_cast<std::uint32_t>(ranges.size());
        TMODEL_CHECK(
            trie.edges_.push_back({static_cast<unsigned char>(byte), static_cast<std::uint32_t>(ranges.size())}));
        ranges.push_back({begin, same, depth + 1});
        ++made.edge_count;
        begin = same;
      }
      TMODEL_CHECK(trie.nodes_.push_back(made));
    }
    TMODEL_CHECK(trie.nodes_.shrink());
    TMODEL_CHECK(trie.edges_.shrink());
    return trie;
  }

  bool empty() const noexcept { return nodes_.empty(); }
  std::size_t bytes() const noexcept { return nodes_.bytes() + edges_.bytes(); }

  /// Calls found(length, value) for every entry that text starts with, shortest first.
  template <class Fn>
  void walk(std::string_view text, Fn&& found) const {
    if (text.empty()) return;
    std::uint32_t at = roots_[static_cast<unsigned char>(text[0])];
    for (std::size_t length = 1; at != 0; ++length) {
      const Node& node = nodes_[at];
      if (node.value != none) found(length, node.value);
      if (length == text.size()) return;
      at = child(node, static_cast<unsigned char>(text[length]));
    }
  }
  /// Length of the longest entry that text starts with, and its value; 0 if there is none.
  std::size_t longest(std::string_view text, std::uint32_t& value) const {
    std::size_t longest = 0;
    walk(text, [&](std::size_t length, std::uint32_t v) { longest = length, value = v; });
    return longest;
  }

 private:
  static constexpr std::uint32_t none = 0xFFFFFFFFu;
  struct Node {
    std::uint32_t first_edge, edge_count, value;
  };
  struct Edge {
    std::uint32_t byte, node;
  };
  /// 0: none; the root is nobody's child.
  std::uint32_t child(const Node& node, unsigned byte) const noexcept {
    const auto edges = edges_.span().subspan(node.first_edge, node.edge_count);
    const auto edge =
        std::lower_bound(edges.begin(), edges.end(), byte, [](const Edge& e, unsigned b) { return e.byte < b; });
    return edge != edges.end() && edge->byte == byte ? edge->node : 0;
  }

  std::array<std::uint32_t, 256> roots_{};
  FlatArray<Node> nodes_;
  FlatArray<Edge> edges_;
};

}  // namespace tmodel::inline v0::tokenization
