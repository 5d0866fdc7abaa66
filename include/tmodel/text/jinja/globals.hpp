#pragma once
// Functions that every template sees: range, dict, namespace (Jinja2), raise_exception and strftime_now (transformers).

#include "tmodel/text/jinja/arguments.hpp"
#include "tmodel/text/jinja/strftime.hpp"

namespace tmodel::inline v0::jinja {

enum class Global : std::uint8_t { range, dict, name_space, raise_exception, strftime_now };

inline std::optional<Global> find_global(std::string_view name) noexcept {
  constexpr std::string_view names[] = {"range", "dict", "namespace", "raise_exception", "strftime_now"};
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name) return static_cast<Global>(i);
  return std::nullopt;
}

/// transformers' namespaces take no such name, so that templates cannot reach Python's own.
inline tl::unexpected<Raised> raise_private_name() { return raise("the names in a namespace must not begin with '_'"); }

namespace detail {

/// Entries that dict(…) would have: of a mapping or of pairs, then the keyword arguments.
inline Outcome<std::vector<std::pair<Value, Value>>> dict_entries(Heap& heap, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) return raise("dict() takes at most one positional argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_undefined()) return raise_undefined(source);
    if (source.is(Kind::dict)) {
      TMODEL_JINJA_CHECK(heap.step(source.as_dict().entries.size()));
      entries = source.as_dict().entries;
    } else {
      TMODEL_JINJA_TRY(const std::vector<Value> pairs, elements_of(heap, source));
      for (const Value& pair : pairs) {
        TMODEL_JINJA_TRY(std::vector<Value> two, elements_of(heap, pair));
        if (two.size() != 2) return raise("dict(): an element is not a pair");
        TMODEL_JINJA_CHECK(put_entry(heap, entries, std::move(two[0]), std::move(two[1])));
      }
    }
  }
  for (const auto& [name, value] : arguments.named) TMODEL_JINJA_CHECK(put_entry(heap, entries, name, value));
  return entries;
}

inline Outcome<Value> make_range(Heap& heap, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "range", 1, {"/start", "/stop", "/step"}));
  std::int64_t start = 0, stop = 0, step = 1;
  if (bound[1] == nullptr) {
    TMODEL_JINJA_TRY(stop, integer_argument(bound[0], 0, "range"));
  } else {
    TMODEL_JINJA_TRY(start, integer_argument(bound[0], 0, "range"));
    TMODEL_JINJA_TRY(stop, integer_argument(bound[1], 0, "range"));
    TMODEL_JINJA_TRY(step, integer_argument(bound[2], 1, "range"));
  }
  if (step == 0) return raise("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (items.size() == static_cast<std::size_t>(max_range)) return raise("range() is longer than 100000");
    items.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return heap.sequence(Kind::range, std::move(items));
}

}  // namespace detail

/// Errors: the arguments; bad_argument if strftime_now is called and the caller gave no time; whatever message the
/// template passes to raise_exception.
inline Outcome<Value> call_global(Heap& heap, Global global, const Arguments& arguments,
                                  const std::optional<LocalTime>& now) {
  TMODEL_JINJA_CHECK(heap.step());
  switch (global) {
    case Global::range:
      return detail::make_range(heap, arguments);
    case Global::dict: {
      TMODEL_JINJA_TRY(auto entries, detail::dict_entries(heap, arguments));
      return heap.dict(std::move(entries));
    }
    case Global::name_space: {
      TMODEL_JINJA_TRY(auto entries, detail::dict_entries(heap, arguments));
      std::erase_if(entries, [](const auto& entry) { return !entry.first.is_string(); });  // out of any reach
      for (const auto& entry : entries)
        if (entry.first.text().starts_with('_')) return raise_private_name();
      return heap.name_space(std::move(entries));
    }
    case Global::raise_exception: {
      TMODEL_JINJA_TRY(const auto bound, bind(arguments, "raise_exception", 1, {"message"}));
      TMODEL_JINJA_TRY(const Value message, to_string(heap, *bound[0]));
      return raise(message.text());
    }
    case Global::strftime_now:
      break;
  }
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "strftime_now", 1, {"format"}));
  TMODEL_JINJA_TRY(const StringObject* format, string_argument(*bound[0], "strftime_now"));
  if (!now) return raise("the template asks for the time, and none was given", Errc::bad_argument);
  TMODEL_JINJA_CHECK(heap.step_over_bytes(format->text.bytes.size() * 16));
  auto text = format_time(format->text.bytes, *now);
  if (!text) return raise(text.error().what, text.error().code);
  return heap.string(Text::of(*text, !format->text.marks.empty()));  // a marked part marks all of it
}

}  // namespace tmodel::inline v0::jinja
