#pragma once
// Operators on values: truth, equality, order, arithmetic, membership and slices, with Python's meaning.
// Source: Python 3 language reference, chapter 6. Integers are int64: a result outside is an error.

#include "tmodel/text/jinja/format.hpp"

namespace tmodel::inline v0::jinja {

enum class Operator : std::uint8_t {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in,
};

constexpr std::string_view name_of(Operator op) noexcept {
  constexpr std::string_view names[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return names[static_cast<std::size_t>(op)];
}

/// What to say of an undefined value that was used.
inline tl::unexpected<Raised> raise_undefined(const Value& value) {
  if (value.identity() == nullptr) return raise("an undefined value was used");
  if (value.as_integer()) return raise({"there is no attribute or item '", value.text(), "'"});
  return raise({"'", value.text(), "' is undefined"});
}

inline bool truth(const Value& v) noexcept {
  switch (v.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return v.as_integer() != 0;
    case Kind::real:
      return v.as_real() != 0;
    case Kind::string:
      return !v.text().empty();
    case Kind::dict:
      return !v.as_dict().entries.empty();
    default:
      return !v.is_sequence() || !v.as_sequence().items.empty();
  }
}

enum class Order : std::uint8_t { less, equal, greater, unordered };

/// Exact, also between an int64 and a float that cannot hold it.
inline Order order_numbers(const Value& a, const Value& b) noexcept {
  const auto order = [](auto x, auto y) {
    return x < y ? Order::less : x > y ? Order::greater : x == y ? Order::equal : Order::unordered;
  };
  if (a.is_integral() && b.is_integral()) return order(a.as_integer(), b.as_integer());
  if (a.is(Kind::real) && b.is(Kind::real)) return order(a.as_real(), b.as_real());
  const bool swapped = a.is(Kind::real);
  const std::int64_t whole = (swapped ? b : a).as_integer();
  const f64 x = (swapped ? a : b).as_real();
  Order result;
  if (std::isnan(x)) {
    return Order::unordered;
  } else if (x >= 0x1p63) {
    result = Order::less;
  } else if (x < -0x1p63) {
    result = Order::greater;
  } else {
    const f64 floor = std::floor(x);
    result = order(whole, static_cast<std::int64_t>(floor));
    if (result == Order::equal && floor != x) result = Order::less;
  }
  if (!swapped || result == Order::equal) return result;
  return result == Order::less ? Order::greater : Order::less;
}

/// a == b. Errors: steps; views of dicts, whose set semantics are not implemented.
inline Outcome<bool> equal(Heap& heap, const Value& a, const Value& b) {
  TMODEL_JINJA_CHECK(heap.step());
  if (a.is_number() && b.is_number()) return order_numbers(a, b) == Order::equal;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      TMODEL_JINJA_CHECK(heap.step_over_bytes(a.text().size()));
      return a.text() == b.text();
    case Kind::list:
    case Kind::tuple:
    case Kind::range: {
      const auto &x = a.as_sequence().items, &y = b.as_sequence().items;
      if (x.size() != y.size()) return false;
      for (std::size_t i = 0; i < x.size(); ++i) {
        TMODEL_JINJA_TRY(const bool same, equal(heap, x[i], y[i]));
        if (!same) return false;
      }
      return true;
    }
    case Kind::dict: {
      const auto &x = a.as_dict().entries, &y = b.as_dict().entries;
      if (x.size() != y.size()) return false;
      for (const auto& [key, value] : x) {
        bool same = false;
        for (const auto& [other_key, other_value] : y) {
          TMODEL_JINJA_TRY(const bool same_key, equal(heap, key, other_key));
          if (!same_key) continue;
          TMODEL_JINJA_TRY(same, equal(heap, value, other_value));
          break;
        }
        if (!same) return false;
      }
      return true;
    }
    case Kind::keys_view:
    case Kind::items_view:
      return raise("comparing views of dicts is not supported", Errc::unsupported);
    default:
      return a.identity() == b.identity() && a.as_integer() == b.as_integer();
  }
}

/// Order for <, <=, >, >=. Errors: types that Python does not order.
inline Outcome<Order> order(Heap& heap, const Value& a, const Value& b, Operator op) {
  TMODEL_JINJA_CHECK(heap.step());
  if (a.is_number() && b.is_number()) return order_numbers(a, b);
  if (a.is_string() && b.is_string()) {  // UTF-8 keeps the order of code points
    TMODEL_JINJA_CHECK(heap.step_over_bytes(std::min(a.text().size(), b.text().size())));
    const int c = a.text().compare(b.text());
    return c < 0 ? Order::less : c > 0 ? Order::greater : Order::equal;
  }
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const auto &x = a.as_sequence().items, &y = b.as_sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      TMODEL_JINJA_TRY(const bool same, equal(heap, x[i], y[i]));
      if (!same) return order(heap, x[i], y[i], op);
    }
    return x.size() < y.size() ? Order::less : x.size() > y.size() ? Order::greater : Order::equal;
  }
  if (a.is_undefined()) return raise_undefined(a);
  if (b.is_undefined()) return raise_undefined(b);
  return raise({"'", name_of(op), "' not supported between '", name_of(a.kind()), "' and '", name_of(b.kind()), "'"});
}

