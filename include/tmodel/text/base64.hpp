#pragma once
// Base64 (RFC 4648, section 4), for the bytes that tokenizer files carry as text.

#include <string>
#include <string_view>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0::tokenization {

/// Appends the bytes of a padded text; false, and an unknown rest, if it is not base64.
inline bool append_base64(std::string& out, std::string_view text) {
  if (text.size() % 4 != 0) return false;
  const auto value = [](char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
  };
  while (!text.empty()) {
    const std::size_t padding = text.size() > 4 || text[3] != '=' ? 0 : text[2] != '=' ? 1 : 2;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const int v = i < 4 - padding ? value(text[i]) : 0;
      if (v < 0) return false;
      bits = bits << 6 | static_cast<std::uint32_t>(v);
    }
    for (std::size_t i = 0; i < 3 - padding; ++i)
      out += static_cast<char>(static_cast<unsigned char>(bits >> (16 - 8 * i)));
    text.remove_prefix(4);
  }
  return true;
}

}  // namespace tmodel::inline v0::tokenization
