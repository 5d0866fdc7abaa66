#pragma once
// Values as text: Python's str() and repr(), json.dumps, and HTML escaping as MarkupSafe does it.
// Sources: Python 3 library reference (repr, json.dumps); transformers' tojson (no ASCII escapes by default).

#include <charconv>
#include <cmath>

#include "tmodel/text/jinja/heap.hpp"
#include "tmodel/text/jinja/unicode.hpp"

namespace tmodel::inline v0::jinja {

/// repr(float): the shortest digits that read back equal; exponent form below 1e-4 and from 1e16 on.
inline std::string float_repr(f64 x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::scientific).ptr;
  const std::string_view all(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t e = all.find('e');
  std::string digits;
  for (const char c : all.substr(0, e))
    if (c >= '0' && c <= '9') digits += c;
  int exponent = 0;
  const std::string_view tail = all.substr(e + 1);
  std::from_chars(tail.data() + (tail[0] == '+'), tail.data() + tail.size(), exponent);

  std::string out = std::signbit(x) ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    const int size = exponent < 0 ? -exponent : exponent;
    if (size < 10) out += '0';
    return out + std::to_string(size);
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return out + digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  const auto point = static_cast<std::size_t>(exponent + 1);
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

namespace detail {

inline void append_hex(std::string& out, char32_t value, int digits) {
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) out += "0123456789abcdef"[(value >> shift) & 15];
}

inline void repr_string(const StringObject& s, TextBuilder& out) {
  const std::string_view bytes = s.text.bytes;
  const bool has_single = bytes.find('\'') != bytes.npos, has_double = bytes.find('"') != bytes.npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  if (s.safe) out.append("Markup(");
  out.append(std::string_view(&quote, 1));
  for (std::size_t i = 0; i < bytes.size() && out.ok();) {
    const CodePoint c = decode(bytes.substr(i));
    std::string escaped;
    if (c.value == U'\\' || c.value == static_cast<char32_t>(quote)) {
      escaped = {'\\', static_cast<char>(c.value)};
    } else if (c.value == U'\n') {
      escaped = "\\n";
    } else if (c.value == U'\r') {
      escaped = "\\r";
    } else if (c.value == U'\t') {
      escaped = "\\t";
    } else if (!is_printable(c.value) && !is_stray_byte(c)) {
      escaped = c.value < 0x100 ? "\\x" : c.value < 0x10000 ? "\\u" : "\\U";
      append_hex(escaped, c.value, c.value < 0x100 ? 2 : c.value < 0x10000 ? 4 : 8);
    }
    if (escaped.empty())
      out.append(s.text, {i, i + c.bytes});
    else
      out.append(escaped, s.text.is_marked(i));
    i += c.bytes;
  }
  out.append(std::string_view(&quote, 1));
  if (s.safe) out.append(")");
}

}  // namespace detail

/// repr(value) appended to out. Errors: kinds whose repr holds an address or is not implemented; budget.
inline Outcome<void> repr(Heap& heap, const Value& value, TextBuilder& out) {
  TMODEL_JINJA_CHECK(heap.step());
  const auto walk = [&](const std::vector<Value>& items) -> Outcome<void> {
    bool first = true;
    for (const Value& item : items) {
      if (!std::exchange(first, false)) out.append(", ");
      TMODEL_JINJA_CHECK(repr(heap, item, out));
    }
    return {};
  };
  switch (value.kind()) {
    case Kind::undefined:
      out.append("Undefined");
      break;
    case Kind::none:
      out.append("None");
      break;
    case Kind::boolean:
      out.append(value.truth_flag() ? "True" : "False");
      break;
    case Kind::integer:
      out.append(std::to_string(value.as_integer()));
      break;
    case Kind::real:
      out.append(float_repr(value.as_real()));
      break;
    case Kind::string:
      detail::repr_string(value.as_string(), out);
      break;
    case Kind::list:
      out.append("[");
      TMODEL_JINJA_CHECK(walk(value.as_sequence().items));
      out.append("]");
      break;
    case Kind::tuple:
      out.append("(");
      TMODEL_JINJA_CHECK(walk(value.as_sequence().items));
      out.append(value.as_sequence().items.size() == 1 ? ",)" : ")");
      break;
    case Kind::keys_view:
    case Kind::values_view:
    case Kind::items_view:
      out.append(name_of(value.kind()));
      out.append("([");
      TMODEL_JINJA_CHECK(walk(value.as_sequence().items));
      out.append("])");
      break;
    case Kind::dict: {
      out.append("{");
      bool first = true;
      for (const auto& [key, item] : value.as_dict().entries) {
        if (!std::exchange(first, false)) out.append(", ");
        TMODEL_JINJA_CHECK(repr(heap, key, out));
        out.append(": ");
        TMODEL_JINJA_CHECK(repr(heap, item, out));
      }
      out.append("}");
      break;
    }
    default:
      return raise({"printing a ", name_of(value.kind()), " is not supported"}, Errc::unsupported);
  }
  return out.check();
}

/// str(value) appended to out.
inline Outcome<void> str(Heap& heap, const Value& value, TextBuilder& out) {
  if (value.is_undefined()) return {};
  if (!value.is_string()) return repr(heap, value, out);
  out.append(value.as_string().text);
  return out.check();
}

/// str(value) as a value; a string is passed through, without the mark of Markup.
inline Outcome<Value> to_string(Heap& heap, const Value& value) {
  if (value.is_string() && !value.as_string().safe) return value;
  TextBuilder out(heap);
  TMODEL_JINJA_CHECK(str(heap, value, out));
  return out.finish();
}

/// Escapes & < > ' " as MarkupSafe does.
inline void escape_html(const Text& text, TextBuilder& out) {
  const std::string_view bytes = text.bytes;
  for (std::size_t i = 0, plain = 0; i <= bytes.size() && out.ok(); ++i) {
    std::string_view entity;
    if (i < bytes.size()) {
      switch (bytes[i]) {
        case '&':
          entity = "&amp;";
          break;
        case '<':
          entity = "&lt;";
          break;
        case '>':
          entity = "&gt;";
          break;
        case '\'':
          entity = "&#39;";
          break;
        case '"':
          entity = "&#34;";
          break;
        default:
          continue;
      }
    }
    out.append(text, {plain, i});
    if (i < bytes.size()) out.append(entity, text.is_marked(i));
    plain = i + 1;
  }
}

/// Parameters of json.dumps.
struct JsonStyle {
  bool ensure_ascii = false, sort_keys = false, multi_line = false;
  Text indent;  ///< of one level, if multi_line
  Text item_separator = Text::of(", "), key_separator = Text::of(": ");
};

namespace detail {

inline void json_string(const StringObject& s, const JsonStyle& style, TextBuilder& out) {
  const std::string_view bytes = s.text.bytes;
  out.append("\"");
  for (std::size_t i = 0; i < bytes.size() && out.ok();) {
    const CodePoint c = decode(bytes.substr(i));
    std::string escaped;
    const auto unit = [&](char32_t value) {
      escaped += "\\u";
      append_hex(escaped, value, 4);
    };
    switch (c.value) {
      case U'"':
        escaped = "\\\"";
        break;
      case U'\\':
        escaped = "\\\\";
        break;
      case U'\n':
        escaped = "\\n";
        break;
      case U'\r':
        escaped = "\\r";
        break;
      case U'\t':
        escaped = "\\t";
        break;
      case U'\f':
        escaped = "\\f";
        break;
      case U'\b':
        escaped = "\\b";
        break;
      default:
        if (c.value < 0x20 || (style.ensure_ascii && c.value > 0x7E && c.value < 0x10000)) {
          unit(c.value);
        } else if (style.ensure_ascii && c.value >= 0x10000) {
          unit(0xD800 + ((c.value - 0x10000) >> 10));
          unit(0xDC00 + ((c.value - 0x10000) & 0x3FF));
        }
    }
    if (escaped.empty())
      out.append(s.text, {i, i + c.bytes});
    else
      out.append(escaped, s.text.is_marked(i));
    i += c.bytes;
  }
  out.append("\"");
}

inline std::string json_float(f64 x) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x < 0 ? "-Infinity" : "Infinity";
  return float_repr(x);
}

inline void json_line(const JsonStyle& style, int level, TextBuilder& out) {
  if (!style.multi_line) return;
  out.append("\n");
  for (int i = 0; i < level; ++i) out.append(style.indent);
}

inline Outcome<void> json_key(const Value& key, const JsonStyle& style, TextBuilder& out) {
  const auto quoted = [&](std::string_view s) {
    out.append("\"");
    out.append(s);
    out.append("\"");
  };
  switch (key.kind()) {
    case Kind::string:
      json_string(key.as_string(), style, out);
      break;
    case Kind::none:
      quoted("null");
      break;
    case Kind::boolean:
      quoted(key.truth_flag() ? "true" : "false");
      break;
    case Kind::integer:
      quoted(std::to_string(key.as_integer()));
      break;
    case Kind::real:
      quoted(json_float(key.as_real()));
      break;
    default:
      return raise({"tojson: keys must be str, int, float, bool or None, not ", name_of(key.kind())});
  }
  return {};
}

}  // namespace detail

