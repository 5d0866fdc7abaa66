#pragma once
// Unicode for tokenizers: UTF-8 in and out, character classes as the reference has them, normal forms.
// The only utf8proc include of the library (2.8: Unicode 15). Classes follow Rust's std (White_Space, is_numeric) and
// UTS #18 (word).

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0::tokenization {

inline constexpr std::string_view replacement_text = "\xEF\xBF\xBD";  // U+FFFD

/// What stands at the start of some bytes.
struct Utf8Step {
  std::uint32_t length = 0;  ///< bytes of the character, or of the longest part of one if it is not valid
  bool valid = false;
  bool truncated = false;  ///< not valid, but more bytes could complete it
};

/// Looks at the first character of s (not empty). An invalid sequence has the length of its maximal subpart, which
/// one U+FFFD replaces (Unicode 3.9, as Python and Rust do).
inline Utf8Step step_utf8(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80u) return {1, true, false};
  if (lead < 0xC2u || lead > 0xF4u) return {1, false, false};
  const std::uint32_t length = lead < 0xE0u ? 2 : lead < 0xF0u ? 3 : 4;
  unsigned low = 0x80u, high = 0xBFu;  // of the second byte: no overlong forms, no surrogates, nothing past U+10FFFF
  if (lead == 0xE0u) low = 0xA0u;
  if (lead == 0xEDu) high = 0x9Fu;
  if (lead == 0xF0u) low = 0x90u;
  if (lead == 0xF4u) high = 0x8Fu;
  for (std::uint32_t i = 1; i < length; ++i) {
    if (i == s.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80u, high = 0xBFu;
  }
  return {length, true, false};
}

/// Bytes of the character that starts at `lead` in valid UTF-8.
constexpr std::uint32_t utf8_length_of(char lead) noexcept {
  const auto b = static_cast<unsigned char>(lead);
  return b < 0x80u ? 1 : b < 0xE0u ? 2 : b < 0xF0u ? 3 : 4;
}

/// The character at the start of valid, non-empty UTF-8.
inline char32_t decode_utf8(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(s[i])); };
  switch (utf8_length_of(s[0])) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    case 3:
      return (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    default:
      return (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
  }
}

/// The last character of valid, non-empty UTF-8.
inline char32_t last_of_utf8(std::string_view s) noexcept {
  std::size_t at = s.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(s[at]) & 0xC0u) == 0x80u) --at;
  return decode_utf8(s.substr(at));
}

/// Writes c as UTF-8 into 4 bytes of room; returns how many were used.
inline std::uint32_t encode_utf8(char32_t c, char* out) noexcept {
  const auto put = [&](int i, char32_t bits) { out[i] = static_cast<char>(static_cast<unsigned char>(bits)); };
  if (c < 0x80u) return (put(0, c), 1);
  if (c < 0x800u) return (put(0, 0xC0u | c >> 6), put(1, 0x80u | (c & 0x3Fu)), 2);
  if (c < 0x10000u) return (put(0, 0xE0u | c >> 12), put(1, 0x80u | (c >> 6 & 0x3Fu)), put(2, 0x80u | (c & 0x3Fu)), 3);
  put(0, 0xF0u | c >> 18), put(1, 0x80u | (c >> 12 & 0x3Fu));
  return (put(2, 0x80u | (c >> 6 & 0x3Fu)), put(3, 0x80u | (c & 0x3Fu)), 4);
}
inline void append_utf8(std::string& out, char32_t c) {
  char bytes[4];
  out.append(bytes, encode_utf8(c, bytes));
}

/// Length of the longest prefix of s that is valid UTF-8.
inline std::size_t valid_prefix(std::string_view s) noexcept {
  std::size_t i = 0;
  while (i < s.size()) {
    if (s.size() - i >= 8 && (load_unaligned<std::uint64_t>(s.data() + i) & 0x8080808080808080u) == 0) {
      i += 8;
      continue;
    }
    const Utf8Step step = step_utf8(s.substr(i));
    if (!step.valid) return i;
    i += step.length;
  }
  return i;
}

/// Appends bytes, each maximal invalid part of them replaced by U+FFFD.
inline void append_lossy(std::string& out, std::string_view bytes) {
  for (;;) {
    const std::size_t good = valid_prefix(bytes);
    out.append(bytes.substr(0, good));
    bytes.remove_prefix(good);
    if (bytes.empty()) return;
    bytes.remove_prefix(step_utf8(bytes).length);
    out.append(replacement_text);
  }
}

/// Unicode White_Space.
constexpr bool is_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

inline utf8proc_category_t category_of(char32_t c) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

