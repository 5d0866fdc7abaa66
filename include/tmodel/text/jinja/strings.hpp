#pragma once
// Operations on strings that filters and methods share: case, replace, split, join, strip, find.
// Source: Python 3 library reference, "String Methods". Every result keeps the marks of the text it was made from.

#include "tmodel/text/jinja/arguments.hpp"

namespace tmodel::inline v0::jinja {

enum class Case : std::uint8_t { lower, upper, capitalize };

/// str.lower, str.upper, str.capitalize. Errors: letters whose mapping depends on context (final sigma) or has a title
/// case of its own.
inline Outcome<Value> change_case(Heap& heap, const StringObject& s, Case to) {
  TextBuilder out(heap);
  const std::string_view bytes = s.text.bytes;
  for (std::size_t i = 0; i < bytes.size() && out.ok();) {
    const CodePoint c = decode(bytes.substr(i));
    const bool marked = s.text.is_marked(i);
    const bool upper = to == Case::upper || (to == Case::capitalize && i == 0);
    if (is_stray_byte(c)) {
      out.append(bytes.substr(i, 1), marked);
    } else if (upper) {
      if (to == Case::capitalize && has_own_title_case(c.value))
        return raise("capitalizing a text that starts with this letter is not supported", Errc::unsupported);
      if (const std::string_view several = upper_expansion(c.value); !several.empty())
        out.append(several, marked);
      else
        out.append_code_point(to_upper(c.value), marked);
    } else if (c.value == 0x3A3) {
      return raise("the lower case of U+03A3 depends on its place and is not supported", Errc::unsupported);
    } else if (c.value == 0x130) {
      out.append("i\xCC\x87", marked);
    } else {
      out.append_code_point(to_lower(c.value), marked);
    }
    i += c.bytes;
  }
  return out.finish();
}

/// s.replace(from, to, count); count < 0: all.
inline Outcome<Value> replace(Heap& heap, const Text& s, std::string_view from, const Text& to, std::int64_t count) {
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.bytes.size()));
  TextBuilder out(heap);
  std::size_t at = 0;
  if (from.empty()) {  // goes before every code point and at the end
    for (; count != 0 && out.ok(); --count) {
      out.append(to);
      if (at == s.bytes.size()) return out.finish();
      const std::size_t n = decode(std::string_view(s.bytes).substr(at)).bytes;
      out.append(s, {at, at + n});
      at += n;
    }
  } else {
    for (; count != 0 && out.ok(); --count) {
      const std::size_t found = find_bytes(s.bytes, from, at);
      if (found == std::string_view::npos) break;
      TMODEL_JINJA_CHECK(heap.step());
      out.append(s, {at, found});
      out.append(to);
      at = found + from.size();
    }
  }
  out.append(s, {at, s.bytes.size()});
  return out.finish();
}

/// Bytes of s that remain after stripping white space, or the code points of `characters` if there are any given.
inline Outcome<Range> strip_range(Heap& heap, const StringObject& s, const StringObject* characters, bool left,
                                  bool right) {
  const std::size_t set_size = characters ? characters->length : 1;
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.text.bytes.size() * std::min<std::size_t>(set_size + 1, 1 << 20)));
  if (characters == nullptr) return strip_space(s.text.bytes, left, right);
  // A code point never matches inside another's bytes, so a search for its bytes is a search for it.
  const std::string_view set = characters->text.bytes;
  return strip(s.text.bytes, left, right,
               [&](CodePoint, std::string_view bytes) { return set.find(bytes) != std::string_view::npos; });
}

/// Pieces of bytes between the occurrences of mark, which is not empty; most < 0: no bound on the cuts.
inline Outcome<std::vector<Range>> split_bytes(Heap& heap, std::string_view bytes, std::string_view mark,
                                               std::int64_t most) {
  std::vector<Range> pieces;
  std::size_t at = 0;
  while (most < 0 || pieces.size() < static_cast<std::size_t>(most)) {
    TMODEL_JINJA_CHECK(heap.step());
    const std::size_t found = find_bytes(bytes, mark, at);
    if (found == std::string_view::npos) break;
    pieces.push_back({at, found});
    at = found + mark.size();
  }
  pieces.push_back({at, bytes.size()});
  return pieces;
}

