#pragma once
// Methods of strings, dicts, lists and tuples, and attribute lookup as Jinja2's immutable sandbox does it.
// Sources: Python 3 library reference, "Built-in Types"; Jinja2 3.1 documentation, "Sandbox".

#include "tmodel/text/jinja/strings.hpp"

namespace tmodel::inline v0::jinja {

enum class Method : std::uint8_t {
  str_capitalize,
  str_center,
  str_count,
  str_endswith,
  str_find,
  str_index,
  str_isalnum,
  str_isalpha,
  str_isdigit,
  str_islower,
  str_isspace,
  str_isupper,
  str_join,
  str_ljust,
  str_lower,
  str_lstrip,
  str_partition,
  str_removeprefix,
  str_removesuffix,
  str_replace,
  str_rfind,
  str_rjust,
  str_rpartition,
  str_rsplit,
  str_rstrip,
  str_split,
  str_splitlines,
  str_startswith,
  str_strip,
  str_upper,
  str_zfill,
  dict_copy,
  dict_get,
  dict_items,
  dict_keys,
  dict_values,
  list_copy,
  list_count,
  list_index,
  tuple_count,
  tuple_index,
  loop_changed,
  loop_cycle,
};

/// How a Python type has an attribute of some name.
enum class Support : std::uint8_t {
  none,  ///< it has none: look for an item
  implemented,
  unsafe,   ///< would change the object: the sandbox gives an undefined value
  refused,  ///< it has one that is not implemented here
};

struct Attribute {
  Support support = Support::none;
  Method method{};
};

namespace detail {

struct MethodName {
  std::string_view name;
  Method method;
};
inline constexpr MethodName string_methods[] = {{"capitalize", Method::str_capitalize},
                                                {"center", Method::str_center},
                                                {"count", Method::str_count},
                                                {"endswith", Method::str_endswith},
                                                {"find", Method::str_find},
                                                {"index", Method::str_index},
                                                {"isalnum", Method::str_isalnum},
                                                {"isalpha", Method::str_isalpha},
                                                {"isdigit", Method::str_isdigit},
                                                {"islower", Method::str_islower},
                                                {"isspace", Method::str_isspace},
                                                {"isupper", Method::str_isupper},
                                                {"join", Method::str_join},
                                                {"ljust", Method::str_ljust},
                                                {"lower", Method::str_lower},
                                                {"lstrip", Method::str_lstrip},
                                                {"partition", Method::str_partition},
                                                {"removeprefix", Method::str_removeprefix},
                                                {"removesuffix", Method::str_removesuffix},
                                                {"replace", Method::str_replace},
                                                {"rfind", Method::str_rfind},
                                                {"rjust", Method::str_rjust},
                                                {"rpartition", Method::str_rpartition},
                                                {"rsplit", Method::str_rsplit},
                                                {"rstrip", Method::str_rstrip},
                                                {"split", Method::str_split},
                                                {"splitlines", Method::str_splitlines},
                                                {"startswith", Method::str_startswith},
                                                {"strip", Method::str_strip},
                                                {"upper", Method::str_upper},
                                                {"zfill", Method::str_zfill}};
inline constexpr MethodName dict_methods[] = {{"copy", Method::dict_copy},
                                              {"get", Method::dict_get},
                                              {"items", Method::dict_items},
                                              {"keys", Method::dict_keys},
                                              {"values", Method::dict_values}};
inline constexpr MethodName list_methods[] = {
    {"copy", Method::list_copy}, {"count", Method::list_count}, {"index", Method::list_index}};
inline constexpr MethodName tuple_methods[] = {{"count", Method::tuple_count}, {"index", Method::tuple_index}};

inline constexpr std::string_view refused_of_strings[] = {
    "casefold",  "encode",      "expandtabs", "format",    "format_map", "isascii",  "isdecimal", "isidentifier",
    "isnumeric", "isprintable", "istitle",    "maketrans", "rindex",     "swapcase", "title",     "translate"};
inline constexpr std::string_view refused_of_numbers[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "fromhex", "hex", "imag",
    "is_integer",       "numerator", "real",       "to_bytes"};
inline constexpr std::string_view refused_of_others[] = {
    "fromkeys", "start",      "stop",         "step",  "isdisjoint", "mapping", "gi_code",
    "gi_frame", "gi_running", "gi_yieldfrom", "close", "send",       "throw"};
inline constexpr std::string_view unsafe_of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
inline constexpr std::string_view unsafe_of_lists[] = {"append", "clear",  "extend",  "insert",
                                                       "pop",    "remove", "reverse", "sort"};

template <std::size_t N>
constexpr bool lists(const std::string_view (&names)[N], std::string_view name) noexcept {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}
template <std::size_t N>
constexpr Attribute look_up(const MethodName (&names)[N], std::string_view name) noexcept {
  for (const MethodName& entry : names)
    if (entry.name == name) return {Support::implemented, entry.method};
  return {};
}

}  // namespace detail

/// What attribute `name` a value of this kind has in Python.
constexpr Attribute attribute_of(Kind kind, std::string_view name) noexcept {
  Attribute found;
  const auto otherwise = [&](bool listed, Support support) {
    if (found.support == Support::none && listed) found.support = support;
    return found;
  };
  if (name.starts_with("__")) return {};  // no template meets an item of such a name; the sandbox hides the attributes
  switch (kind) {
    case Kind::string:
      found = detail::look_up(detail::string_methods, name);
      return otherwise(detail::lists(detail::refused_of_strings, name), Support::refused);
    case Kind::dict:
      found = detail::look_up(detail::dict_methods, name);
      otherwise(detail::lists(detail::unsafe_of_dicts, name), Support::unsafe);
      return otherwise(name == "fromkeys", Support::refused);
    case Kind::list:
      found = detail::look_up(detail::list_methods, name);
      return otherwise(detail::lists(detail::unsafe_of_lists, name), Support::unsafe);
    case Kind::tuple:
      return detail::look_up(detail::tuple_methods, name);
    case Kind::boolean:
    case Kind::integer:
    case Kind::real:
      return otherwise(detail::lists(detail::refused_of_numbers, name), Support::refused);
    case Kind::range:
    case Kind::keys_view:
    case Kind::values_view:
    case Kind::items_view:
    case Kind::generator:
      return otherwise(detail::lists(detail::refused_of_others, name) || name == "count" || name == "index",
                       Support::refused);
    case Kind::loop:  // the evaluator knows their attributes; filters that read attributes do not
    case Kind::macro:
    case Kind::function:
    case Kind::method:
      return {Support::refused, {}};
    default:
      return {};
  }
}

/// A name that, called as a method, only works in Python: refused when the template is parsed.
constexpr bool is_refused_method(std::string_view name) noexcept {
  const bool known = detail::look_up(detail::string_methods, name).support == Support::implemented ||
                     detail::look_up(detail::dict_methods, name).support == Support::implemented ||
                     detail::look_up(detail::list_methods, name).support == Support::implemented;
  return !known && (detail::lists(detail::refused_of_strings, name) ||
                    detail::lists(detail::refused_of_numbers, name) || name == "fromkeys" || name == "isdisjoint");
}

/// value.name for everything but loops: methods first, then items; undefined if there is neither.
inline Outcome<Value> get_attribute(Heap& heap, const Value& value, const Value& name) {
  if (value.is_undefined()) return raise_undefined(value);
  if (value.is(Kind::name_space)) {
    const Value* found = name.text().starts_with('_') ? nullptr : value.as_namespace().find(name.text());
    return found ? *found : Value::undefined(name, true);
  }
  const Attribute attribute = attribute_of(value.kind(), name.text());
  switch (attribute.support) {
    case Support::implemented:
      return heap.method(value, static_cast<int>(attribute.method));
    case Support::unsafe:
      return Value::undefined(name, true);
    case Support::refused:
      return raise({"attribute '", name.text(), "' of a ", name_of(value.kind()), " is not supported"},
                   Errc::unsupported);
    case Support::none:
      break;
  }
  if (value.is(Kind::dict)) {
    TMODEL_JINJA_TRY(const Value* entry, find_entry(heap, value.as_dict(), name));
    if (entry) return *entry;
  }
  return Value::undefined(name, true);
}

/// value[key] for everything but loops: items first, then attributes; undefined if there is neither.
inline Outcome<Value> get_item(Heap& heap, const Value& value, const Value& key) {
  if (value.is_undefined()) return raise_undefined(value);
  if (value.is(Kind::dict) && is_key(key)) {
    TMODEL_JINJA_TRY(const Value* entry, find_entry(heap, value.as_dict(), key));
    if (entry) return *entry;
  } else if (key.is_integral() && (value.is(Kind::list) || value.is(Kind::tuple) || value.is(Kind::range))) {
    const auto& items = value.as_sequence().items;
    const auto index = element_index(key.as_integer(), items.size());
    return index ? items[*index] : Value::undefined(key, true);
  } else if (key.is_integral() && value.is_string()) {
    const StringObject& s = value.as_string();
    const auto index = element_index(key.as_integer(), s.length);
    if (!index) return Value::undefined(key, true);
    TMODEL_JINJA_CHECK(heap.step_over_bytes(s.is_ascii() ? 0 : s.text.bytes.size()));
    const std::size_t at = s.is_ascii() ? *index : offset_of(s.text.bytes, *index);
    return heap.string(s.text.slice({at, at + decode(std::string_view(s.text.bytes).substr(at)).bytes}), s.safe);
  }
  if (!key.is_string()) return Value::undefined(key, true);
  return get_attribute(heap, value, key);
}

namespace detail {

/// Byte range of s between the optional code point bounds start and end of find, count, startswith and endswith.
/// nullopt: start lies beyond the end of s, where not even the empty string is found.
inline Outcome<std::optional<Range>> bounds_of(Heap& heap, const StringObject& s, const Value* start,
                                               const Value* end) {
  const auto bound = [&](const Value* v, std::int64_t otherwise) -> Outcome<std::int64_t> {
    if (v == nullptr || v->is(Kind::none)) return otherwise;
    return integer_argument(v, 0, "find");
  };
  const auto n = static_cast<std::int64_t>(s.length);
  TMODEL_JINJA_TRY(std::int64_t from, bound(start, 0));
  TMODEL_JINJA_TRY(std::int64_t to, bound(end, n));
  if (from < 0) from = from < -n ? 0 : from + n;
  if (to < 0) to = to < -n ? 0 : to + n;
  to = std::min(to, n);
  if (from > to) return std::optional<Range>();
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.text.bytes.size()));
  return std::optional<Range>(Range{offset_of(s.text.bytes, static_cast<std::size_t>(from)),
                                    offset_of(s.text.bytes, static_cast<std::size_t>(to))});
}

