#pragma once
// A string that remembers which of its bytes came from message content, and Python's view of UTF-8 text.
// Sources: Python 3 library reference (str: code points, whitespace, line boundaries); Unicode 14.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"
#include "tmodel/text/range.hpp"

namespace tmodel::inline v0 {

namespace jinja {

/// One code point of UTF-8 text. A byte b that belongs to no valid sequence counts as the code point 0xDC00 + b, as
/// with Python's surrogateescape.
struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;
};

/// The code point at the start of s, which must not be empty.
inline CodePoint decode(std::string_view s) noexcept {
  const std::size_t n = tmodel::detail::utf8_length(s);
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(s[i])); };
  if (n == 0) return {0xDC00 + byte(0), 1};
  if (n == 1) return {byte(0), 1};
  char32_t value = byte(0) & (0xFFu >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) value = (value << 6) | (byte(i) & 0x3Fu);
  return {value, n};
}

/// Appends c, a code point other than a surrogate, as UTF-8.
inline void encode(char32_t c, std::string& out) {
  const auto put = [&](char32_t bits) { out += static_cast<char>(static_cast<unsigned char>(bits)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

inline std::size_t count_code_points(std::string_view s) noexcept {
  std::size_t n = 0;
  for (std::size_t i = 0; i < s.size(); i += decode(s.substr(i)).bytes) ++n;
  return n;
}

/// Byte offset of the code point with this index; s.size() if there are fewer.
inline std::size_t offset_of(std::string_view s, std::size_t index) noexcept {
  std::size_t i = 0;
  for (; index != 0 && i < s.size(); --index) i += decode(s.substr(i)).bytes;
  return i;
}

/// Whether c stands for a byte that is not UTF-8.
constexpr bool is_stray_byte(CodePoint c) noexcept { return c.bytes == 1 && c.value >= 0x80; }

/// str.isspace of one code point; the regular expression \s matches the same set.
constexpr bool is_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// Where str.splitlines splits ("\r\n" counts once).
constexpr bool is_line_end(char32_t c) noexcept {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/// The code point that ends at s.size(), s not empty.
inline CodePoint decode_last(std::string_view s) noexcept {
  for (std::size_t n = std::min<std::size_t>(4, s.size()); n > 1; --n)
    if (tmodel::detail::utf8_length(s.substr(s.size() - n)) == n) return decode(s.substr(s.size() - n));
  return decode(s.substr(s.size() - 1));
}

/// Bytes [begin, end) that remain when code points satisfying `drop` are taken from the chosen ends.
template <class Drop>
Range strip(std::string_view s, bool left, bool right, Drop&& drop) {
  Range kept{0, s.size()};
  while (left && kept.begin < kept.end) {
    const CodePoint c = decode(s.substr(kept.begin, kept.end - kept.begin));
    if (!drop(c, s.substr(kept.begin, c.bytes))) break;
    kept.begin += c.bytes;
  }
  while (right && kept.begin < kept.end) {
    const CodePoint c = decode_last(s.substr(kept.begin, kept.end - kept.begin));
    if (!drop(c, s.substr(kept.end - c.bytes, c.bytes))) break;
    kept.end -= c.bytes;
  }
  return kept;
}

inline Range strip_space(std::string_view s, bool left = true, bool right = true) {
  return strip(s, left, right, [](CodePoint c, std::string_view) { return is_space(c.value); });
}

/// First place of needle in s at or after `from`, npos if none. Linear in s (Knuth, Morris, Pratt 1977): std's search
/// is quadratic on texts such as "aaa…b", and both sides may come from a hostile template.
inline std::size_t find_bytes(std::string_view s, std::string_view needle, std::size_t from = 0) {
  constexpr std::size_t short_needle = 16;
  if (needle.size() <= short_needle) return s.find(needle, from);
  if (from > s.size() || s.size() - from < needle.size()) return std::string_view::npos;
  std::vector<std::uint32_t> border(needle.size(), 0);
  for (std::size_t i = 1, k = 0; i < needle.size(); ++i) {
    while (k != 0 && needle[i] != needle[k]) k = border[k - 1];
    if (needle[i] == needle[k]) ++k;
    border[i] = static_cast<std::uint32_t>(k);
  }
  for (std::size_t i = from, k = 0; i < s.size(); ++i) {
    while (k != 0 && s[i] != needle[k]) k = border[k - 1];
    if (s[i] == needle[k]) ++k;
    if (k == needle.size()) return i + 1 - k;
  }
  return std::string_view::npos;
}

/// UTF-8 bytes and the marked ranges in them: sorted, disjoint, not empty, merged where they touch.
struct Text {
  std::string bytes;
  std::vector<Range> marks;

  /// All of s, marked or not.
  static Text of(std::string_view s, bool marked = false) {
    Text text;
    text.append(s, marked);
    return text;
  }

  void append(std::string_view s, bool marked = false) {
    if (marked && !s.empty()) mark({bytes.size(), bytes.size() + s.size()});
    bytes += s;
  }

  /// Appends bytes [begin, end) of another text with their marks.
  void append(const Text& from, Range part) {
    if (part.begin == part.end) return;
    const std::size_t base = bytes.size();
    bytes.append(from.bytes, part.begin, part.end - part.begin);
    auto mark_it = std::upper_bound(from.marks.begin(), from.marks.end(), part.begin,
                                    [](std::size_t at, const Range& range) { return at < range.end; });
    for (; mark_it != from.marks.end() && mark_it->begin < part.end; ++mark_it)
      mark({base + std::max(mark_it->begin, part.begin) - part.begin,
            base + std::min(mark_it->end, part.end) - part.begin});
  }
  void append(const Text& from) { append(from, {0, from.bytes.size()}); }

  Text slice(Range part) const {
    Text text;
    text.append(*this, part);
    return text;
  }

  bool is_marked(std::size_t at) const noexcept {
    const auto it = std::upper_bound(marks.begin(), marks.end(), at,
                                     [](std::size_t offset, const Range& range) { return offset < range.end; });
    return it != marks.end() && it->begin <= at;
  }

  /// What a budget is charged for this text.
  std::size_t cost() const noexcept { return bytes.size() + marks.size() * sizeof(Range); }

 private:
  void mark(Range range) {
    if (!marks.empty() && marks.back().end == range.begin)
      marks.back().end = range.end;
    else
      marks.push_back(range);
  }
};

}  // namespace jinja
}  // namespace tmodel::inline v0
