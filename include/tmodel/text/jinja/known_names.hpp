#pragma once
// Names of filters and tests, checked when a template is parsed: those that Jinja2 has and this has not are refused.

#include "tmodel/text/jinja/filters.hpp"
#include "tmodel/text/jinja/lexer.hpp"

namespace tmodel::inline v0::jinja {

/// Number of a filter. Errors: unsupported (of Jinja2, but not here), bad_template (of neither).
inline Outcome<int> known_filter(std::string_view source, std::string_view name, std::size_t at) {
  if (const int id = find_filter(name); id >= 0) return id;
  if (is_refused_filter(name)) return raise_at(source, at, {"filter '", name, "' is not supported"}, Errc::unsupported);
  return raise_at(source, at, {"no filter named '", name, "'"});
}

/// Number of a test. Errors: as for filters.
inline Outcome<int> known_test(std::string_view source, std::string_view name, std::size_t at) {
  if (const int id = find_test(name); id >= 0) return id;
  if (is_refused_test(name)) return raise_at(source, at, {"test '", name, "' is not supported"}, Errc::unsupported);
  return raise_at(source, at, {"no test named '", name, "'"});
}

}  // namespace tmodel::inline v0::jinja