/// str.startswith and endswith: a string or a tuple of strings.
inline Outcome<Value> begins_or_ends(Heap& heap, const StringObject& s, const Arguments& arguments, bool at_end) {
  const std::string_view callee = at_end ? "endswith" : "startswith";
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, callee, 1, {"/what", "/start", "/end"}));
  TMODEL_JINJA_TRY(const auto range, bounds_of(heap, s, bound[1], bound[2]));
  std::vector<Value> candidates{*bound[0]};
  if (bound[0]->is(Kind::tuple)) candidates = bound[0]->as_sequence().items;
  bool found = false;
  for (const Value& candidate : candidates) {
    TMODEL_JINJA_CHECK(heap.step());
    TMODEL_JINJA_TRY(const StringObject* what, string_argument(candidate, callee));
    if (!range || found) continue;
    const std::string_view part = std::string_view(s.text.bytes).substr(range->begin, range->end - range->begin);
    found = at_end ? part.ends_with(what->text.bytes) : part.starts_with(what->text.bytes);
  }
  return Value::boolean(found);
}

/// str.find, rfind, index and count.
inline Outcome<Value> search(Heap& heap, const StringObject& s, const Arguments& arguments, Method method) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "find", 1, {"/what", "/start", "/end"}));
  TMODEL_JINJA_TRY(const StringObject* what, string_argument(*bound[0], "find"));
  TMODEL_JINJA_TRY(const auto range, bounds_of(heap, s, bound[1], bound[2]));
  std::size_t found = std::string_view::npos, count = 0;
  if (range) {
    const std::string_view part = std::string_view(s.text.bytes).substr(range->begin, range->end - range->begin);
    const std::string_view needle = what->text.bytes;
    TMODEL_JINJA_CHECK(heap.step_over_bytes(part.size()));
    if (method == Method::str_count && needle.empty()) {
      count = count_code_points(part) + 1;
    } else if (method == Method::str_count) {
      for (std::size_t at = 0; (at = find_bytes(part, needle, at)) != part.npos; at += needle.size()) {
        TMODEL_JINJA_CHECK(heap.step());
        ++count;
      }
    } else if (method == Method::str_rfind) {
      const std::string mirrored(part.rbegin(), part.rend()), mirrored_needle(needle.rbegin(), needle.rend());
      const std::size_t at = find_bytes(mirrored, mirrored_needle);
      if (at != part.npos) found = part.size() - at - needle.size();
    } else {
      found = find_bytes(part, needle);
    }
    if (found != part.npos) found = count_code_points(std::string_view(s.text.bytes).substr(0, range->begin + found));
  }
  if (method == Method::str_count) return Value::integer(static_cast<std::int64_t>(count));
  if (found != std::string_view::npos) return Value::integer(static_cast<std::int64_t>(found));
  if (method == Method::str_index) return raise("index(): substring not found");
  return Value::integer(-1);
}

