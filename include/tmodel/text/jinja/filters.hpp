#pragma once
// Filters of the template language (x | trim). Source: Jinja2 3.1 documentation, "List of Builtin Filters"; tojson as
// transformers replaces it. Those that walk a sequence are in sequence_filters.hpp.

#include "tmodel/text/jinja/numbers.hpp"
#include "tmodel/text/jinja/sequence_filters.hpp"

namespace tmodel::inline v0::jinja {

namespace detail {

/// The string a filter on text works on: str(value). Errors: safe text, which would have to stay safe.
inline Outcome<Value> plain_text(Heap& heap, const Value& value) {
  if (value.is_string() && value.as_string().safe)
    return raise("this filter on safe text is not supported", Errc::unsupported);
  return to_string(heap, value);
}

inline Outcome<Value> filter_abs(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "abs"));
  if (!v.is_number()) return negate(heap, v, true);  // the error
  if (v.is(Kind::real)) return Value::real(std::fabs(v.as_real()));
  return v.as_integer() < 0 ? negate(heap, v, true) : Outcome<Value>(Value::integer(v.as_integer()));
}

template <Case to>
Outcome<Value> filter_case(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "this filter"));
  TMODEL_JINJA_TRY(const Value text, plain_text(heap, v));
  return change_case(heap, text.as_string(), to);
}

inline Outcome<Value> filter_title(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "title"));
  TMODEL_JINJA_TRY(const Value text, plain_text(heap, v));
  const StringObject& s = text.as_string();
  TextBuilder out(heap);
  const auto add = [&](Range part, Case to) -> Outcome<void> {
    TMODEL_JINJA_TRY(const Value piece, heap.string(s.text.slice(part)));
    TMODEL_JINJA_TRY(const Value changed, change_case(heap, piece.as_string(), to));
    out.append(changed.as_string().text);
    return {};
  };
  const auto splits = [](CodePoint c) {
    return is_space(c.value) ||
           (c.value < 0x80 && std::string_view("-({[<").find(static_cast<char>(c.value)) != std::string_view::npos);
  };
  const std::string_view bytes = s.text.bytes;
  for (std::size_t i = 0; i < bytes.size();) {
    const CodePoint first = decode(bytes.substr(i));
    std::size_t end = i + first.bytes;
    while (end < bytes.size() && splits(decode(bytes.substr(end))) == splits(first))
      end += decode(bytes.substr(end)).bytes;
    TMODEL_JINJA_CHECK(add({i, i + first.bytes}, Case::upper));
    TMODEL_JINJA_CHECK(add({i + first.bytes, end}, Case::lower));
    i = end;
  }
  return out.finish();
}

inline Outcome<Value> filter_center(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "center", 0, {"width"}));
  TMODEL_JINJA_TRY(const Value text, plain_text(heap, v));
  Arguments width;
  width.positional.push_back(bound[0] ? *bound[0] : Value::integer(80));
  return justify(heap, text.as_string(), width, Method::str_center);
}

inline Outcome<Value> filter_default(Heap&, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "default", 0, {"default_value", "boolean"}));
  const bool use = v.is_undefined() || (truth_argument(bound[1], false) && !truth(v));
  if (!use) return v;
  return bound[0] ? *bound[0] : Value::string("");
}

inline Outcome<Value> filter_escape(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "escape"));
  if (v.is_string() && v.as_string().safe) return v;
  TMODEL_JINJA_TRY(const Value text, to_string(heap, v));
  TextBuilder out(heap);
  escape_html(text.as_string().text, out);
  return out.finish(true);
}

inline Outcome<Value> filter_safe(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "safe"));
  TMODEL_JINJA_TRY(const Value text, to_string(heap, v));
  return heap.string(Text(text.as_string().text), true);
}

inline Outcome<Value> filter_string(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "string"));
  return v.is_string() ? Outcome<Value>(v) : to_string(heap, v);
}

inline Outcome<Value> filter_float(Heap&, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "float", 0, {"default"}));
  if (v.is_undefined()) return raise_undefined(v);
  if (v.is_number()) return Value::real(v.as_real());
  if (v.is_string()) {
    if (!is_ascii_number(v.text()))
      return raise("float of digits that are not ASCII is not supported", Errc::unsupported);
    TMODEL_JINJA_TRY(const auto value, parse_real(v.text()));
    if (value) return Value::real(*value);
  }
  return bound[0] ? *bound[0] : Value::real(0);
}

