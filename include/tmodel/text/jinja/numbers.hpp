#pragma once
// Numbers read from text, and rounding, as Python's int(), float() and round() do them.
// Source: Python 3 library reference, "Built-in Functions". Digits other than ASCII are refused by name.

#include "tmodel/text/jinja/operators.hpp"

namespace tmodel::inline v0::jinja {

/// s without white space at its ends and without underscores between digits; nullopt if one stands elsewhere.
inline std::optional<std::string> without_underscores(std::string_view s) {
  const Range kept = strip_space(s);
  s = s.substr(kept.begin, kept.end - kept.begin);
  const auto alnum = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '_')
      out += s[i];
    else if (i == 0 || i + 1 == s.size() || !alnum(s[i - 1]) || !alnum(s[i + 1]))
      return std::nullopt;
  }
  return out;
}

inline bool is_ascii_number(std::string_view s) noexcept {
  const Range kept = strip_space(s);
  for (std::size_t i = kept.begin; i < kept.end; ++i)
    if (static_cast<unsigned char>(s[i]) >= 0x80) return false;
  return true;
}

/// int(s, base); nullopt where Python raises ValueError. Errors: beyond int64, a base outside {0, 2…36}.
inline Outcome<std::optional<std::int64_t>> parse_integer(std::string_view s, std::int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return raise("int(): base must be 0 or 2 to 36");
  auto cleaned = without_underscores(s);
  if (!cleaned) return std::optional<std::int64_t>();
  std::string_view digits = *cleaned;
  bool negative = false;
  if (digits.starts_with('-') || digits.starts_with('+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  const bool leading_zero = digits.starts_with('0');
  if (leading_zero && digits.size() > 2) {
    const char letter = static_cast<char>(to_lower(static_cast<unsigned char>(digits[1])));
    const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named != 0 && (base == 0 || base == named)) {
      digits.remove_prefix(2);
      base = named;
    }
  }
  if (base == 0) {
    if (leading_zero && digits.find_first_not_of('0') != digits.npos) return std::optional<std::int64_t>();
    base = 10;
  }
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::optional<std::int64_t>();
  std::int64_t value = 0;
  const std::string text = (negative ? "-" : "") + std::string(digits);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
  if (result.ptr != text.data() + text.size()) return std::optional<std::int64_t>();
  if (result.ec == std::errc::result_out_of_range) return detail::integer_overflow();
  if (result.ec != std::errc()) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(value);
}

/// float(s); nullopt where Python raises ValueError. Errors: a number that overflows or underflows.
inline Outcome<std::optional<f64>> parse_real(std::string_view s) {
  auto cleaned = without_underscores(s);
  if (!cleaned) return std::optional<f64>();
  std::string_view text = *cleaned;
  bool negative = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || text[0] == '-' || text[0] == '+') return std::optional<f64>();
  f64 value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ptr != text.data() + text.size() || text.find('(') != text.npos) return std::optional<f64>();
  if (result.ec == std::errc::result_out_of_range)
    return raise("a float outside the range of 64 bits is not supported", Errc::unsupported);
  if (result.ec != std::errc()) return std::optional<f64>();
  return std::optional<f64>(negative ? -value : value);
}

/// round(x, digits) of a float: correctly rounded from its exact value. Errors: digits outside [0, 300].
inline Outcome<Value> round_real(f64 x, std::int64_t digits) {
  if (digits < 0 || digits > 300) return raise("round(): this precision is not supported", Errc::unsupported);
  if (!std::isfinite(x)) return Value::real(x);
  char buffer[700];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::fixed, static_cast<int>(digits)).ptr;
  f64 rounded = 0;
  std::from_chars(buffer, end, rounded);
  return Value::real(rounded);
}

/// The integer part of a finite float. Errors: not finite, beyond int64.
inline Outcome<Value> truncate_real(f64 x) {
  if (!std::isfinite(x)) return raise("cannot convert a float that is not finite to an integer");
  if (!(x >= -0x1p63 && x < 0x1p63)) return detail::integer_overflow();
  return Value::integer(static_cast<std::int64_t>(x));
}

}  // namespace tmodel::inline v0::jinja