/// str.isalnum and its like, exact for ASCII. Errors: other text.
inline Outcome<Value> classify(const StringObject& s, Method method) {
  bool all = s.length != 0, cased = false;
  for (std::size_t i = 0; i < s.text.bytes.size();) {
    const CodePoint c = decode(std::string_view(s.text.bytes).substr(i));
    i += c.bytes;
    if (method == Method::str_isspace) {
      all = all && is_space(c.value);
      continue;
    }
    if (c.value >= 0x80)
      return raise("classifying text that is not ASCII (isalpha and its like) is not supported", Errc::unsupported);
    const bool lower = c.value >= U'a' && c.value <= U'z', upper = c.value >= U'A' && c.value <= U'Z';
    const bool digit = c.value >= U'0' && c.value <= U'9';
    cased = cased || lower || upper;
    switch (method) {
      case Method::str_isalnum:
        all = all && (lower || upper || digit);
        break;
      case Method::str_isalpha:
        all = all && (lower || upper);
        break;
      case Method::str_isdigit:
        all = all && digit;
        break;
      case Method::str_islower:
        all = all && !upper;
        break;
      default:
        all = all && !lower;
        break;
    }
  }
  if (method == Method::str_islower || method == Method::str_isupper) all = all && cased;
  return Value::boolean(all);
}

