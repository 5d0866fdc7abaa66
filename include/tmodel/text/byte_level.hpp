#pragma once
// The byte alphabet of GPT-2: every byte has a printable character, so that a vocabulary of text can hold any bytes.
// 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF stand for themselves; the 68 others, in order, are U+0100, U+0101, ...

#include <array>
#include <string>
#include <string_view>

#include "tmodel/text/unicode.hpp"

namespace tmodel::inline v0::tokenization {

inline constexpr std::array<char32_t, 256> byte_alphabet = [] {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[b] = printable ? static_cast<char32_t>(b) : next++;
  }
  return table;
}();

/// The byte that a character of the alphabet stands for, or -1.
inline constexpr std::array<std::int16_t, 0x144> alphabet_byte = [] {
  std::array<std::int16_t, 0x144> table{};
  for (auto& entry : table) entry = -1;
  for (unsigned b = 0; b < 256; ++b) table[byte_alphabet[b]] = static_cast<std::int16_t>(b);
  return table;
}();

/// Appends the characters of the bytes.
inline void append_mapped(std::string& out, std::string_view bytes) {
  for (const char b : bytes) append_utf8(out, byte_alphabet[static_cast<unsigned char>(b)]);
}

/// Appends the bytes that the characters of valid UTF-8 stand for. False, and out as it was, if one is not in the
/// alphabet.
inline bool append_unmapped(std::string& out, std::string_view mapped) {
  const std::size_t before = out.size();
  for (std::size_t i = 0; i < mapped.size(); i += utf8_length_of(mapped[i])) {
    const char32_t c = decode_utf8(mapped.substr(i));
    if (c >= alphabet_byte.size() || alphabet_byte[c] < 0) {
      out.resize(before);
      return false;
    }
    out += static_cast<char>(alphabet_byte[c]);
  }
  return true;
}

inline int hex_digit(char c) noexcept {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}
/// The byte that a token of byte fallback names ("<0x0A>"), or -1.
inline int byte_of_token(std::string_view text) noexcept {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  const int high = hex_digit(text[3]), low = hex_digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}
inline std::string byte_token_text(unsigned byte) {
  constexpr char digits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15u], '>'};
}

}  // namespace tmodel::inline v0::tokenization
