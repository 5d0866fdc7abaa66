#pragma once
// A chat with someone at a terminal, or with lines from a pipe.

#include <memory>

#include "generate/commands.hpp"
#include "generate/conversation.hpp"
#include "generate/line_editor.hpp"
#include "generate/message_reader.hpp"
#include "generate/speaker.hpp"

namespace program {

class ChatLoop {
 public:
  ChatLoop(Conversation& conversation, const Options& options, Stats& stats)
      : conversation_(conversation),
        stats_(stats),
        at_terminal_(::isatty(STDIN_FILENO) != 0),
        speaker_(options, stats, true) {}

  /// Asks the first question, if there is one, and then those that come. Returns an exit code.
  int run(const std::string& first) {
    Input input;
    const std::unique_ptr<LineSource> lines = source(input);
    MessageReader reader(*lines, at_terminal_);
    if (at_terminal_) terminal::note("Ask something; /help lists commands.");
    if (!first.empty())
      if (const int code = ask(first); code != ok && !at_terminal_) return code;
    for (int interrupts = 0; speaker_.can_write();) {
      signals::interrupt_means(at_terminal_ ? signals::Interrupt::ends_line : signals::Interrupt::ends_program);
      const Entry entry = reader.next();
      signals::interrupt_means(signals::Interrupt::ends_program);
      if (entry.kind == Entry::Kind::end) break;
      if (entry.kind == Entry::Kind::interrupted) {  // again, with nothing typed in between: the end
        interrupts = entry.text.empty() ? interrupts + 1 : 1;
        if (interrupts == 2) return signals::exit_status;
        terminal::note("[Ctrl-C again or Ctrl-D ends the chat]");
        continue;
      }
      const CommandLine command = parse_command(entry.kind == Entry::Kind::command ? entry.text : std::string_view());
      if (entry.kind == Entry::Kind::command && command.command == Command::exit) break;
      const int code = entry.kind == Entry::Kind::command ? obey(command) : ask(entry.text);
      if (code != ok && !at_terminal_) return code;
      interrupts = speaker_.was_interrupted() ? 1 : 0;
    }
    return ok;
  }

 private:
  std::unique_ptr<LineSource> source(Input& input) const {
#if PROGRAM_WITH_LIBEDIT
    if (at_terminal_)
      if (auto editor = LineEditor::open(input)) return editor;
#endif
    return std::make_unique<PlainLines>(input);
  }

  int ask(const std::string& question) {
    if (question.find_first_not_of(" \t\n") == std::string::npos) return ok;
    return speaker_.speak([&](const tmodel::AskOptions& o) { return counted(conversation_.ask(question, o)); });
  }
  tmodel::expected<tmodel::Answer> counted(tmodel::expected<tmodel::Answer> answer) {
    stats_.context_used = conversation_.context_used();
    return answer;
  }

  int obey(const CommandLine& line) {
    switch (line.command) {
      case Command::help:
        std::fputs(command_help_text(terminal::columns()).c_str(), stderr);
        return ok;
      case Command::clear:
        conversation_.clear();
        terminal::note("[forgotten]");
        return ok;
      case Command::undo:
        terminal::note(conversation_.undo() ? "[took the last question back]" : "[there is no question to take back]");
        return ok;
      case Command::regen:
        if (conversation_.is_greedy()) terminal::note("[at temperature 0 the answer is the same; see --temp]");
        return speaker_.speak([&](const tmodel::AskOptions& o) { return counted(conversation_.ask_again(o)); });
      case Command::system:
        return system(line.argument);
      case Command::history:
        for (const tmodel::Message& m : conversation_.messages())
          std::fprintf(stderr, "%s: %s\n", m.role.c_str(), terminal::visible(m.content).c_str());
        return ok;
      case Command::stats:
        std::fprintf(stderr, "%zu messages\n", conversation_.messages().size());
        for (const std::string& fact : stats_.lines()) std::fprintf(stderr, "%s\n", fact.c_str());
        return ok;
      case Command::exit:
      case Command::unknown:
        break;
    }
    return report_usage("there is no /" + tmodel::printable(line.name) + "; /help lists what there is");
  }

  int system(std::string_view text) {
    if (text.empty()) {
      const std::string_view now = conversation_.system_prompt();
      std::fprintf(stderr, "%s\n", now.empty() ? "[none]" : terminal::visible(now).c_str());
      return ok;
    }
    if (auto set = conversation_.set_system_prompt(text == "-" ? std::string_view() : text); !set)
      return report(set.error());
    return ok;
  }

  Conversation& conversation_;
  Stats& stats_;
  bool at_terminal_;
  Speaker speaker_;
};

}  // namespace program