/// str.center, ljust, rjust and zfill.
inline Outcome<Value> justify(Heap& heap, const StringObject& s, const Arguments& arguments, Method method) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "center", 1, {"/width", "/fill"}));
  TMODEL_JINJA_TRY(const std::int64_t width, integer_argument(bound[0], 0, "center"));
  Text fill = Text::of(method == Method::str_zfill ? "0" : " ");
  if (bound[1] != nullptr) {
    if (method == Method::str_zfill) return raise("zfill() takes one argument");
    TMODEL_JINJA_TRY(const StringObject* given, string_argument(*bound[1], "center"));
    if (given->length != 1) return raise("center(): the fill must be one character");
    fill = given->text;
  }
  const auto n = static_cast<std::int64_t>(s.length);
  const auto padding = static_cast<std::uint64_t>(width > n ? width - n : 0);
  std::uint64_t left = 0;
  std::size_t sign = 0;
  switch (method) {
    case Method::str_center:
      left = padding / 2 + (padding & static_cast<std::uint64_t>(width) & 1);
      break;
    case Method::str_rjust:
      left = padding;
      break;
    case Method::str_zfill:
      left = padding;
      sign = s.text.bytes.starts_with('-') || s.text.bytes.starts_with('+') ? 1 : 0;
      break;
    default:
      break;
  }
  TextBuilder out(heap);
  out.append(s.text, {0, sign});
  out.repeat(fill, left);
  out.append(s.text, {sign, s.text.bytes.size()});
  out.repeat(fill, padding - left);
  return out.finish();
}

