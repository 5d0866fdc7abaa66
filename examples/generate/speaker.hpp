#pragma once
// One answer as the user sees it: a progress bar while the prompt is read, text as it comes, or JSON lines, and notes
// on stderr. Ctrl-C ends it.

#include <cerrno>
#include <cstring>
#include <utility>

#include "generate/json_output.hpp"
#include "generate/options.hpp"
#include "generate/progress.hpp"
#include "generate/signals.hpp"

namespace program {

class Speaker {
 public:
  Speaker(const Options& options, Stats& stats, bool in_chat)
      : o_(options), stats_(stats), in_chat_(in_chat), to_terminal_(::isatty(STDOUT_FILENO) != 0) {}

  /// Runs ask() and shows what comes. Returns an exit code.
  int speak(tmodel::FunctionRef<tmodel::expected<tmodel::Answer>(const tmodel::AskOptions&)> ask) {
    Stopwatch watch;
    ProgressBar bar("prompt");
    const auto on_progress = [&](int done, int total) {
      bar.show(done, total);
      if (done == total) watch.prompt_is_read();
    };
    const auto on_text = [&](std::string_view text) {
      bar.clear();
      if (o_.json) return !o_.stream || wrote(JsonLines::delta(text));
      return wrote(write_out(to_terminal_ ? terminal::visible(text) : std::string(text)));
    };
    const auto on_drop = [&](int messages) {
      if (!o_.json)
        terminal::note("[the context is full: forgot the oldest " + std::to_string(messages) + " messages]");
    };
    signals::interrupt_means(signals::Interrupt::ends_answer);
    auto answer =
        ask({.cancel = &signals::interrupted, .prompt_progress = on_progress, .on_text = on_text, .on_drop = on_drop});
    was_interrupted_ = signals::interrupted;
    signals::interrupt_means(signals::Interrupt::ends_program);
    watch.stop();
    bar.clear();
    if (!answer) return failed(answer.error());
    stats_.take(*answer, watch);
    if (o_.json)
      wrote(JsonLines::answer(*answer, stats_));
    else if (can_write())
      wrote(write_out("\n"));
    if (!can_write()) return write_errno_ == EPIPE ? ok : report(write_error());
    if (!o_.json) explain(answer->generation);
    if (o_.timings) print_timings();
    return ok;
  }

  /// Whether Ctrl-C came during an answer since this was asked last.
  bool was_interrupted() { return std::exchange(was_interrupted_, false); }
  /// False: whoever read stdout has gone.
  bool can_write() const { return write_errno_ == 0; }
  /// Keeps the result of a write.
  bool wrote(bool succeeded) {
    if (!succeeded && write_errno_ == 0) write_errno_ = errno != 0 ? errno : EIO;
    return succeeded;
  }

 private:
  /// With someone to talk to.
  bool at_terminal() const { return in_chat_ && !o_.json && ::isatty(STDIN_FILENO) != 0; }
  static bool write_out(std::string_view text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  }
  tmodel::Error write_error() const { return tmodel::Error(tmodel::Errc::io, std::strerror(write_errno_), "stdout"); }

  int failed(const tmodel::Error& error) {
    if (o_.json) wrote(JsonLines::error(error));
    if (error.code == tmodel::Errc::cancelled) {
      if (at_terminal()) terminal::note("[ended before the answer; the question is taken back]");
      return signals::exit_status;
    }
    return o_.json && in_chat_ ? exit_code(error.code) : report(error);
  }

  void explain(const tmodel::Generation& g) const {
    if (g.reason == tmodel::StopReason::context_full)
      terminal::note("[the context of " + std::to_string(stats_.context_size) +
                     " tokens is full; --ctx makes it larger]");
    if (!at_terminal()) return;
    if (g.reason == tmodel::StopReason::cancelled) terminal::note("[ended by Ctrl-C]");
    if (g.reason == tmodel::StopReason::max_tokens)
      terminal::note("[cut after " + std::to_string(g.tokens) + " tokens, see --max-tokens]");
  }
  void print_timings() const {
    std::string line;
    for (const std::string& fact : stats_.lines()) line += (line.empty() ? "" : ", ") + fact;
    std::fprintf(stderr, "%s\n", line.c_str());
  }

  const Options& o_;
  Stats& stats_;
  bool in_chat_, to_terminal_;
  bool was_interrupted_ = false;
  int write_errno_ = 0;
};

}  // namespace program
