#pragma once
// '...' % values: printf-style formatting of strings, also the format filter.
// Source: Python 3 library reference, "printf-style String Formatting". Not here, refused by name: %a, %c, '#', '*'.

#include "tmodel/text/jinja/operators.hpp"

namespace tmodel::inline v0::jinja {

namespace detail {

struct PercentSpec {
  bool left = false, plus = false, space = false, zero = false;
  std::uint32_t width = 0;
  std::int32_t precision = -1;
  char type = 0;
};

/// Digits of a number without sign. Errors: a type that the conversion does not take.
inline Outcome<std::string> percent_digits(const PercentSpec& spec, const Value& value, bool& negative) {
  const std::string type(1, spec.type);
  if (value.is_undefined()) return raise_undefined(value);
  if (!value.is_number()) return raise({"%", type, " format: a number is required, not ", name_of(value.kind())});
  char buffer[512];
  if (spec.type == 'd' || spec.type == 'x' || spec.type == 'X' || spec.type == 'o') {
    if (spec.precision >= 0) return raise({"%", type, " with a precision is not supported"}, Errc::unsupported);
    std::int64_t whole = value.as_integer();
    if (value.is(Kind::real)) {
      if (spec.type != 'd') return raise({"%", type, " format: an integer is required, not float"});
      const f64 x = value.as_real();
      if (!(x > -0x1p63 && x < 0x1p63)) return integer_overflow();
      whole = static_cast<std::int64_t>(x);
    }
    negative = whole < 0;
    const std::uint64_t magnitude =
        negative ? std::uint64_t{0} - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole);
    const int base = spec.type == 'd' ? 10 : spec.type == 'o' ? 8 : 16;
    std::string digits(buffer, std::to_chars(buffer, buffer + sizeof buffer, magnitude, base).ptr);
    if (spec.type == 'X')
      for (char& c : digits) c = static_cast<char>(to_upper(static_cast<char32_t>(c)));
    return digits;
  }
  const f64 x = value.as_real();
  if (!std::isfinite(x))
    return raise({"%", type, " of a number that is not finite is not supported"}, Errc::unsupported);
  negative = std::signbit(x);
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  const auto form = spec.type == 'f'   ? std::chars_format::fixed
                    : spec.type == 'e' ? std::chars_format::scientific
                                       : std::chars_format::general;
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(x), form, precision);
  return std::string(buffer, result.ptr);
}

/// Text of one conversion, padded.
inline Outcome<void> percent_convert(Heap& heap, const PercentSpec& spec, const Value& value, TextBuilder& out) {
  Text body;
  std::string_view sign;
  const bool number = spec.type != 's' && spec.type != 'r';
  if (number) {
    bool negative = false;
    TMODEL_JINJA_TRY(const std::string digits, percent_digits(spec, value, negative));
    sign = negative ? "-" : spec.plus ? "+" : spec.space ? " " : "";
    body = Text::of(digits);
  } else {
    TextBuilder text(heap);
    TMODEL_JINJA_CHECK(spec.type == 's' ? str(heap, value, text) : repr(heap, value, text));
    body = text.text();
    if (spec.precision >= 0) body = body.slice({0, offset_of(body.bytes, static_cast<std::size_t>(spec.precision))});
  }
  const std::size_t used = sign.size() + count_code_points(body.bytes);
  const std::uint64_t padding = spec.width > used ? spec.width - used : 0;
  const bool zeros = spec.zero && number && !spec.left;
  if (!spec.left && !zeros) out.repeat(' ', padding);
  out.append(sign);
  if (zeros) out.repeat('0', padding);
  out.append(body);
  if (spec.left) out.repeat(' ', padding);
  return out.check();
}

}  // namespace detail

/// Errors: an unknown conversion, too few or too many values, a value of a wrong type, budget.
inline Outcome<Value> percent_format(Heap& heap, const StringObject& format, const Value& values) {
  if (format.safe) return raise("'%' on safe text is not supported", Errc::unsupported);
  const std::string_view s = format.text.bytes;
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.size()));
  std::size_t next = 0;
  bool by_key = false;
  const auto take = [&](Value& out) {
    if (!values.is(Kind::tuple)) return next++ == 0 ? (out = values, true) : false;
    const auto& items = values.as_sequence().items;
    return next < items.size() ? (out = items[next++], true) : false;
  };
  TextBuilder out(heap);
  for (std::size_t i = 0; i < s.size() && out.ok();) {
    const std::size_t percent = std::min(s.find('%', i), s.size());
    out.append(format.text, {i, percent});
    if (percent == s.size()) break;
    i = percent + 1;
    Value value;
    bool has_value = false;
    if (i < s.size() && s[i] == '(') {
      const std::size_t close = s.find(')', i);
      if (close == s.npos) return raise("incomplete format key");
      if (!values.is(Kind::dict)) return raise("format requires a mapping");
      TMODEL_JINJA_CHECK(heap.step(1 + values.as_dict().entries.size() / 8));
      const Value* entry = values.as_dict().find(s.substr(i + 1, close - i - 1));
      if (entry == nullptr) return raise({"format: there is no key '", s.substr(i + 1, close - i - 1), "'"});
      value = *entry;
      has_value = by_key = true;
      i = close + 1;
    }
    detail::PercentSpec spec;
    for (; i < s.size(); ++i) {
      if (s[i] == '-')
        spec.left = true;
      else if (s[i] == '+')
        spec.plus = true;
      else if (s[i] == ' ')
        spec.space = true;
      else if (s[i] == '0')
        spec.zero = true;
      else
        break;
    }
    const auto number = [&](auto& target) {
      target = 0;
      for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i)
        if (target < 100'000'000)
          target = target * 10 + static_cast<std::remove_reference_t<decltype(target)>>(s[i] - '0');
    };
    number(spec.width);
    if (i < s.size() && s[i] == '.') {
      ++i;
      number(spec.precision);
      if (spec.precision > 100 && i < s.size() && s[i] != 's')
        return raise("format: a precision above 100 is not supported", Errc::unsupported);
    }
    if (i == s.size()) return raise("incomplete format");
    spec.type = s[i++];
    if (spec.type == '%' && s[i - 2] == '%') {  // with anything between the two Python takes it for a conversion
      out.append(format.text, {i - 1, i});
      continue;
    }
    if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
    if (std::string_view("srdxXofeg").find(spec.type) == std::string_view::npos)
      return raise({"format conversion %", std::string_view(&spec.type, 1), " is not supported"}, Errc::unsupported);
    if (!has_value && !take(value)) return raise("not enough arguments for format string");
    TMODEL_JINJA_CHECK(detail::percent_convert(heap, spec, value, out));
  }
  // Python lets what can be indexed by a key stay unused.
  const bool may_be_left =
      by_key || values.is(Kind::dict) || values.is(Kind::list) || values.is(Kind::range) || values.is_undefined();
  const std::size_t count = values.is(Kind::tuple) ? values.as_sequence().items.size() : 1;
  if (!may_be_left && next < count) return raise("not all arguments converted during string formatting");
  return out.finish();
}

}  // namespace tmodel::inline v0::jinja