/// Whether v may be a key of a dict here. Tuples may in Python; they are refused by the callers.
inline bool is_key(const Value& v) noexcept { return v.is_number() || v.is_string() || v.is(Kind::none); }

inline Outcome<void> check_key(const Value& key) {
  if (is_key(key)) return {};
  if (key.is(Kind::list) || key.is(Kind::dict)) return raise({"unhashable type: '", name_of(key.kind()), "'"});
  return raise({"a ", name_of(key.kind()), " as key of a dict is not supported"}, Errc::unsupported);
}

/// Entry of a dict, nullptr if there is none.
inline Outcome<const Value*> find_entry(Heap& heap, const DictObject& dict, const Value& key) {
  TMODEL_JINJA_CHECK(heap.step(1 + dict.entries.size() / 8));
  for (const auto& entry : dict.entries) {
    if (key.is_string() ? entry.first.is_string() && entry.first.text() == key.text()
                        : entry.first.kind() == key.kind() || (entry.first.is_number() && key.is_number())) {
      if (key.is_string()) return &entry.second;
      TMODEL_JINJA_TRY(const bool same, equal(heap, entry.first, key));
      if (same) return &entry.second;
    }
  }
  return nullptr;
}

/// Adds or replaces an entry, as a dict display does. Errors: the key's type.
inline Outcome<void> put_entry(Heap& heap, std::vector<std::pair<Value, Value>>& entries, Value key, Value value) {
  TMODEL_JINJA_CHECK(check_key(key));
  for (auto& entry : entries) {
    TMODEL_JINJA_TRY(const bool same, equal(heap, entry.first, key));
    if (!same) continue;
    entry.second = std::move(value);
    return {};
  }
  entries.emplace_back(std::move(key), std::move(value));
  return {};
}

/// item in container.
inline Outcome<bool> contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (item.is_undefined()) return raise_undefined(item);
    if (!item.is_string()) return raise({"'in <string>' requires string as left operand, not ", name_of(item.kind())});
    TMODEL_JINJA_CHECK(heap.step_over_bytes(container.text().size()));
    return find_bytes(container.text(), item.text()) != std::string_view::npos;
  }
  if (container.is(Kind::dict)) {
    if (item.is_undefined()) return false;
    TMODEL_JINJA_CHECK(check_key(item));
    TMODEL_JINJA_TRY(const Value* found, find_entry(heap, container.as_dict(), item));
    return found != nullptr;
  }
  if (container.is(Kind::keys_view) && !item.is_undefined()) TMODEL_JINJA_CHECK(check_key(item));
  TMODEL_JINJA_TRY(Iterator it, Iterator::over(container));
  for (Value element;;) {
    TMODEL_JINJA_TRY(const bool more, it.next(heap, element));
    if (!more) return false;
    TMODEL_JINJA_TRY(const bool same, equal(heap, element, item));
    if (same) return true;
  }
}

