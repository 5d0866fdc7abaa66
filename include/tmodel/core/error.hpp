#pragma once
// Errors are values: Error says what, expected, got, where and a hint; expected<T> carries it.
// Nothing in tmodel throws, prints, exits or aborts. guard() turns bad_alloc of std containers into a value.

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

enum class Errc : std::uint8_t {
  bad_argument,       ///< the caller passed something that cannot be meant
  io,                 ///< the operating system refused a file
  bad_file,           ///< a file is damaged or not of the kind it claims
  bad_metadata,       ///< a key of the configuration is missing, of a wrong type or impossible
  bad_tensor,         ///< a tensor is missing, unexpected or of a wrong shape
  wrong_family,       ///< the file holds another model family than the type
  unsupported,        ///< understood, but not implemented: the message names it
  unsupported_cpu,    ///< this machine lacks the instructions that the backend was compiled for
  out_of_memory,      ///< an allocation failed
  over_budget,        ///< the memory plan exceeds the caller's limit
  context_full,       ///< the session has no positions left
  cancelled,          ///< the caller's cancel flag was set
  device,             ///< the compute device reported an error
  bad_template,       ///< a chat template does not parse or failed while rendering
};

constexpr std::string_view name_of(Errc code) noexcept {
  switch (code) {
    case Errc::bad_argument: return "bad argument";
    case Errc::io: return "file error";
    case Errc::bad_file: return "damaged or foreign file";
    case Errc::bad_metadata: return "bad model configuration";
    case Errc::bad_tensor: return "bad tensor";
    case Errc::wrong_family: return "wrong model family";
    case Errc::unsupported: return "not supported";
    case Errc::unsupported_cpu: return "CPU not supported";
    case Errc::out_of_memory: return "out of memory";
    case Errc::over_budget: return "over the memory budget";
    case Errc::context_full: return "context full";
    case Errc::cancelled: return "cancelled";
    case Errc::device: return "device error";
    case Errc::bad_template: return "chat template error";
  }
  return "error";
}

/// Why a call failed. Only `code` is always set; an out_of_memory error holds no strings, so making it cannot fail.
/// Its copies and moves are calls and not inlined: inlined, five strings at each of hundreds of returns are an eighth
/// of the machine code of a program.
struct [[nodiscard]] Error {
  TMODEL_COLD explicit Error(Errc code, std::string_view what = {}, std::string_view where = {},
                             std::string_view expected = {}, std::string_view got = {}, std::string_view hint = {})
      : code(code), what(what), where(where), expected(expected), got(got), hint(hint) {}
  TMODEL_COLD Error(const Error&) = default;
  TMODEL_COLD Error(Error&&) noexcept = default;
  TMODEL_COLD Error& operator=(const Error&) = default;
  TMODEL_COLD Error& operator=(Error&&) noexcept = default;
  TMODEL_COLD ~Error() = default;

  Errc code = Errc::bad_argument;
  std::string what;      ///< one clause: what is wrong
  std::string where;     ///< file, tensor or key
  std::string expected;  ///< what would have been right
  std::string got;       ///< what was found
  std::string hint;      ///< what the user can do

  /// One line: "code: what (where): expected X, got Y; hint". Bytes that are not printable ASCII or UTF-8 are escaped.
  std::string message() const;
};

template <class T>
using expected = tl::expected<T, Error>;
using tl::unexpected;

/// The usual way to make one: return fail(Errc::bad_file, "string is longer than the file", path);
TMODEL_COLD inline tl::unexpected<Error> fail(Errc code, std::string_view what = {}, std::string_view where = {},
                                              std::string_view expected = {}, std::string_view got = {},
                                              std::string_view hint = {}) {
  return tl::unexpected<Error>(Error(code, what, where, expected, got, hint));
}

/// Without strings, because there may be no memory for them.
TMODEL_COLD inline tl::unexpected<Error> out_of_memory() noexcept {
  return tl::unexpected<Error>(Error(Errc::out_of_memory));
}

/// Unwraps an expected into a new variable, or returns its error from the calling function.
#define TMODEL_CONCAT_(a, b) a##b
#define TMODEL_CONCAT(a, b) TMODEL_CONCAT_(a, b)
#define TMODEL_TRY(declaration, expression) TMODEL_TRY_(TMODEL_CONCAT(tmodel_try_, __LINE__), declaration, expression)
#define TMODEL_TRY_(temporary, declaration, expression)                                            \
  auto temporary = (expression);                                                                   \
  if (!temporary) return ::tl::unexpected<::tmodel::Error>(std::move(temporary).error());          \
  declaration = std::move(*temporary)
/// The same for expected<void>.
#define TMODEL_CHECK(expression)                                                                                 \
  do {                                                                                                           \
    if (auto tmodel_check = (expression); !tmodel_check)                                                         \
      return ::tl::unexpected<::tmodel::Error>(std::move(tmodel_check).error());                                 \
  } while (false)

/// Runs fn, which returns an expected, and turns std::bad_alloc and std::length_error of std containers into
/// Errc::out_of_memory. Public functions that allocate are wrapped in it. Without exceptions it only calls fn.
template <class Fn>
std::invoke_result_t<Fn> guard(Fn&& fn) {
#if defined(__cpp_exceptions)
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::exception&) {  // bad_alloc, length_error: the only ones that std containers throw here
    return out_of_memory();
  }
#else
  return std::forward<Fn>(fn)();
#endif
}

namespace detail {
/// Length of the valid UTF-8 sequence at the start of s, 0 if there is none.
constexpr std::size_t utf8_length(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto tail = [&](std::size_t i) { return i < s.size() && (byte(i) & 0xC0u) == 0x80u; };
  if (s.empty()) return 0;
  const unsigned b = byte(0);
  if (b < 0x80u) return 1;
  if (b >= 0xC2u && b < 0xE0u) return tail(1) ? 2 : 0;
  if (b >= 0xE0u && b < 0xF0u) {
    if (!tail(1) || !tail(2)) return 0;
    if ((b == 0xE0u && byte(1) < 0xA0u) || (b == 0xEDu && byte(1) >= 0xA0u)) return 0;  // overlong, surrogate
    return 3;
  }
  if (b >= 0xF0u && b < 0xF5u) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if ((b == 0xF0u && byte(1) < 0x90u) || (b == 0xF4u && byte(1) >= 0x90u)) return 0;
    return 4;
  }
  return 0;
}
}  // namespace detail

/// Text of a file, safe to show: control characters and invalid UTF-8 become \xNN, at most `limit` bytes are kept.
inline std::string printable(std::string_view text, std::size_t limit = 120) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    if (out.size() >= limit) return out += "…";
    const std::size_t n = detail::utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (n == 0 || (n == 1 && (first < 0x20 || first == 0x7F))) {
      out += "\\x";
      out += digits[first >> 4];
      out += digits[first & 15];
      text.remove_prefix(1);
    } else {
      out += text.substr(0, n);
      text.remove_prefix(n);
    }
  }
  return out;
}

inline std::string Error::message() const {
  std::string line(name_of(code));
  if (!what.empty()) line += ": " + printable(what, 400);
  if (!where.empty()) line += " (" + printable(where, 400) + ")";
  if (!expected.empty()) line += ": expected " + printable(expected, 400);
  if (!got.empty()) line += (expected.empty() ? ": got " : ", got ") + printable(got, 400);
  if (!hint.empty()) line += "; " + printable(hint, 400);
  return line;
}

}  // namespace tmodel::inline v0
