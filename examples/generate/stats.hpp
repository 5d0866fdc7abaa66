#pragma once
// How long things took, and how much was used: for --timings, /stats and --json.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "program/program.hpp"
#include "tmodel/chat.hpp"

namespace program {

/// Seconds of one answer.
class Stopwatch {
 public:
  void prompt_is_read() { read_ = Clock::now(); }
  void stop() { end_ = Clock::now(); }
  double prompt() const { return seconds(begin_, std::min(read_, end_)); }
  double answer() const { return read_ < end_ ? seconds(read_, end_) : 0; }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }
  Clock::time_point begin_ = Clock::now(), read_ = Clock::time_point::max(), end_ = Clock::time_point::max();
};

inline std::size_t peak_memory() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<std::size_t>(usage.ru_maxrss) * 1024 : 0;
}

struct Stats {
  double load_seconds = 0, prompt_seconds = 0, answer_seconds = 0;
  int prompt_tokens = 0, cached_tokens = 0, answer_tokens = 0;
  tmodel::StopReason reason = tmodel::StopReason::none;
  int context_used = 0, context_size = 0;
  std::uint64_t seed = 0;

  void take(const tmodel::Answer& a, const Stopwatch& watch) {
    prompt_seconds = watch.prompt();
    answer_seconds = watch.answer();
    prompt_tokens = a.cached_tokens + a.generation.prompt_tokens;
    cached_tokens = a.cached_tokens;
    answer_tokens = a.generation.tokens;
    reason = a.generation.reason;
  }
  double prompt_speed() const { return (prompt_tokens - cached_tokens) / std::max(prompt_seconds, 1e-9); }
  double answer_speed() const { return answer_tokens / std::max(answer_seconds, 1e-9); }

  /// One fact each.
  std::vector<std::string> lines() const {
    const auto line = [](const char* format, auto... values) {
      char text[160];
      std::snprintf(text, sizeof text, format, values...);
      return std::string(text);
    };
    std::vector<std::string> facts{line("load %.0f ms", load_seconds * 1e3)};
    if (prompt_tokens > 0) {
      facts.push_back(line("prompt %d tokens, %d computed %.1f tok/s", prompt_tokens, prompt_tokens - cached_tokens,
                           prompt_speed()));
      facts.push_back(line("answer %d tokens %.1f tok/s", answer_tokens, answer_speed()));
      facts.push_back("ended by: " + std::string(tmodel::name_of(reason)));
    }
    facts.push_back(line("context %d of %d", context_used, context_size));
    facts.push_back(line("seed %llu", static_cast<unsigned long long>(seed)));
    facts.push_back("peak memory " + readable_bytes(peak_memory()));
    return facts;
  }
};

}  // namespace program
