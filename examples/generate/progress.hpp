#pragma once
// A progress bar on stderr: only on a terminal, one line that is taken away again.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

#include "generate/terminal.hpp"

namespace program {

class ProgressBar {
 public:
  explicit ProgressBar(std::string name) : name_(std::move(name)), on_(terminal::takes_escapes()) {}
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Shown once the work has taken a noticeable time.
  void show(int done, int total) {
    if (!on_ || total <= 0 || std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(300)) return;
    const std::string numbers = std::to_string(done) + "/" + std::to_string(total);
    const int free = terminal::columns() - static_cast<int>(name_.size() + numbers.size()) - 5;
    const int width = std::min(free, 30);
    if (width >= 4) {
      const auto filled = static_cast<std::size_t>(static_cast<long long>(done) * width / total);
      const std::string bar = std::string(filled, '#') + std::string(static_cast<std::size_t>(width) - filled, '.');
      line(name_ + " [" + bar + "] " + numbers);
    } else {
      line(name_ + " " + numbers);
    }
  }
  void say(std::string_view stage) {
    if (on_) line(name_ + ": " + std::string(stage));
  }
  void clear() {
    if (shown_) std::fputs("\r\033[K", stderr);
    shown_ = false;
  }

 private:
  /// One that is wider than the terminal could not be taken away again.
  void line(std::string text) {
    text.resize(std::min(text.size(), static_cast<std::size_t>(std::max(terminal::columns() - 1, 1))));
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    shown_ = true;
  }

  std::string name_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool on_ = false;
  bool shown_ = false;
};

}  // namespace program
