#pragma once
// Filters that walk a sequence: select and map and their like, sort, join, unique.
// Source: Jinja2 3.1 documentation, "List of Builtin Filters". Where Jinja2 returns a generator, so do these.

#include "tmodel/text/jinja/methods.hpp"
#include "tmodel/text/jinja/percent_format.hpp"
#include "tmodel/text/jinja/tests.hpp"

namespace tmodel::inline v0::jinja {

using FilterFunction = Outcome<Value> (*)(Heap&, const Value&, const Arguments&);

struct FilterEntry {
  std::string_view name;
  FilterFunction call;
};

Outcome<Value> call_filter(Heap& heap, int id, const Value& value, const Arguments& arguments);

namespace detail {

/// Reads the attribute that a filter names ("a.b.0", a key or an index) from each element.
struct AttributeReader {
  std::vector<Value> parts;
  bool ignore_case = false;
  Value otherwise{};  ///< taken where a part is undefined, unless none or undefined

  static Outcome<AttributeReader> create(Heap& heap, const Value* attribute, bool ignore_case) {
    AttributeReader reader;
    reader.ignore_case = ignore_case;
    if (attribute == nullptr || attribute->is(Kind::none)) return reader;
    if (!attribute->is_string()) {
      reader.parts.push_back(*attribute);
      return reader;
    }
    TMODEL_JINJA_TRY(const auto pieces, split_bytes(heap, attribute->text(), ".", -1));
    for (const Range& range : pieces) {
      const std::string_view part = attribute->text().substr(range.begin, range.end - range.begin);
      std::int64_t index = 0;
      const bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
      if (digits && std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc()) {
        reader.parts.push_back(Value::integer(index));
      } else {
        TMODEL_JINJA_TRY(Value name, heap.string(part));
        reader.parts.push_back(std::move(name));
      }
    }
    return reader;
  }

  Outcome<Value> read(Heap& heap, Value item) const {
    for (const Value& part : parts) {
      TMODEL_JINJA_TRY(item, get_item(heap, item, part));
      if (item.is_undefined() && !otherwise.is_undefined() && !otherwise.is(Kind::none)) item = otherwise;
    }
    if (ignore_case && item.is_string()) return change_case(heap, item.as_string(), Case::lower);
    return item;
  }
};

/// A generator of fn(item) for the items of v where it gives one. Errors of single items wait in the generator.
template <class Fn>
Outcome<Value> generate(Heap& heap, const Value& v, Fn&& fn) {
  std::vector<Value> items;
  auto it = Iterator::over(v);
  if (!it) return heap.generator({}, std::move(it).error());
  for (Value item;;) {
    auto more = it->next(heap, item);
    if (!more) return heap.generator(std::move(items), std::move(more).error());
    if (!*more) return heap.generator(std::move(items));
    Outcome<std::optional<Value>> made = fn(item);
    if (!made) return heap.generator(std::move(items), std::move(made).error());
    if (*made) items.push_back(std::move(**made));
  }
}

inline Outcome<Value> failing_generator(Heap& heap, tl::unexpected<Raised> problem) {
  return heap.generator({}, std::move(problem.value()));
}

/// select, reject, selectattr, rejectattr.
template <bool keep, bool by_attribute>
Outcome<Value> filter_select(Heap& heap, const Value& v, const Arguments& arguments) {
  if (!truth(v)) return heap.generator({});
  const auto& given = arguments.positional;
  std::size_t used = 0;
  AttributeReader reader;
  if constexpr (by_attribute) {
    if (given.empty()) return failing_generator(heap, raise("missing parameter for attribute name"));
    TMODEL_JINJA_TRY(reader, AttributeReader::create(heap, &given[0], false));
    used = 1;
  }
  int test = -1;
  Arguments rest;
  if (given.size() > used) {
    test = given[used].is_string() ? find_test(given[used].text()) : -1;
    if (test < 0) return failing_generator(heap, raise("select(): there is no such test"));
    rest.positional.assign(given.begin() + static_cast<std::ptrdiff_t>(used) + 1, given.end());
    rest.named = arguments.named;
  }
  return generate(heap, v, [&](const Value& item) -> Outcome<std::optional<Value>> {
    TMODEL_JINJA_TRY(const Value read, reader.read(heap, item));
    bool holds = truth(read);
    if (test >= 0) {
      TMODEL_JINJA_TRY(holds, call_test(heap, test, read, rest));
    }
    return holds == keep ? std::optional<Value>(item) : std::optional<Value>();
  });
}

inline Outcome<Value> filter_map(Heap& heap, const Value& v, const Arguments& arguments) {
  if (!truth(v)) return heap.generator({});
  const Value* attribute = arguments.positional.empty() ? arguments.find("attribute") : nullptr;
  if (attribute != nullptr) {
    for (const auto& argument : arguments.named)
      if (argument.first.text() != "attribute" && argument.first.text() != "default")
        return failing_generator(heap, raise("map(): unexpected keyword argument"));
    TMODEL_JINJA_TRY(AttributeReader reader, AttributeReader::create(heap, attribute, false));
    if (const Value* otherwise = arguments.find("default")) reader.otherwise = *otherwise;
    return generate(heap, v, [&](const Value& item) -> Outcome<std::optional<Value>> {
      TMODEL_JINJA_TRY(Value read, reader.read(heap, item));
      return std::optional<Value>(std::move(read));
    });
  }
  if (arguments.positional.empty()) return failing_generator(heap, raise("map() requires a filter argument"));
  const Value& name = arguments.positional[0];
  const int filter = name.is_string() ? find_filter(name.text()) : -1;
  if (filter < 0) return failing_generator(heap, raise("map(): there is no such filter"));
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
  rest.named = arguments.named;
  return generate(heap, v, [&](const Value& item) -> Outcome<std::optional<Value>> {
    TMODEL_JINJA_TRY(Value made, call_filter(heap, filter, item, rest));
    return std::optional<Value>(std::move(made));
  });
}

inline Outcome<Value> filter_unique(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "unique", 0, {"case_sensitive", "attribute"}));
  TMODEL_JINJA_TRY(const AttributeReader reader,
                   AttributeReader::create(heap, bound[1], !truth_argument(bound[0], false)));
  std::vector<Value> seen;
  return generate(heap, v, [&](const Value& item) -> Outcome<std::optional<Value>> {
    TMODEL_JINJA_TRY(Value key, reader.read(heap, item));
    if (!key.is_undefined()) TMODEL_JINJA_CHECK(check_key(key));
    for (const Value& other : seen) {
      TMODEL_JINJA_TRY(const bool same, equal(heap, other, key));
      if (same) return std::optional<Value>();
    }
    seen.push_back(std::move(key));
    return std::optional<Value>(item);
  });
}