/// str.partition and rpartition.
inline Outcome<Value> partition(Heap& heap, const StringObject& s, const Arguments& arguments, bool from_right) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "partition", 1, {"/separator"}));
  TMODEL_JINJA_TRY(const StringObject* separator, string_argument(*bound[0], "partition"));
  if (separator->length == 0) return raise("partition(): empty separator");
  TMODEL_JINJA_TRY(const auto pieces, split_ranges(heap, s, separator, 1, from_right));
  std::vector<Range> parts(3);
  if (pieces.size() == 2)
    parts = {pieces[0], {pieces[0].end, pieces[1].begin}, pieces[1]};
  else
    parts[from_right ? 2 : 0] = {0, s.text.bytes.size()};
  TMODEL_JINJA_TRY(const Value list, pieces_of(heap, s, parts));
  return heap.sequence(Kind::tuple, std::vector<Value>(list.as_sequence().items));
}

/// str.join, whose elements must be strings.
inline Outcome<Value> join_method(Heap& heap, const StringObject& s, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "join", 1, {"/items"}));
  if (bound[0]->is_undefined()) return heap.string("");
  TMODEL_JINJA_TRY(const std::vector<Value> items, elements_of(heap, *bound[0]));
  TextBuilder out(heap);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string())
      return raise({"join(): sequence item ", std::to_string(i), ": expected str instance, ", name_of(items[i].kind()),
                    " found"});
    if (i != 0) out.append(s.text);
    out.append(items[i].as_string().text);
  }
  return out.finish();
}

inline Outcome<Value> call_string_method(Heap& heap, const StringObject& s, Method method, const Arguments& arguments) {
  if (s.safe) return raise("methods of safe text are not supported", Errc::unsupported);
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.text.bytes.size()));
  const auto none = [&]() { return bind_none(arguments, "this string method"); };
  switch (method) {
    case Method::str_capitalize:
      TMODEL_JINJA_CHECK(none());
      return change_case(heap, s, Case::capitalize);
    case Method::str_lower:
      TMODEL_JINJA_CHECK(none());
      return change_case(heap, s, Case::lower);
    case Method::str_upper:
      TMODEL_JINJA_CHECK(none());
      return change_case(heap, s, Case::upper);
    case Method::str_isalnum:
    case Method::str_isalpha:
    case Method::str_isdigit:
    case Method::str_islower:
    case Method::str_isspace:
    case Method::str_isupper:
      TMODEL_JINJA_CHECK(none());
      return classify(s, method);
    case Method::str_endswith:
      return begins_or_ends(heap, s, arguments, true);
    case Method::str_startswith:
      return begins_or_ends(heap, s, arguments, false);
    case Method::str_count:
    case Method::str_find:
    case Method::str_index:
    case Method::str_rfind:
      return search(heap, s, arguments, method);
    case Method::str_center:
    case Method::str_ljust:
    case Method::str_rjust:
    case Method::str_zfill:
      return justify(heap, s, arguments, method);
    case Method::str_partition:
      return partition(heap, s, arguments, false);
    case Method::str_rpartition:
      return partition(heap, s, arguments, true);
    case Method::str_join:
      return join_method(heap, s, arguments);
    case Method::str_strip:
    case Method::str_lstrip:
    case Method::str_rstrip: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "strip", 0, {"/characters"}));
      const StringObject* characters = nullptr;
      if (bound[0] && !bound[0]->is(Kind::none)) {
        TMODEL_JINJA_TRY(characters, string_argument(*bound[0], "strip"));
      }
      TMODEL_JINJA_TRY(const Range kept,
                       strip_range(heap, s, characters, method != Method::str_rstrip, method != Method::str_lstrip));
      return heap.string(s.text.slice(kept));
    }
    case Method::str_removeprefix:
    case Method::str_removesuffix: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "removeprefix", 1, {"/what"}));
      TMODEL_JINJA_TRY(const StringObject* what, string_argument(*bound[0], "removeprefix"));
      const std::string_view bytes = s.text.bytes, part = what->text.bytes;
      if (method == Method::str_removeprefix && bytes.starts_with(part))
        return heap.string(s.text.slice({part.size(), bytes.size()}));
      if (method == Method::str_removesuffix && bytes.ends_with(part))
        return heap.string(s.text.slice({0, bytes.size() - part.size()}));
      return heap.string(Text(s.text));
    }
    case Method::str_replace: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "replace", 2, {"/old", "/new", "/count"}));
      TMODEL_JINJA_TRY(const StringObject* from, string_argument(*bound[0], "replace"));
      TMODEL_JINJA_TRY(const StringObject* to, string_argument(*bound[1], "replace"));
      TMODEL_JINJA_TRY(const std::int64_t count, integer_argument(bound[2], -1, "replace"));
      return replace(heap, s.text, from->text.bytes, to->text, count);
    }
    case Method::str_split:
    case Method::str_rsplit: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "split", 0, {"sep", "maxsplit"}));
      const StringObject* separator = nullptr;
      if (bound[0] && !bound[0]->is(Kind::none)) {
        TMODEL_JINJA_TRY(separator, string_argument(*bound[0], "split"));
      }
      TMODEL_JINJA_TRY(const std::int64_t most, integer_argument(bound[1], -1, "split"));
      TMODEL_JINJA_TRY(const auto ranges, split_ranges(heap, s, separator, most, method == Method::str_rsplit));
      return pieces_of(heap, s, ranges);
    }
    case Method::str_splitlines: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "splitlines", 0, {"keepends"}));
      TMODEL_JINJA_TRY(const auto lines, line_ranges(heap, s.text.bytes, truth_argument(bound[0], false)));
      return pieces_of(heap, s, lines);
    }
    default:
      return raise("this method is not supported", Errc::unsupported);
  }
}