/// Text of a string, or what its HTML escape is if the other operand is Markup.
inline Outcome<Value> concatenate(Heap& heap, const StringObject& a, const StringObject& b) {
  TextBuilder out(heap);
  const bool safe = a.safe || b.safe;
  for (const StringObject* part : {&a, &b}) {
    if (safe && !part->safe)
      escape_html(part->text, out);
    else
      out.append(part->text);
  }
  return out.finish(safe);
}

inline Outcome<Value> repeat(Heap& heap, const Value& what, std::int64_t times) {
  const auto n = static_cast<std::uint64_t>(std::max<std::int64_t>(times, 0));
  if (what.is_string()) {
    TextBuilder out(heap);
    out.repeat(what.as_string().text, n);
    return out.finish(what.as_string().safe);
  }
  std::vector<Value> items;
  const auto& source = what.as_sequence().items;
  for (std::uint64_t i = 0; i < n && !source.empty(); ++i) {
    TMODEL_JINJA_CHECK(heap.step(source.size()));
    if (items.size() * sizeof(Value) > heap.value_bytes()) return Heap::too_large();
    items.insert(items.end(), source.begin(), source.end());
  }
  return heap.sequence(what.kind(), std::move(items));
}

namespace detail {

inline tl::unexpected<Raised> integer_overflow() {
  return raise("integers beyond 64 bits are not supported", Errc::unsupported);
}

inline Outcome<Value> integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return integer_overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return integer_overflow();
  }
  return Value::integer(result);
}

inline Outcome<Value> integer_arithmetic(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  switch (op) {
    case Operator::add:
      if (__builtin_add_overflow(a, b, &result)) return integer_overflow();
      break;
    case Operator::subtract:
      if (__builtin_sub_overflow(a, b, &result)) return integer_overflow();
      break;
    case Operator::multiply:
      if (__builtin_mul_overflow(a, b, &result)) return integer_overflow();
      break;
    case Operator::divide: {
      if (b == 0) return raise("division by zero");
      // Both are exact as f64 up to here, so the one rounding is Python's.
      constexpr std::int64_t exact = std::int64_t{1} << 53;
      if (a > exact || a < -exact || b > exact || b < -exact) return integer_overflow();
      return Value::real(static_cast<f64>(a) / static_cast<f64>(b));
    }
    case Operator::floor_divide:
    case Operator::modulo: {
      if (b == 0) return raise("integer division or modulo by zero");
      if (b == -1) {  // INT64_MIN / -1 overflows
        if (op == Operator::modulo) return Value::integer(0);
        if (__builtin_sub_overflow(std::int64_t{0}, a, &result)) return integer_overflow();
        break;
      }
      std::int64_t quotient = a / b, rest = a % b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        --quotient;
        rest += b;
      }
      result = op == Operator::modulo ? rest : quotient;
      break;
    }
    default:
      if (b < 0) {
        if (a == 0) return raise("0.0 cannot be raised to a negative power");
        return Value::real(std::pow(static_cast<f64>(a), static_cast<f64>(b)));
      }
      return integer_power(a, b);
  }
  return Value::integer(result);
}

/// Python's float floor division and modulo: the quotient is floored, the rest has the sign of b.
inline Outcome<Value> float_division(Operator op, f64 a, f64 b) {
  if (b == 0) return raise("float floor division or modulo by zero");
  f64 rest = std::fmod(a, b);
  f64 quotient = (a - rest) / b;
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) {
      rest += b;
      quotient -= 1;
    }
  } else {
    rest = std::copysign(0.0, b);
  }
  if (op == Operator::modulo) return Value::real(rest);
  if (quotient == 0) return Value::real(std::copysign(0.0, a / b));
  const f64 floor = std::floor(quotient);
  return Value::real(quotient - floor > 0.5 ? floor + 1 : floor);
}

