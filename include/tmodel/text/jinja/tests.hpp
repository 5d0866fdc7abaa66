#pragma once
// Tests of the template language (x is defined). Source: Jinja2 3.1 documentation, "List of Builtin Tests".

#include "tmodel/text/jinja/arguments.hpp"

namespace tmodel::inline v0::jinja {

using TestFunction = Outcome<bool> (*)(Heap&, const Value&, const Arguments&);

struct TestEntry {
  std::string_view name;
  std::size_t arguments;  ///< how many it takes
  TestFunction call;
};

/// Number of a filter or test in its table, -1 if there is none. Defined in tests.hpp and filters.hpp.
int find_test(std::string_view name) noexcept;
int find_filter(std::string_view name) noexcept;

namespace detail {

template <Operator op>
Outcome<bool> compares(Heap& heap, const Value& v, const Arguments& arguments) {
  return compare(heap, op, v, arguments.positional[0]);
}

inline Outcome<bool> has_remainder(Heap& heap, const Value& v, const Value& divisor, std::int64_t wanted) {
  TMODEL_JINJA_TRY(const Value rest, arithmetic(heap, Operator::modulo, v, divisor));
  return equal(heap, rest, Value::integer(wanted));
}

/// Identity. Errors: numbers and strings, whose identity is an accident of the interpreter.
inline Outcome<bool> same_object(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  constexpr std::int64_t smallest_shared = -5, largest_shared = 256;  // CPython keeps one object for each of these
  if (a.is(Kind::integer) && a.as_integer() >= smallest_shared && a.as_integer() <= largest_shared)
    return a.as_integer() == b.as_integer();
  switch (a.kind()) {
    case Kind::none:
      return true;
    case Kind::boolean:
      return a.as_integer() == b.as_integer();
    case Kind::undefined:
    case Kind::integer:
    case Kind::real:
    case Kind::string:
      return raise({"'sameas' on a ", name_of(a.kind()), " is not supported"}, Errc::unsupported);
    default:
      return a.identity() == b.identity();
  }
}

/// Whether the value names a filter or a test. Errors: a value that cannot be a key.
template <int (*find)(std::string_view) noexcept>
Outcome<bool> is_name_of(Heap&, const Value& v, const Arguments&) {
  if (!v.is_undefined()) TMODEL_JINJA_CHECK(check_key(v));
  return v.is_string() && find(v.text()) >= 0;
}

/// A test without arguments that looks at the value alone.
template <auto predicate>
Outcome<bool> holds(Heap&, const Value& v, const Arguments&) {
  return predicate(v);
}

inline constexpr TestEntry tests[] = {
    {"!=", 1, compares<Operator::not_equal>},
    {"<", 1, compares<Operator::less>},
    {"<=", 1, compares<Operator::less_equal>},
    {"==", 1, compares<Operator::equal>},
    {">", 1, compares<Operator::greater>},
    {">=", 1, compares<Operator::greater_equal>},
    {"boolean", 0, holds<[](const Value& v) { return v.is(Kind::boolean); }>},
    {"callable", 0, holds<[](const Value& v) {  // an undefined value has __call__, which raises
       return v.kind() >= Kind::loop || v.is_undefined();
     }>},
    {"defined", 0, holds<[](const Value& v) { return !v.is_undefined(); }>},
    {"divisibleby", 1,
     [](Heap& heap, const Value& v, const Arguments& a) -> Outcome<bool> {
       return has_remainder(heap, v, a.positional[0], 0);
     }},
    {"eq", 1, compares<Operator::equal>},
    {"equalto", 1, compares<Operator::equal>},
    {"escaped", 0, holds<[](const Value& v) { return v.is_string() && v.as_string().safe; }>},
    {"even", 0,
     [](Heap& heap, const Value& v, const Arguments&) -> Outcome<bool> {
       return has_remainder(heap, v, Value::integer(2), 0);
     }},
    {"false", 0, holds<[](const Value& v) { return v.is(Kind::boolean) && !v.truth_flag(); }>},
    {"filter", 0, is_name_of<find_filter>},
    {"float", 0, holds<[](const Value& v) { return v.is(Kind::real); }>},
    {"ge", 1, compares<Operator::greater_equal>},
    {"greaterthan", 1, compares<Operator::greater>},
    {"gt", 1, compares<Operator::greater>},
    {"in", 1, compares<Operator::in>},
    {"integer", 0, holds<[](const Value& v) { return v.is(Kind::integer); }>},
    {"iterable", 0, holds<[](const Value& v) { return Iterator::can_walk(v) || v.is(Kind::loop); }>},
    {"le", 1, compares<Operator::less_equal>},
    {"lessthan", 1, compares<Operator::less>},
    {"lt", 1, compares<Operator::less>},
    {"mapping", 0, holds<[](const Value& v) { return v.is(Kind::dict); }>},
    {"ne", 1, compares<Operator::not_equal>},
    {"none", 0, holds<[](const Value& v) { return v.is(Kind::none); }>},
    {"number", 0, holds<[](const Value& v) { return v.is_number(); }>},
    {"odd", 0,
     [](Heap& heap, const Value& v, const Arguments&) -> Outcome<bool> {
       return has_remainder(heap, v, Value::integer(2), 1);
     }},
    {"sameas", 1,
     [](Heap&, const Value& v, const Arguments& a) -> Outcome<bool> { return same_object(v, a.positional[0]); }},
    {"sequence", 0, holds<[](const Value& v) {
       return v.is_undefined() || v.is_string() || v.is(Kind::list) || v.is(Kind::tuple) || v.is(Kind::range) ||
              v.is(Kind::dict);
     }>},
    {"string", 0, holds<[](const Value& v) { return v.is_string(); }>},
    {"test", 0, is_name_of<find_test>},
    {"true", 0, holds<[](const Value& v) { return v.is(Kind::boolean) && v.truth_flag(); }>},
    {"undefined", 0, holds<[](const Value& v) { return v.is_undefined(); }>},
};

}  // namespace detail

inline int find_test(std::string_view name) noexcept {
  for (std::size_t i = 0; i < std::size(detail::tests); ++i)
    if (detail::tests[i].name == name) return static_cast<int>(i);
  return -1;
}

/// Of Jinja2, but not here: letter case of any script ("lower", "upper").
inline bool is_refused_test(std::string_view name) noexcept { return name == "lower" || name == "upper"; }

/// Errors: the number of arguments, and what the test itself cannot do.
inline Outcome<bool> call_test(Heap& heap, int id, const Value& value, const Arguments& arguments) {
  const TestEntry& test = detail::tests[static_cast<std::size_t>(id)];
  if (arguments.positional.size() != test.arguments || !arguments.named.empty())
    return raise({"test '", test.name, "' takes ", std::to_string(test.arguments), " arguments"});
  TMODEL_JINJA_CHECK(heap.step());
  return test.call(heap, value, arguments);
}

}  // namespace tmodel::inline v0::jinja
