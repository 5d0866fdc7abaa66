#pragma once
// Arguments of a call in a template, and their binding to parameter names as Python does it.

#include <array>

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

/// Errors: too many, unknown, twice given, or one of the first `required` missing. A name that begins with '/' can
/// only be given by position.
template <std::size_t N>
Outcome<Bound<N>> bind(const Arguments& arguments, std::string_view callee, std::size_t required,
                       const std::string_view (&names)[N]) {
  const std::string where = std::string(callee) + "() ";
  Bound<N> bound{};
  if (arguments.positional.size() > N)
    return raise(where + "takes at most " + std::to_string(N) + " arguments, " +
                 std::to_string(arguments.positional.size()) + " given");
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    std::size_t i = 0;
    while (i < N && names[i] != name.text()) ++i;
    if (i == N) return raise(where + "has no argument '" + std::string(name.text()) + "'");
    if (bound[i] != nullptr) return raise(where + "got argument '" + std::string(name.text()) + "' twice");
    bound[i] = &value;
  }
  for (std::size_t i = 0; i < required; ++i)
    if (bound[i] == nullptr) return raise(where + "needs argument " + std::to_string(i + 1));
  return bound;
}

/// For calls without parameters.
inline Outcome<void> bind_none(const Arguments& arguments, std::string_view callee) {
  if (arguments.positional.empty() && arguments.named.empty()) return {};
  return raise(std::string(callee) + "() takes no arguments");
}

/// The integer of an argument. Errors: another type.
inline Outcome<std::int64_t> integer_argument(const Value* value, std::int64_t otherwise, std::string_view callee) {
  if (value == nullptr) return otherwise;
  if (value->is_undefined()) return raise_undefined(*value);
  if (value->is_integral()) return value->as_integer();
  return raise(std::string(callee) + "(): an integer is required, not " + std::string(name_of(value->kind())));
}

/// The plain string of an argument. Errors: another type; safe text, whose methods escape.
inline Outcome<const StringObject*> string_argument(const Value& value, std::string_view callee) {
  if (value.is_undefined()) return raise_undefined(value);
  if (!value.is_string())
    return raise(std::string(callee) + "(): a str is required, not " + std::string(name_of(value.kind())));
  if (value.as_string().safe) return raise(std::string(callee) + "() of safe text is not supported", Errc::unsupported);
  return &value.as_string();
}

inline bool truth_argument(const Value* value, bool otherwise) noexcept { return value ? truth(*value) : otherwise; }

}  // namespace tmodel::inline v0::jinja