inline Outcome<Value> filter_items(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "items"));
  if (v.is_undefined()) return heap.generator({});
  if (!v.is(Kind::dict)) return failing_generator(heap, raise("Can only get item pairs from a mapping."));
  TMODEL_JINJA_TRY(const Value view, call_method(heap, v, Method::dict_items, arguments));
  return generate(heap, view,
                  [](const Value& item) -> Outcome<std::optional<Value>> { return std::optional<Value>(item); });
}

/// batch: lists of n items each, the last filled up if a filler is given.
inline Outcome<Value> filter_batch(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "batch", 1, {"linecount", "fill_with"}));
  const std::int64_t size = bound[0]->is_integral() ? bound[0]->as_integer() : 0;
  if (size <= 0) return raise("batch() with a size below 1 is not supported", Errc::unsupported);
  auto walked = elements_of(heap, v);
  if (!walked) return heap.generator({}, std::move(walked).error());
  const std::vector<Value>& items = *walked;
  const bool fills = bound[1] && !bound[1]->is(Kind::none);
  std::vector<Value> batches;
  for (std::size_t at = 0; at < items.size();) {
    const std::size_t n = std::min(items.size() - at, static_cast<std::size_t>(size));
    std::vector<Value> batch(items.begin() + static_cast<std::ptrdiff_t>(at),
                             items.begin() + static_cast<std::ptrdiff_t>(at + n));
    TMODEL_JINJA_CHECK(heap.step(n));
    if (fills && n < static_cast<std::size_t>(size)) {
      if (size > max_range) return Heap::too_large();
      batch.resize(static_cast<std::size_t>(size), *bound[1]);
    }
    TMODEL_JINJA_TRY(Value list, heap.list(std::move(batch)));
    batches.push_back(std::move(list));
    at += n;
  }
  return heap.generator(std::move(batches));
}