inline Outcome<Value> float_arithmetic(Operator op, f64 a, f64 b) {
  switch (op) {
    case Operator::add:
      return Value::real(a + b);
    case Operator::subtract:
      return Value::real(a - b);
    case Operator::multiply:
      return Value::real(a * b);
    case Operator::divide:
      if (b == 0) return raise("float division by zero");
      return Value::real(a / b);
    case Operator::floor_divide:
    case Operator::modulo:
      return float_division(op, a, b);
    default:
      break;
  }
  if (a == 0 && b < 0) return raise("0.0 cannot be raised to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && std::floor(b) != b)
    return raise("complex numbers are not supported", Errc::unsupported);
  const f64 result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) return raise("float power: result too large");
  return Value::real(result);
}

}  // namespace detail

/// '...' % values; see percent_format.hpp.
Outcome<Value> percent_format(Heap& heap, const StringObject& format, const Value& values);

/// + - * / // % **. Errors: types that Python does not combine, overflow, division by zero.
inline Outcome<Value> arithmetic(Heap& heap, Operator op, const Value& a, const Value& b) {
  TMODEL_JINJA_CHECK(heap.step());
  if (a.is_number() && b.is_number())
    return a.is_integral() && b.is_integral() ? detail::integer_arithmetic(op, a.as_integer(), b.as_integer())
                                              : detail::float_arithmetic(op, a.as_real(), b.as_real());
  if (op == Operator::modulo && a.is_string()) return percent_format(heap, a.as_string(), b);
  if (a.is_undefined()) return raise_undefined(a);
  if (b.is_undefined()) return raise_undefined(b);
  const auto repeatable = [](const Value& v) { return v.is_string() || v.is(Kind::list) || v.is(Kind::tuple); };
  if (op == Operator::add && a.is_string() && b.is_string()) return concatenate(heap, a.as_string(), b.as_string());
  if (op == Operator::add && a.kind() == b.kind() && repeatable(a)) {
    std::vector<Value> items;
    const auto &x = a.as_sequence().items, &y = b.as_sequence().items;
    items.reserve(x.size() + y.size());
    items.insert(items.end(), x.begin(), x.end());
    items.insert(items.end(), y.begin(), y.end());
    return heap.sequence(a.kind(), std::move(items));
  }
  if (op == Operator::multiply && repeatable(a) && b.is_integral()) return repeat(heap, a, b.as_integer());
  if (op == Operator::multiply && repeatable(b) && a.is_integral()) return repeat(heap, b, a.as_integer());
  return raise(
      {"unsupported operand types for ", name_of(op), ": '", name_of(a.kind()), "' and '", name_of(b.kind()), "'"});
}

/// == != < <= > >= in, not in.
inline Outcome<bool> compare(Heap& heap, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::equal:
      return equal(heap, a, b);
    case Operator::not_equal: {
      TMODEL_JINJA_TRY(const bool same, equal(heap, a, b));
      return !same;
    }
    case Operator::in:
      return contains(heap, b, a);
    case Operator::not_in: {
      TMODEL_JINJA_TRY(const bool found, contains(heap, b, a));
      return !found;
    }
    default:
      break;
  }
  TMODEL_JINJA_TRY(const Order o, order(heap, a, b, op));
  switch (op) {
    case Operator::less:
      return o == Order::less;
    case Operator::less_equal:
      return o == Order::less || o == Order::equal;
    case Operator::greater:
      return o == Order::greater;
    default:
      return o == Order::greater || o == Order::equal;
  }
}

inline Outcome<Value> negate(Heap& heap, const Value& v, bool minus) {
  if (v.is_undefined()) return raise_undefined(v);
  if (!v.is_number()) return raise({"bad operand type for unary operator: '", name_of(v.kind()), "'"});
  if (!minus) return v.is(Kind::real) ? v : Value::integer(v.as_integer());
  if (v.is(Kind::real)) return Value::real(-v.as_real());
  return arithmetic(heap, Operator::subtract, Value::integer(0), v);
}

