#pragma once
// --chat --json: requests as JSON values, one a line. What fails is said in an object, and the next line is read.

#include "generate/commands.hpp"
#include "generate/conversation.hpp"
#include "generate/input.hpp"
#include "generate/speaker.hpp"
#include "tmodel/core/json.hpp"

namespace program {

class JsonLoop {
 public:
  JsonLoop(Conversation& conversation, const Options& options, Stats& stats)
      : conversation_(conversation), stats_(stats), speaker_(options, stats, true) {}

  int run(const std::string& first) {
    Input input;
    PlainLines lines(input);
    if (!first.empty()) ask(first);
    while (speaker_.can_write() && !ended_) {
      const Line line = lines.read("");
      if (line.kind != Line::Kind::text) break;
      if (line.text.find_first_not_of(" \t") == std::string::npos) continue;
      if (const auto done = request(line.text); !done) speaker_.wrote(JsonLines::error(done.error()));
    }
    return ok;
  }

 private:
  using Result = tmodel::expected<void>;

  Result request(const std::string& line) {
    const auto document = tmodel::JsonDocument::parse(line, "stdin");
    if (!document) return tmodel::fail(tmodel::Errc::bad_argument, document.error().what, "stdin");
    const tmodel::Json root = document->root();
    const tmodel::Json question = root.is_string() ? root : root["question"], command = root["command"];
    if (question.is_string()) return ask(question.string()), Result();
    if (!command.is_string())
      return tmodel::fail(tmodel::Errc::bad_argument, "request", "stdin",
                          R"("question", {"question":...} or {"command":...,"text":...})");
    const CommandLine parsed = parse_command(command.string());
    switch (parsed.command) {
      case Command::regen:
        speaker_.speak([&](const tmodel::AskOptions& o) { return counted(conversation_.ask_again(o)); });
        return {};
      case Command::history:
        speaker_.wrote(JsonLines::history(conversation_.messages()));
        return {};
      case Command::stats:
        speaker_.wrote(JsonLines::stats(stats_, conversation_.messages().size()));
        return {};
      case Command::clear:
        conversation_.clear();
        break;
      case Command::undo:
        if (!conversation_.undo())
          return tmodel::fail(tmodel::Errc::bad_argument, "there is no question to take back", "undo");
        break;
      case Command::system:
        if (!root["text"].is_string()) return tmodel::fail(tmodel::Errc::bad_argument, "no text", "system");
        TMODEL_CHECK(conversation_.set_system_prompt(root["text"].string()));
        break;
      case Command::exit:
        ended_ = true;
        return {};
      case Command::help:
      case Command::unknown:
        return tmodel::fail(tmodel::Errc::bad_argument, "unknown command", "stdin", "one of --help's",
                            command.string());
    }
    speaker_.wrote(JsonLines::write({{"type", parsed.name}, {"messages", conversation_.messages().size()}}));
    return {};
  }

  void ask(std::string_view question) {
    speaker_.speak([&](const tmodel::AskOptions& o) { return counted(conversation_.ask(question, o)); });
  }
  tmodel::expected<tmodel::Answer> counted(tmodel::expected<tmodel::Answer> answer) {
    stats_.context_used = conversation_.context_used();
    return answer;
  }

  Conversation& conversation_;
  Stats& stats_;
  Speaker speaker_;
  bool ended_ = false;
};

}  // namespace program