/// Pieces of s as byte ranges. separator nullptr: runs of white space, no empty pieces. most < 0: no bound.
inline Outcome<std::vector<Range>> split_ranges(Heap& heap, const StringObject& s, const StringObject* separator,
                                                std::int64_t most, bool from_right) {
  const std::string_view bytes = s.text.bytes;
  TMODEL_JINJA_CHECK(heap.step_over_bytes(bytes.size()));
  std::vector<Range> pieces;
  if (separator == nullptr) {
    Range rest = strip_space(bytes);
    const std::string_view all = bytes;
    while (rest.begin < rest.end) {
      TMODEL_JINJA_CHECK(heap.step());
      if (most >= 0 && pieces.size() == static_cast<std::size_t>(most)) {
        // The remainder keeps the white space at its far end.
        pieces.push_back(from_right ? Range{0, rest.end} : Range{rest.begin, bytes.size()});
        break;
      }
      if (from_right) {
        std::size_t begin = rest.end;
        while (begin > rest.begin) {
          const CodePoint c = decode_last(all.substr(rest.begin, begin - rest.begin));
          if (is_space(c.value)) break;
          begin -= c.bytes;
        }
        pieces.push_back({begin, rest.end});
        rest.end = rest.begin + strip_space(all.substr(rest.begin, begin - rest.begin), false, true).end;
      } else {
        std::size_t end = rest.begin;
        while (end < rest.end) {
          const CodePoint c = decode(all.substr(end));
          if (is_space(c.value)) break;
          end += c.bytes;
        }
        pieces.push_back({rest.begin, end});
        rest.begin = end + strip_space(all.substr(end, rest.end - end), true, false).begin;
      }
    }
    if (from_right) std::reverse(pieces.begin(), pieces.end());
    return pieces;
  }
  const std::string_view mark = separator->text.bytes;
  if (mark.empty()) return raise("split(): empty separator");
  if (from_right && most >= 0) {  // the same on mirrored bytes: std's rfind is quadratic
    const std::string mirrored(bytes.rbegin(), bytes.rend()), mirrored_mark(mark.rbegin(), mark.rend());
    TMODEL_JINJA_TRY(pieces, split_bytes(heap, mirrored, mirrored_mark, most));
    for (Range& piece : pieces) piece = {bytes.size() - piece.end, bytes.size() - piece.begin};
    std::reverse(pieces.begin(), pieces.end());
    return pieces;
  }
  return split_bytes(heap, bytes, mark, most);
}

/// Lines of s as byte ranges, as str.splitlines cuts them.
inline Outcome<std::vector<Range>> line_ranges(Heap& heap, std::string_view s, bool keep_ends) {
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.size()));
  std::vector<Range> lines;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < s.size();) {
    const CodePoint c = decode(s.substr(i));
    const std::size_t end = i;
    i += c.bytes;
    if (!is_line_end(c.value)) continue;
    if (c.value == U'\r' && i < s.size() && s[i] == '\n') ++i;
    TMODEL_JINJA_CHECK(heap.step());
    lines.push_back({begin, keep_ends ? i : end});
    begin = i;
  }
  if (begin < s.size()) lines.push_back({begin, s.size()});
  return lines;
}

/// A list of pieces of s.
inline Outcome<Value> pieces_of(Heap& heap, const StringObject& s, const std::vector<Range>& ranges) {
  std::vector<Value> items;
  items.reserve(ranges.size());
  for (const Range& range : ranges) {
    TMODEL_JINJA_TRY(Value piece, heap.string(s.text.slice(range)));
    items.push_back(std::move(piece));
  }
  return heap.list(std::move(items));
}

}  // namespace tmodel::inline v0::jinja