inline Outcome<Value> filter_int(Heap&, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "int", 0, {"default", "base"}));
  TMODEL_JINJA_TRY(const std::int64_t base, integer_argument(bound[1], 10, "int"));
  const Value otherwise = bound[0] ? *bound[0] : Value::integer(0);
  if (v.is_undefined()) return raise_undefined(v);
  if (v.is_integral()) return Value::integer(v.as_integer());
  if (v.is(Kind::real)) return std::isnan(v.as_real()) ? Outcome<Value>(otherwise) : truncate_real(v.as_real());
  if (!v.is_string()) return otherwise;
  if (!is_ascii_number(v.text())) return raise("int of digits that are not ASCII is not supported", Errc::unsupported);
  TMODEL_JINJA_TRY(const auto whole, parse_integer(v.text(), base));
  if (whole) return Value::integer(*whole);
  TMODEL_JINJA_TRY(const auto real, parse_real(v.text()));
  return real && std::isfinite(*real) ? truncate_real(*real) : Outcome<Value>(otherwise);
}

inline Outcome<Value> filter_round(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "round", 0, {"precision", "method"}));
  TMODEL_JINJA_TRY(const std::int64_t precision, integer_argument(bound[0], 0, "round"));
  const std::string_view method = bound[1] && bound[1]->is_string() ? bound[1]->text() : bound[1] ? "" : "common";
  if (method != "common" && method != "ceil" && method != "floor")
    return raise("round(): method must be common, ceil or floor");
  if (!v.is_number()) return negate(heap, v, false);  // the error
  if (method == "common") {
    if (v.is(Kind::real)) return round_real(v.as_real(), precision);
    if (precision < 0) return raise("round(): this precision is not supported", Errc::unsupported);
    return Value::integer(v.as_integer());
  }
  TMODEL_JINJA_TRY(const Value scale, arithmetic(heap, Operator::power, Value::integer(10), Value::integer(precision)));
  TMODEL_JINJA_TRY(const Value scaled, arithmetic(heap, Operator::multiply, v, scale));
  Value whole = scaled;
  if (scaled.is(Kind::real)) {
    const f64 x = scaled.as_real();
    TMODEL_JINJA_TRY(whole, truncate_real(method == "ceil" ? std::ceil(x) : std::floor(x)));
  }
  return arithmetic(heap, Operator::divide, whole, scale);
}

inline Outcome<Value> filter_format(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const Value text, plain_text(heap, v));
  if (!arguments.named.empty() && !arguments.positional.empty())
    return raise("format(): can't handle positional and keyword arguments at the same time");
  if (!arguments.named.empty()) {
    auto entries = arguments.named;
    TMODEL_JINJA_TRY(const Value values, heap.dict(std::move(entries)));
    return percent_format(heap, text.as_string(), values);
  }
  auto items = arguments.positional;
  TMODEL_JINJA_TRY(const Value values, heap.sequence(Kind::tuple, std::move(items)));
  return percent_format(heap, text.as_string(), values);
}

inline Outcome<Value> filter_indent(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "indent", 0, {"width", "first", "blank"}));
  TMODEL_JINJA_TRY(const StringObject* s, string_argument(v, "indent"));
  Text indention;
  if (bound[0] && bound[0]->is_string()) {
    indention = bound[0]->as_string().text;
  } else {
    TMODEL_JINJA_TRY(const std::int64_t width, integer_argument(bound[0], 4, "indent"));
    TextBuilder spaces(heap);
    spaces.repeat(' ', static_cast<std::uint64_t>(std::max<std::int64_t>(width, 0)));
    TMODEL_JINJA_CHECK(spaces.check());
    indention = spaces.text();
  }
  const bool blank = truth_argument(bound[2], false);
  // Jinja2 adds a newline before it splits, so an empty text has one line and a final newline survives.
  Text all = s->text;
  all.append("\n");
  TMODEL_JINJA_TRY(const auto lines, line_ranges(heap, all.bytes, false));
  TextBuilder out(heap);
  if (truth_argument(bound[1], false)) out.append(indention);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) out.append("\n");
    if (i != 0 && (blank || lines[i].begin != lines[i].end)) out.append(indention);
    out.append(all, lines[i]);
  }
  return out.finish();
}

inline Outcome<Value> filter_replace(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "replace", 2, {"old", "new", "count"}));
  TMODEL_JINJA_TRY(const Value text, to_string(heap, v));
  TMODEL_JINJA_TRY(const Value from, to_string(heap, *bound[0]));
  TMODEL_JINJA_TRY(const Value to, to_string(heap, *bound[1]));
  const bool all = bound[2] == nullptr || bound[2]->is(Kind::none);
  TMODEL_JINJA_TRY(const std::int64_t count, integer_argument(all ? nullptr : bound[2], -1, "replace"));
  return replace(heap, text.as_string().text, from.text(), to.as_string().text, count);
}

inline Outcome<Value> filter_trim(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "trim", 0, {"chars"}));
  TMODEL_JINJA_TRY(const Value text, plain_text(heap, v));
  const StringObject* characters = nullptr;
  if (bound[0] && !bound[0]->is(Kind::none)) {
    TMODEL_JINJA_TRY(characters, string_argument(*bound[0], "trim"));
  }
  TMODEL_JINJA_TRY(const Range kept, strip_range(heap, text.as_string(), characters, true, true));
  return heap.string(text.as_string().text.slice(kept));
}

