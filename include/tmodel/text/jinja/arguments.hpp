#pragma once
// Arguments of a call in a template, and their binding to parameter names as Python does it.

#include <array>
#include <span>

#include "tmodel/text/jinja/operators.hpp"

namespace tmodel::inline v0::jinja {

/// Evaluated arguments. Names point into the template or into values that outlive the call.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<Value, Value>> named;  ///< name (a string) and value

  const Value* find(std::string_view name) const noexcept {
    for (const auto& argument : named)
      if (argument.first.text() == name) return &argument.second;
    return nullptr;
  }
};

/// Bound parameters; nullptr where the caller left one out.
template <std::size_t N>
using Bound = std::array<const Value*, N>;

namespace detail {
TMODEL_NOINLINE inline Outcome<void> bind(const Arguments& arguments, std::string_view callee, std::size_t required,
                                          std::span<const std::string_view> names, std::span<const Value*> bound) {
  const auto& given = arguments.positional;
  if (given.size() > names.size())
    return raise({callee, "() takes at most ", std::to_string(names.size()), " arguments, ",
                  std::to_string(given.size()), " given"});
  for (std::size_t i = 0; i < given.size(); ++i) bound[i] = &given[i];
  for (const auto& [name, value] : arguments.named) {
    const auto i = static_cast<std::size_t>(std::find(names.begin(), names.end(), name.text()) - names.begin());
    if (i == names.size()) return raise({callee, "() has no argument '", name.text(), "'"});
    if (bound[i] != nullptr) return raise({callee, "() got argument '", name.text(), "' twice"});
    bound[i] = &value;
  }
  for (std::size_t i = 0; i < required; ++i)
    if (bound[i] == nullptr) return raise({callee, "() needs argument ", std::to_string(i + 1)});
  return {};
}
}  // namespace detail

/// Errors: too many, unknown, twice given, or one of the first `required` missing. A name that begins with '/' can
/// only be given by position.
template <std::size_t N>
Outcome<Bound<N>> bind(const Arguments& arguments, std::string_view callee, std::size_t required,
                       const std::string_view (&names)[N]) {
  Bound<N> bound{};
  TMODEL_JINJA_CHECK(detail::bind(arguments, callee, required, names, bound));
  return bound;
}

/// For calls without parameters.
inline Outcome<void> bind_none(const Arguments& arguments, std::string_view callee) {
  if (arguments.positional.empty() && arguments.named.empty()) return {};
  return raise({callee, "() takes no arguments"});
}

/// The integer of an argument. Errors: another type.
inline Outcome<std::int64_t> integer_argument(const Value* value, std::int64_t otherwise, std::string_view callee) {
  if (value == nullptr) return otherwise;
  if (value->is_undefined()) return raise_undefined(*value);
  if (value->is_integral()) return value->as_integer();
  return raise({callee, "(): an integer is required, not ", name_of(value->kind())});
}

/// The plain string of an argument. Errors: another type; safe text, whose methods escape.
inline Outcome<const StringObject*> string_argument(const Value& value, std::string_view callee) {
  if (value.is_undefined()) return raise_undefined(value);
  if (!value.is_string()) return raise({callee, "(): a str is required, not ", name_of(value.kind())});
  if (value.as_string().safe) return raise({callee, "() of safe text is not supported"}, Errc::unsupported);
  return &value.as_string();
}

inline bool truth_argument(const Value* value, bool otherwise) noexcept { return value ? truth(*value) : otherwise; }

}  // namespace tmodel::inline v0::jinja