/// General category N: Rust's char::is_numeric.
inline bool is_numeric(char32_t c) noexcept {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto category = category_of(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

/// ASCII punctuation (symbols like $ and + included) or general category P: what the reference's Punctuation splits at.
inline bool is_punctuation(char32_t c) noexcept {
  if (c < 0x80)
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) || (c >= 0x7B && c <= 0x7E);
  const auto category = category_of(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

/// UTS #18 word character: Alphabetic, M, Nd, Pc, Join_Control. Alphabetic is L, Nl and the enclosed letters.
inline bool is_word(char32_t c) noexcept {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  if (c == 0x200C || c == 0x200D) return true;
  if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
      (c >= 0x1F170 && c <= 0x1F189))
    return true;
  const auto category = category_of(c);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC;
}

/// Appends the lower-case form of c: Unicode's full mapping without context, as Rust's char::to_lowercase.
inline void append_lower(std::string& out, char32_t c) {
  if (c == 0x130) return (void)out.append("i\xCC\x87");  // the one character whose lower case is two
  append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

/// End of the extended grapheme cluster that begins at `begin` in valid UTF-8.
inline std::size_t grapheme_end(std::string_view s, std::size_t begin) noexcept {
  utf8proc_int32_t state = 0;
  std::size_t at = begin;
  for (char32_t c = decode_utf8(s.substr(at));;) {
    at += utf8_length_of(s[at]);
    if (at == s.size()) return at;
    const char32_t next = decode_utf8(s.substr(at));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c), static_cast<utf8proc_int32_t>(next), &state))
      return at;
    c = next;
  }
}

enum class NormalForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

namespace detail {
/// Characters that the form keeps and that start a new segment: what stands after one never changes what is before it.
/// A part of the true set, fixed by Unicode's stability policy; the others take the slow way.
constexpr bool is_inert(NormalForm form, char32_t c) noexcept {
  if (form != NormalForm::nfc) return c < 0x80;
  return c < 0x300 || (c >= 0x400 && c <= 0x481) || (c >= 0x531 && c <= 0x556) || (c >= 0x5D0 && c <= 0x5EA) ||
         (c >= 0x620 && c <= 0x64A) || (c >= 0x2010 && c <= 0x2027) || (c >= 0x3001 && c <= 0x3029) ||
         (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF60) ||
         (c >= 0x1F300 && c <= 0x1FAFF);
}

/// One segment, decomposed character by character, put in canonical order with a sort that stays n log n on hostile
/// runs of marks (utf8proc's own is quadratic), then composed.
inline expected<void> normalize_segment(NormalForm form, std::string_view in, std::vector<utf8proc_int32_t>& buffer,
                                        std::string& out) {
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  buffer.clear();
  for (std::size_t i = 0; i < in.size(); i += utf8_length_of(in[i])) {
    utf8proc_int32_t parts[64];  // the longest decomposition has 18 characters
    int last_boundclass = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(decode_utf8(in.substr(i))), parts, 64, options,
                                           &last_boundclass);
    if (n < 0 || n > 64) return fail(Errc::bad_argument, "text cannot be normalised", {}, {}, utf8proc_errmsg(n));
    buffer.insert(buffer.end(), parts, parts + n);
  }
  const auto mark_class = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto at = buffer.begin(); at != buffer.end();) {
    const auto end = std::find_if(at, buffer.end(), [&](auto c) { return mark_class(c) == 0; });
    std::stable_sort(at, end, [&](auto a, auto b) { return mark_class(a) < mark_class(b); });
    at = end == buffer.end() ? end : end + 1;
  }
  auto n = static_cast<utf8proc_ssize_t>(buffer.size());
  if (compose)
    n = utf8proc_normalize_utf32(buffer.data(), n, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (n < 0) return fail(Errc::bad_argument, "text cannot be normalised", {}, {}, utf8proc_errmsg(n));
  for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(out, static_cast<char32_t>(buffer[static_cast<std::size_t>(i)]));
  return {};
}
}  // namespace detail

/// Appends the normal form of `in` (valid UTF-8) to out.
inline expected<void> normalize(NormalForm form, std::string_view in, std::string& out) {
  std::vector<utf8proc_int32_t> buffer;
  std::size_t done = 0, segment = 0;  // [done, segment): inert characters still to be copied
  for (std::size_t i = 0; i < in.size();) {
    if (in.size() - i >= 8 && (load_unaligned<std::uint64_t>(in.data() + i) & 0x8080808080808080u) == 0) {
      i += 8, segment = i - 1;
      continue;
    }
    if (detail::is_inert(form, decode_utf8(in.substr(i)))) {
      segment = i;
      i += utf8_length_of(in[i]);
      continue;
    }
    while (i < in.size() && !detail::is_inert(form, decode_utf8(in.substr(i)))) i += utf8_length_of(in[i]);
    out.append(in.substr(done, segment - done));
    TMODEL_CHECK(detail::normalize_segment(form, in.substr(segment, i - segment), buffer, out));
    done = segment = i;
  }
  out.append(in.substr(done));
  return {};
}

}  // namespace tmodel::inline v0::tokenization