/// json.dumps(value) appended to out; level is the nesting so far. Errors: kinds that JSON has no form for; budget.
inline Outcome<void> to_json(Heap& heap, const Value& value, const JsonStyle& style, int level, TextBuilder& out) {
  TMODEL_JINJA_CHECK(heap.step());
  switch (value.kind()) {
    case Kind::none:
      out.append("null");
      break;
    case Kind::boolean:
      out.append(value.truth_flag() ? "true" : "false");
      break;
    case Kind::integer:
      out.append(std::to_string(value.as_integer()));
      break;
    case Kind::real:
      out.append(detail::json_float(value.as_real()));
      break;
    case Kind::string:
      detail::json_string(value.as_string(), style, out);
      break;
    case Kind::list:
    case Kind::tuple: {
      const auto& items = value.as_sequence().items;
      out.append("[");
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (i != 0) out.append(style.item_separator);
        detail::json_line(style, level + 1, out);
        TMODEL_JINJA_CHECK(to_json(heap, items[i], style, level + 1, out));
      }
      if (!items.empty()) detail::json_line(style, level, out);
      out.append("]");
      break;
    }
    case Kind::dict: {
      std::vector<const std::pair<Value, Value>*> entries;
      for (const auto& entry : value.as_dict().entries) entries.push_back(&entry);
      if (style.sort_keys) {
        for (const auto* entry : entries)
          if (!entry->first.is_string() && entries.size() > 1)
            return raise("tojson: sorting keys that are not all strings is not supported", Errc::unsupported);
        TMODEL_JINJA_CHECK(heap.step(entries.size() * 16));
        std::sort(entries.begin(), entries.end(),
                  [](const auto* a, const auto* b) { return a->first.text() < b->first.text(); });
      }
      out.append("{");
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i != 0) out.append(style.item_separator);
        detail::json_line(style, level + 1, out);
        TMODEL_JINJA_CHECK(detail::json_key(entries[i]->first, style, out));
        out.append(style.key_separator);
        TMODEL_JINJA_CHECK(to_json(heap, entries[i]->second, style, level + 1, out));
      }
      if (!entries.empty()) detail::json_line(style, level, out);
      out.append("}");
      break;
    }
    default:
      return raise({"'", name_of(value.kind()), "' object is not JSON serializable"});
  }
  return out.check();
}

}  // namespace tmodel::inline v0::jinja
