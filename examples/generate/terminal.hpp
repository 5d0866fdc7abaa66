#pragma once
// What the terminal can do, and the state that a chat puts it into. restore() and resume() may be called from a signal
// handler.

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>

namespace program::terminal {

/// stderr understands escape sequences.
inline bool takes_escapes() {
  const char* name = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && name != nullptr && *name != '\0' && std::string_view(name) != "dumb";
}
/// ... and the user does not object to bold and dim text (no-color.org).
inline bool takes_styles() {
  const char* no_color = std::getenv("NO_COLOR");
  return takes_escapes() && (no_color == nullptr || *no_color == '\0');
}
inline int columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

inline void write_raw(std::string_view text) noexcept {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

/// A model's text as a terminal may get it: control characters but newline and tab become visible, so that an answer
/// cannot move the cursor or change the window's title. Whole UTF-8 characters only.
inline std::string visible(std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
    const bool c1 = byte == 0xC2 && next >= 0x80 && next < 0xA0;  // U+0080 to U+009F
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F || c1) {
      const unsigned code = c1 ? next : byte;
      (out += "\\x") += digits[code >> 4];
      out += digits[code & 15];
      i += c1 ? 1 : 0;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Words in lines of at most `width` columns (of ASCII text), the later ones indented.
inline std::string wrapped(std::string_view text, int width, int indent = 0) {
  std::string out;
  int column = 0;
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const int length = static_cast<int>(word.size());
    if (column > 0 && column + 1 + length > width) {
      out += '\n' + std::string(static_cast<std::size_t>(indent), ' ');
      column = indent;
    } else if (!out.empty()) {
      out += ' ';
      ++column;
    }
    out += word;
    column += length;
  }
  return out + '\n';
}

/// Something beside the answer, for people: on stderr, dim where that can be shown.
inline void note(std::string_view text) {
  const bool dim = takes_styles();
  const std::string lines = ::isatty(STDERR_FILENO) != 0 ? wrapped(text, columns() - 1) : std::string(text) + '\n';
  write_raw((dim ? "\033[2m" : "") + lines.substr(0, lines.size() - 1) + (dim ? "\033[0m\n" : "\n"));
}

namespace detail {
inline termios original{}, quiet{};
inline std::atomic<bool> marks_pastes{false};
inline std::atomic<bool> is_quiet{false};
inline void mark_pastes(bool on) noexcept { write_raw(on ? "\033[?2004h" : "\033[?2004l"); }
}  // namespace detail

/// Asks the terminal to put marks around what is pasted. False: stdin is no terminal.
inline bool mark_pastes() {
  if (::tcgetattr(STDIN_FILENO, &detail::original) != 0) return false;
  detail::quiet = detail::original;
  detail::quiet.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  detail::quiet.c_cc[VMIN] = 1;
  detail::quiet.c_cc[VTIME] = 0;
  detail::marks_pastes = true;
  detail::mark_pastes(true);
  return true;
}

/// Nothing that is typed is shown: while an answer is written it is kept for the next question.
inline void be_quiet() noexcept {
  if (!detail::marks_pastes) return;
  detail::is_quiet = true;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &detail::quiet);
}
/// Someone else sets the terminal now.
inline void be_edited() noexcept { detail::is_quiet = false; }

/// As it was before the program.
inline void restore() noexcept {
  if (!detail::marks_pastes) return;
  detail::mark_pastes(false);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &detail::original);
}

/// After the program was stopped and came back.
inline void resume() noexcept {
  if (!detail::marks_pastes || ::tcgetpgrp(STDIN_FILENO) != ::getpgrp()) return;
  detail::mark_pastes(true);
  if (detail::is_quiet) ::tcsetattr(STDIN_FILENO, TCSANOW, &detail::quiet);
}

}  // namespace program::terminal