inline Outcome<Value> filter_truncate(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "truncate", 0, {"length", "killwords", "end", "leeway"}));
  if (!v.is_string()) return raise({"truncate of a ", name_of(v.kind()), " is not supported"}, Errc::unsupported);
  TMODEL_JINJA_TRY(const StringObject* s, string_argument(v, "truncate"));
  const Value end = bound[2] ? *bound[2] : Value::string("...");
  TMODEL_JINJA_TRY(const StringObject* tail, string_argument(end, "truncate"));
  TMODEL_JINJA_TRY(const std::int64_t length, integer_argument(bound[0], 255, "truncate"));
  const bool default_leeway = bound[3] == nullptr || bound[3]->is(Kind::none);
  TMODEL_JINJA_TRY(const std::int64_t leeway, integer_argument(default_leeway ? nullptr : bound[3], 5, "truncate"));
  const auto tail_length = static_cast<std::int64_t>(tail->length);
  if (length < tail_length || leeway < 0) return raise("truncate(): length or leeway is too small");
  if (static_cast<std::int64_t>(s->length) - length <= leeway) return v;
  std::size_t kept = offset_of(s->text.bytes, static_cast<std::size_t>(length - tail_length));
  if (!truth_argument(bound[1], false)) {
    const std::size_t space = std::string_view(s->text.bytes).substr(0, kept).rfind(' ');
    if (space != std::string_view::npos) kept = space;
  }
  TextBuilder out(heap);
  out.append(s->text, {0, kept});
  out.append(tail->text);
  return out.finish();
}

inline Outcome<Value> filter_tojson(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound,
                   bind(arguments, "tojson", 0, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = truth_argument(bound[0], false);
  style.sort_keys = truth_argument(bound[3], false);
  if (bound[1] && !bound[1]->is(Kind::none)) {
    style.multi_line = true;
    style.item_separator = Text::of(",");
    if (bound[1]->is_string()) {
      style.indent = bound[1]->as_string().text;
    } else {
      constexpr std::int64_t widest = 1000;
      TMODEL_JINJA_TRY(const std::int64_t width, integer_argument(bound[1], 0, "tojson"));
      if (width > widest) return raise("tojson: an indent above 1000 is not supported", Errc::unsupported);
      style.indent = Text::of(std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' '));
    }
  }
  if (bound[2] && !bound[2]->is(Kind::none)) {
    TMODEL_JINJA_TRY(const auto separators, elements_of(heap, *bound[2]));
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string())
      return raise("tojson: separators must be two strings");
    style.item_separator = separators[0].as_string().text;
    style.key_separator = separators[1].as_string().text;
  }
  TextBuilder out(heap);
  TMODEL_JINJA_CHECK(to_json(heap, v, style, 0, out));
  return out.finish();
}

inline constexpr FilterEntry filters[] = {
    {"abs", filter_abs},
    {"batch", filter_batch},
    {"capitalize", filter_case<Case::capitalize>},
    {"center", filter_center},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"first", filter_first},
    {"float", filter_float},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"lower", filter_case<Case::lower>},
    {"map", filter_map},
    {"max", filter_extreme<true>},
    {"min", filter_extreme<false>},
    {"reject", filter_select<false, false>},
    {"rejectattr", filter_select<false, true>},
    {"replace", filter_replace},
    {"reverse", filter_reverse},
    {"round", filter_round},
    {"safe", filter_safe},
    {"select", filter_select<true, false>},
    {"selectattr", filter_select<true, true>},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"string", filter_string},
    {"sum", filter_sum},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"unique", filter_unique},
    {"upper", filter_case<Case::upper>},
};

inline constexpr std::string_view refused_filters[] = {"attr",   "filesizeformat", "forceescape", "groupby",
                                                       "pprint", "random",         "striptags",   "urlencode",
                                                       "urlize", "wordcount",      "wordwrap",    "xmlattr"};

}  // namespace detail

inline int find_filter(std::string_view name) noexcept {
  for (std::size_t i = 0; i < std::size(detail::filters); ++i)
    if (detail::filters[i].name == name) return static_cast<int>(i);
  return -1;
}

/// Of Jinja2, but not here.
inline bool is_refused_filter(std::string_view name) noexcept { return detail::lists(detail::refused_filters, name); }

/// Errors: the arguments, budget, and what the filter itself cannot do.
inline Outcome<Value> call_filter(Heap& heap, int id, const Value& value, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(heap.step());
  return detail::filters[static_cast<std::size_t>(id)].call(heap, value, arguments);
}

}  // namespace tmodel::inline v0::jinja
