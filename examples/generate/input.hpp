#pragma once
// stdin as bytes and as lines, waited for together with signals. No byte is lost between the two: all readers share one
// buffer.

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "generate/signals.hpp"

namespace program {

/// Bytes of stdin.
class Input {
 public:
  enum class Event { byte, end, interrupted, resized, continued };

  /// Waits for the next byte or event.
  Event next(char& byte) {
    for (;;) {
      if (signals::interrupted) return Event::interrupted;
      if (signals::resized.exchange(false)) return Event::resized;
      if (signals::continued.exchange(false)) return Event::continued;
      if (at_ < buffer_.size()) {
        byte = buffer_[at_++];
        return Event::byte;
      }
      if (wait(-1) && !fill()) return Event::end;
    }
  }
  /// Whether a byte is there within so many milliseconds.
  bool ready(int milliseconds) { return at_ < buffer_.size() || wait(milliseconds); }
  /// Takes this text away if it comes next, each byte of it soon after the one before. A terminal sends what belongs
  /// together at once, which tells an escape sequence from the escape key.
  bool take(std::string_view text) {
    constexpr int soon = 50;
    std::size_t same = 0;
    while (same < text.size()) {
      if (at_ + same == buffer_.size() && (!wait(soon) || !fill())) return false;
      if (buffer_[at_ + same] != text[same]) return false;
      ++same;
    }
    at_ += same;
    return true;
  }
  /// Forgets what has been read ahead.
  void discard() { buffer_.clear(), at_ = 0; }

 private:
  /// Waits for stdin or a signal; true: stdin has bytes or has ended.
  static bool wait(int milliseconds) {
    pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {signals::wake[0], POLLIN, 0}};
    if (::poll(fds, 2, milliseconds) < 0) return false;
    char drained[64];
    while ((fds[1].revents & POLLIN) != 0 && ::read(signals::wake[0], drained, sizeof drained) > 0) {
    }
    return fds[0].revents != 0;
  }
  /// False: the end.
  bool fill() {
    if (at_ == buffer_.size()) discard();
    char part[4096];
    const ssize_t n = ::read(STDIN_FILENO, part, sizeof part);
    if (n > 0) buffer_.append(part, static_cast<std::size_t>(n));
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
  }

  std::string buffer_;
  std::size_t at_ = 0;
};

/// A line that was read. Commands are looked for in what was typed; `text` also has what was pasted.
struct Line {
  enum class Kind { text, end, interrupted } kind = Kind::text;
  std::string typed, text;  ///< with an interrupt: what is dropped, as far as that is known
};

class LineSource {
 public:
  virtual ~LineSource() = default;
  /// The next line, without its end.
  virtual Line read(const char* prompt) = 0;
  /// Whether more input is there within so many milliseconds.
  virtual bool ready(int milliseconds) = 0;
};

/// Lines as they come: from a pipe, or from a terminal that edits them itself.
class PlainLines final : public LineSource {
 public:
  explicit PlainLines(Input& input) : input_(input), prompts_(::isatty(STDIN_FILENO) != 0) {}

  Line read(const char* prompt) override {
    if (prompts_ && !ready(0)) std::fputs(prompt, stderr);  // lines that are there already were typed or pasted unasked
    std::string line;
    for (char byte = 0;;) switch (input_.next(byte)) {
        case Input::Event::byte:
          if (byte != '\n') {
            line += byte;
            break;
          }
          if (line.ends_with('\r')) line.pop_back();
          return {Line::Kind::text, line, line};
        case Input::Event::end:
          if (!line.empty()) return {Line::Kind::text, line, line};
          if (prompts_) std::fputs("\n", stderr);
          return {Line::Kind::end, {}, {}};
        case Input::Event::interrupted:
          input_.discard();
          if (prompts_) std::fputs("\n", stderr);
          return {Line::Kind::interrupted, {}, {}};
        case Input::Event::resized:
        case Input::Event::continued:
          break;
      }
  }
  bool ready(int milliseconds) override { return input_.ready(milliseconds); }

 private:
  Input& input_;
  bool prompts_;
};

}  // namespace program
