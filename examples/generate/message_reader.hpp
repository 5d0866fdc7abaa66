#pragma once
// Lines to messages: a backslash at the end of a line goes on in the next one, """ begins and ends a text of any lines,
// and lines that a terminal delivers in one go were pasted and are one message.

#include <string>

#include "generate/commands.hpp"
#include "generate/input.hpp"

namespace program {

struct Entry {
  enum class Kind { message, command, end, interrupted } kind = Kind::message;
  std::string text;  ///< of a command: without the slash; with an interrupt: what is dropped
};

class MessageReader {
 public:
  MessageReader(LineSource& lines, bool at_terminal) : lines_(lines), at_terminal_(at_terminal) {}

  Entry next() {
    const bool typed_ahead = at_terminal_ && lines_.ready(0);  // while the answer was written: messages of their own
    Line line = lines_.read("> ");
    const bool pasted = line.kind == Line::Kind::text && !typed_ahead && more_is_here();
    const bool command = line.typed.starts_with('/');
    if (command && (!pasted || parse_command(line.typed.substr(1)).command != Command::unknown))
      return {Entry::Kind::command, line.text.substr(1)};
    const bool quoted = line.typed.starts_with(quotes);
    if (quoted) line.typed.erase(0, 3), line.text.erase(0, 3);

    std::string message;
    for (bool burst = pasted;; burst = burst && more_is_here()) {
      if (line.kind == Line::Kind::interrupted) return {Entry::Kind::interrupted, message + line.text};
      if (line.kind == Line::Kind::end) break;
      const bool ends_quotes = quoted && line.typed.ends_with(quotes);
      const bool continued = !quoted && !burst && line.typed.ends_with('\\');
      if (ends_quotes) line.text.resize(line.text.size() - 3);
      if (continued) line.text.pop_back();
      message += line.text;
      if (ends_quotes || (!quoted && !continued && !burst)) return {Entry::Kind::message, trimmed(std::move(message))};
      message += '\n';
      line = lines_.read(". ");
    }
    if (message.empty()) return {Entry::Kind::end, {}};
    return {Entry::Kind::message, trimmed(std::move(message))};  // the end is seen again next time
  }

 private:
  static constexpr std::string_view quotes = "\"\"\"";
  bool more_is_here() { return at_terminal_ && lines_.ready(50); }
  static std::string trimmed(std::string text) {
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

  LineSource& lines_;
  bool at_terminal_;
};

}  // namespace program