/// list.count, list.index and those of tuples.
inline Outcome<Value> search_items(Heap& heap, const Value& self, Method method, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "index", 1, {"/item", "/start", "/end"}));
  const bool counting = method == Method::list_count || method == Method::tuple_count;
  if (bound[1] != nullptr) return raise("index() with bounds is not supported", Errc::unsupported);
  std::int64_t count = 0, at = 0;
  for (const Value& item : self.as_sequence().items) {
    TMODEL_JINJA_TRY(const bool same, equal(heap, item, *bound[0]));
    if (same && !counting) return Value::integer(at);
    count += same;
    ++at;
  }
  if (!counting) return raise("index(): the value is not in the list");
  return Value::integer(count);
}

}  // namespace detail

/// Calls a bound method. Errors: its arguments, budget.
inline Outcome<Value> call_method(Heap& heap, const Value& self, Method method, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(heap.step());
  if (self.is_string()) return detail::call_string_method(heap, self.as_string(), method, arguments);
  switch (method) {
    case Method::dict_get: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "get", 1, {"/key", "/default"}));
      if (!bound[0]->is_undefined()) {
        TMODEL_JINJA_CHECK(check_key(*bound[0]));
        TMODEL_JINJA_TRY(const Value* entry, find_entry(heap, self.as_dict(), *bound[0]));
        if (entry) return *entry;
      }
      return bound[1] ? *bound[1] : Value::none();
    }
    case Method::dict_keys:
    case Method::dict_values:
    case Method::dict_items: {
      TMODEL_JINJA_CHECK(bind_none(arguments, "this dict method"));
      std::vector<Value> items;
      items.reserve(self.as_dict().entries.size());
      for (const auto& [key, value] : self.as_dict().entries) {
        if (method == Method::dict_items) {
          TMODEL_JINJA_TRY(Value pair, heap.pair(key, value));
          items.push_back(std::move(pair));
        } else {
          items.push_back(method == Method::dict_keys ? key : value);
        }
      }
      return heap.sequence(method == Method::dict_keys     ? Kind::keys_view
                           : method == Method::dict_values ? Kind::values_view
                                                           : Kind::items_view,
                           std::move(items));
    }
    case Method::dict_copy:
    case Method::list_copy:
      TMODEL_JINJA_CHECK(bind_none(arguments, "copy"));
      return self;
    default:
      return detail::search_items(heap, self, method, arguments);
  }
}

}  // namespace tmodel::inline v0::jinja