/// slice: n lists of nearly equal length, in order.
inline Outcome<Value> filter_slice(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "slice", 1, {"slices", "fill_with"}));
  auto slices = integer_argument(bound[0], 0, "slice");
  if (!slices) return heap.generator({}, std::move(slices).error());
  if (*slices <= 0 || *slices > max_range)
    return raise("slice() into so many parts is not supported", Errc::unsupported);
  auto walked = elements_of(heap, v);
  if (!walked) return heap.generator({}, std::move(walked).error());
  const std::vector<Value>& items = *walked;
  const auto n = static_cast<std::size_t>(*slices);
  std::vector<Value> parts;
  for (std::size_t i = 0, at = 0; i < n; ++i) {
    const std::size_t size = items.size() / n + (i < items.size() % n ? 1 : 0);
    std::vector<Value> part(items.begin() + static_cast<std::ptrdiff_t>(at),
                            items.begin() + static_cast<std::ptrdiff_t>(at + size));
    if (bound[1] && !bound[1]->is(Kind::none) && i >= items.size() % n) part.push_back(*bound[1]);
    TMODEL_JINJA_TRY(Value list, heap.list(std::move(part)));
    parts.push_back(std::move(list));
    at += size;
  }
  return heap.generator(std::move(parts));
}

inline Outcome<Value> filter_length(Heap&, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "length"));
  std::size_t n = 0;
  if (v.is_string())
    n = v.as_string().length;
  else if (v.is_sequence())
    n = v.as_sequence().items.size();
  else if (v.is(Kind::dict))
    n = v.as_dict().entries.size();
  else if (!v.is_undefined())
    return raise({"object of type '", name_of(v.kind()), "' has no length"});
  return Value::integer(static_cast<std::int64_t>(n));
}

inline Outcome<Value> filter_list(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "list"));
  TMODEL_JINJA_TRY(std::vector<Value> items, elements_of(heap, v));
  return heap.list(std::move(items));
}

inline Outcome<Value> filter_first(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "first"));
  TMODEL_JINJA_TRY(Iterator it, Iterator::over(v));
  Value item;
  TMODEL_JINJA_TRY(const bool more, it.next(heap, item));
  return more ? item : Value();
}

inline Outcome<Value> filter_last(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "last"));
  if (v.is(Kind::generator)) return raise("'generator' object is not reversible");
  TMODEL_JINJA_TRY(const std::vector<Value> items, elements_of(heap, v));
  return items.empty() ? Value() : items.back();
}

inline Outcome<Value> filter_reverse(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_CHECK(bind_none(arguments, "reverse"));
  if (v.is_string()) return slice(heap, v, Value::none(), Value::none(), Value::integer(-1));
  TMODEL_JINJA_TRY(std::vector<Value> items, elements_of(heap, v));
  std::reverse(items.begin(), items.end());
  return v.is(Kind::generator) ? heap.list(std::move(items)) : heap.generator(std::move(items));
}

inline Outcome<Value> filter_join(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "join", 0, {"d", "attribute"}));
  Value separator = Value::string("");
  if (bound[0]) {
    TMODEL_JINJA_TRY(separator, to_string(heap, *bound[0]));
  }
  TMODEL_JINJA_TRY(const AttributeReader reader, AttributeReader::create(heap, bound[1], false));
  TMODEL_JINJA_TRY(Iterator it, Iterator::over(v));
  TextBuilder out(heap);
  bool first = true;
  for (Value item;;) {
    TMODEL_JINJA_TRY(const bool more, it.next(heap, item));
    if (!more) return out.finish();
    TMODEL_JINJA_TRY(const Value read, reader.read(heap, item));
    if (!std::exchange(first, false)) out.append(separator.as_string().text);
    TMODEL_JINJA_CHECK(str(heap, read, out));
  }
}

inline Outcome<Value> filter_sum(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "sum", 0, {"attribute", "start"}));
  TMODEL_JINJA_TRY(const AttributeReader reader, AttributeReader::create(heap, bound[0], false));
  Value total = bound[1] ? *bound[1] : Value::integer(0);
  if (total.is_string()) return raise("sum() can't sum strings");
  TMODEL_JINJA_TRY(Iterator it, Iterator::over(v));
  for (Value item;;) {
    TMODEL_JINJA_TRY(const bool more, it.next(heap, item));
    if (!more) return total;
    TMODEL_JINJA_TRY(const Value read, reader.read(heap, item));
    TMODEL_JINJA_TRY(total, arithmetic(heap, Operator::add, total, read));
  }
}

template <bool largest>
Outcome<Value> filter_extreme(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "max", 0, {"case_sensitive", "attribute"}));
  TMODEL_JINJA_TRY(const AttributeReader reader,
                   AttributeReader::create(heap, bound[1], !truth_argument(bound[0], false)));
  TMODEL_JINJA_TRY(Iterator it, Iterator::over(v));
  Value best, best_key;
  bool any = false;
  for (Value item;;) {
    TMODEL_JINJA_TRY(const bool more, it.next(heap, item));
    if (!more) return best;
    TMODEL_JINJA_TRY(Value key, reader.read(heap, item));
    bool better = true;
    if (any) {
      TMODEL_JINJA_TRY(better, compare(heap, largest ? Operator::greater : Operator::less, key, best_key));
    }
    if (!better) continue;
    any = true;
    best = item;
    best_key = std::move(key);
  }
}

