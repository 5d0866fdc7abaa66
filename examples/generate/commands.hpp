#pragma once
// What a line that begins with a slash may say.

#include <string>
#include <string_view>

#include "generate/terminal.hpp"

namespace program {

enum class Command { help, clear, undo, regen, system, history, stats, exit, unknown };

struct CommandLine {
  Command command = Command::unknown;
  std::string_view name, argument;
};

struct CommandHelp {
  Command command;
  std::string_view name, argument, text;
};
inline constexpr CommandHelp command_help[] = {
    {Command::help, "help", "", "this list"},
    {Command::clear, "clear", "", "forget the conversation, but not the system prompt"},
    {Command::undo, "undo", "", "take back the last question and its answer"},
    {Command::regen, "regen", "", "answer the last question again, with other tokens"},
    {Command::system, "system", "[TEXT]", "set the system prompt, show it, or remove it (-)"},
    {Command::history, "history", "", "the messages that the model sees"},
    {Command::stats, "stats", "", "tokens, context, speed, memory"},
    {Command::exit, "exit", "", "end the chat, as Ctrl-D does"},
};

inline CommandLine parse_command(std::string_view text) {
  const std::size_t end = text.find_first_of(" \t\n");
  CommandLine line;
  line.name = text.substr(0, end);
  if (end != std::string_view::npos) line.argument = text.substr(end);
  while (!line.argument.empty() && line.argument.find_first_of(" \t\n") == 0) line.argument.remove_prefix(1);
  while (!line.argument.empty() && line.argument.find_last_of(" \t\n") + 1 == line.argument.size())
    line.argument.remove_suffix(1);
  for (const CommandHelp& c : command_help)
    if (c.name == line.name) line.command = c.command;
  if (line.name == "quit" || line.name == "bye") line.command = Command::exit;
  if (line.name == "?") line.command = Command::help;
  return line;
}

inline std::string command_help_text(int columns) {
  constexpr std::size_t table_column = 16;
  constexpr int table_width = 70;
  std::string out;
  for (const CommandHelp& c : command_help) {
    std::string head = "/" + std::string(c.name) + (c.argument.empty() ? "" : " ") + std::string(c.argument);
    if (columns >= table_width)
      out += (head.resize(table_column, ' '), head) + std::string(c.text) + '\n';
    else
      out += terminal::wrapped(head + ": " + std::string(c.text), columns - 1, 2);
  }
  for (const char* sentence :
       {"A line that ends in \\ goes on in the next one.", "\"\"\" begins and ends a text of many lines.",
        "What is pasted is one message.", "A space in front of a slash makes it a question.",
        "Ctrl-C ends an answer or drops a line; twice, it ends the program."})
    out += terminal::wrapped(sentence, columns - 1, 2);
  return out;
}

}  // namespace program
