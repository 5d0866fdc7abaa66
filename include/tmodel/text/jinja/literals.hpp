#pragma once
// String and number literals of templates. Source: Python 3 language reference, "Literals".

#include "tmodel/text/jinja/lexer.hpp"
#include "tmodel/text/jinja/numbers.hpp"

namespace tmodel::inline v0::jinja {

/// The value of a number. Errors: unsupported, if it does not fit 64 bits.
inline Outcome<Value> number_literal(std::string_view source, const Token& token) {
  const std::string_view text = source.substr(token.begin, token.end - token.begin);
  if (token.kind == TokenKind::integer) {
    auto value = parse_integer(text, 0);
    if (value && *value) return Value::integer(**value);
    return raise_at(source, token.begin, "this integer is not supported", Errc::unsupported);
  }
  auto value = parse_real(text);
  if (value && *value) return Value::real(**value);
  return raise_at(source, token.begin, "this number is not supported", Errc::unsupported);
}

/// The text of a string literal. Errors: escapes that are cut off, or (unsupported) \N{…} and surrogates.
inline Outcome<std::string> string_literal(std::string_view source, const Token& token) {
  const std::string_view s = source.substr(token.begin + 1, token.end - token.begin - 2);
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\') {
      out += s[i];
      continue;
    }
    const std::size_t at = token.begin + 1 + i;
    const char c = s[++i];  // the lexer ends no string behind a backslash
    constexpr std::string_view letters = "abfnrtv\\'\"", values = "\a\b\f\n\r\t\v\\'\"";
    if (const std::size_t simple = letters.find(c); simple != letters.npos) {
      out += values[simple];
    } else if (c >= '0' && c <= '7') {
      char32_t value = 0;
      std::size_t n = 0;
      for (; n < 3 && i + n < s.size() && s[i + n] >= '0' && s[i + n] <= '7'; ++n)
        value = value * 8 + static_cast<char32_t>(s[i + n] - '0');
      encode(value, out);
      i += n - 1;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      std::uint32_t value = 0;
      const std::string_view digits = s.substr(i + 1, n);
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (digits.size() != n || result.ptr != digits.data() + n || value > 0x10FFFF)
        return raise_at(source, at, "truncated or impossible escape in a string");
      if (value >= 0xD800 && value < 0xE000)
        return raise_at(source, at, "surrogates in a string are not supported", Errc::unsupported);
      encode(value, out);
      i += n;
    } else if (c == 'N' || static_cast<unsigned char>(c) >= 0x80) {
      return raise_at(source, at, "this escape in a string is not supported", Errc::unsupported);
    } else if (c != '\n') {  // a backslash hides the end of its line; before other characters it stays
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace tmodel::inline v0::jinja