struct Keyed {
  Value key, item;
};

/// Stable merge sort by key, which may fail: std's sorts must not meet a comparison that changes its mind.
inline Outcome<void> sort_keyed(Heap& heap, std::vector<Keyed>& items, bool reverse) {
  std::vector<Keyed> merged(items.size());
  for (std::size_t width = 1; width < items.size(); width *= 2) {
    for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, items.size()), end = std::min(begin + 2 * width, items.size());
      std::size_t left = begin, right = middle;
      for (std::size_t to = begin; to < end; ++to) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
          const Keyed &l = items[left], &r = items[right];
          TMODEL_JINJA_TRY(take_right, compare(heap, Operator::less, reverse ? l.key : r.key, reverse ? r.key : l.key));
        }
        merged[to] = std::move(items[take_right ? right++ : left++]);
      }
    }
    std::swap(items, merged);
  }
  return {};
}

inline Outcome<Value> list_of(Heap& heap, std::vector<Keyed>&& keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return heap.list(std::move(items));
}

inline Outcome<Value> filter_sort(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "sort", 0, {"reverse", "case_sensitive", "attribute"}));
  const bool ignore_case = !truth_argument(bound[1], false);
  std::vector<AttributeReader> readers;
  if (bound[2] && bound[2]->is_string()) {  // several attributes, by commas
    TMODEL_JINJA_TRY(const auto names, split_bytes(heap, bound[2]->text(), ",", -1));
    for (const Range& range : names) {
      TMODEL_JINJA_TRY(const Value name, heap.string(bound[2]->text().substr(range.begin, range.end - range.begin)));
      TMODEL_JINJA_TRY(AttributeReader reader, AttributeReader::create(heap, &name, ignore_case));
      readers.push_back(std::move(reader));
    }
  } else {
    TMODEL_JINJA_TRY(AttributeReader reader, AttributeReader::create(heap, bound[2], ignore_case));
    readers.push_back(std::move(reader));
  }
  TMODEL_JINJA_TRY(std::vector<Value> items, elements_of(heap, v));
  std::vector<Keyed> keyed;
  for (Value& item : items) {
    std::vector<Value> keys;
    for (const AttributeReader& reader : readers) {
      TMODEL_JINJA_TRY(Value key, reader.read(heap, item));
      keys.push_back(std::move(key));
    }
    TMODEL_JINJA_TRY(Value key, heap.list(std::move(keys)));
    keyed.push_back({std::move(key), std::move(item)});
  }
  TMODEL_JINJA_TRY(const std::int64_t reverse, integer_argument(bound[0], 0, "sort"));
  TMODEL_JINJA_CHECK(sort_keyed(heap, keyed, reverse != 0));
  return list_of(heap, std::move(keyed));
}

inline Outcome<Value> filter_dictsort(Heap& heap, const Value& v, const Arguments& arguments) {
  TMODEL_JINJA_TRY(const auto bound, bind(arguments, "dictsort", 0, {"case_sensitive", "by", "reverse"}));
  const std::string_view by = bound[1] && bound[1]->is_string() ? bound[1]->text() : bound[1] ? "" : "key";
  if (by != "key" && by != "value") return raise("dictsort(): you can only sort by either \"key\" or \"value\"");
  if (v.is_undefined()) return raise_undefined(v);
  if (!v.is(Kind::dict)) return raise("dictsort(): not a dict");
  AttributeReader reader;
  reader.ignore_case = !truth_argument(bound[0], false);
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : v.as_dict().entries) {
    TMODEL_JINJA_TRY(Value sort_key, reader.read(heap, by == "key" ? key : value));
    TMODEL_JINJA_TRY(Value pair, heap.pair(key, value));
    keyed.push_back({std::move(sort_key), std::move(pair)});
  }
  TMODEL_JINJA_TRY(const std::int64_t reverse, integer_argument(bound[2], 0, "dictsort"));
  TMODEL_JINJA_CHECK(sort_keyed(heap, keyed, reverse != 0));
  return list_of(heap, std::move(keyed));
}

}  // namespace detail

}  // namespace tmodel::inline v0::jinja