/// Index of an element, negative from the end; nullopt if it is outside.
inline std::optional<std::size_t> element_index(std::int64_t index, std::size_t size) noexcept {
  const auto n = static_cast<std::int64_t>(size);
  if (index < 0) index += n;
  if (index < 0 || index >= n) return std::nullopt;
  return static_cast<std::size_t>(index);
}

/// value[start:stop:step]; bounds that are none count from the ends. Errors: a value that has no slices, a bound that
/// is no integer, step 0.
inline Outcome<Value> slice(Heap& heap, const Value& value, const Value& start, const Value& stop, const Value& step) {
  if (value.is_undefined()) return raise_undefined(value);
  if (!value.is_string() && !value.is(Kind::list) && !value.is(Kind::tuple) && !value.is(Kind::range))
    return raise({"'", name_of(value.kind()), "' object cannot be sliced"});
  for (const Value* bound : {&start, &stop, &step})
    if (!bound->is(Kind::none) && !bound->is_integral())
      return raise({"slice indices must be integers or None, not ", name_of(bound->kind())});
  const std::int64_t by = step.is(Kind::none) ? 1 : step.as_integer();
  if (by == 0) return raise("slice step cannot be zero");
  const auto n =
      static_cast<std::int64_t>(value.is_string() ? value.as_string().length : value.as_sequence().items.size());
  const auto clamp = [&](const Value& bound, std::int64_t otherwise) {
    if (bound.is(Kind::none)) return otherwise;
    std::int64_t at = bound.as_integer();
    if (at < 0) at = at < -n ? -1 : at + n;
    return by > 0 ? std::clamp<std::int64_t>(at, 0, n) : std::clamp<std::int64_t>(at, -1, n - 1);
  };
  const std::int64_t from = clamp(start, by > 0 ? 0 : n - 1), to = clamp(stop, by > 0 ? n : -1);
  const std::uint64_t stride =
      by > 0 ? static_cast<std::uint64_t>(by) : std::uint64_t{0} - static_cast<std::uint64_t>(by);
  const std::int64_t span = by > 0 ? to - from : from - to;
  const std::uint64_t count = span <= 0 ? 0 : (static_cast<std::uint64_t>(span) - 1) / stride + 1;
  const auto place = [&](std::uint64_t i) {  // of the i-th chosen element; within [0, n) for i < count
    const auto move = static_cast<std::int64_t>(i * stride);
    return static_cast<std::size_t>(by > 0 ? from + move : from - move);
  };

  if (!value.is_string()) {
    const auto& items = value.as_sequence().items;
    std::vector<Value> chosen;
    chosen.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) chosen.push_back(items[place(i)]);
    return heap.sequence(value.kind(), std::move(chosen));
  }
  const StringObject& s = value.as_string();
  TMODEL_JINJA_CHECK(heap.step_over_bytes(s.text.bytes.size()));
  TextBuilder out(heap);
  if (by == 1) {
    const std::size_t first = s.is_ascii() ? place(0) : offset_of(s.text.bytes, place(0));
    if (count != 0) {
      const std::string_view rest = std::string_view(s.text.bytes).substr(first);
      out.append(s.text, {first, first + (s.is_ascii() ? static_cast<std::size_t>(count) : offset_of(rest, count))});
    }
    return out.finish(s.safe);
  }
  std::vector<std::uint32_t> offsets;
  offsets.reserve(s.length + 1);
  for (std::size_t i = 0; i < s.text.bytes.size(); i += decode(std::string_view(s.text.bytes).substr(i)).bytes)
    offsets.push_back(static_cast<std::uint32_t>(i));
  offsets.push_back(static_cast<std::uint32_t>(s.text.bytes.size()));
  for (std::uint64_t i = 0; i < count; ++i) out.append(s.text, {offsets[place(i)], offsets[place(i) + 1]});
  return out.finish(s.safe);
}

}  // namespace tmodel::inline v0::jinja
