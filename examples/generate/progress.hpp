#pragma once
// A progress bar on stderr: only on a terminal, one line that is taken away again.

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace program {

class ProgressBar {
 public:
  explicit ProgressBar(std::string name) : name_(std::move(name)) {
    const char* terminal = std::getenv("TERM");
    on_ = ::isatty(STDERR_FILENO) != 0 && terminal != nullptr && std::string_view(terminal) != "dumb";
  }
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Shown once the work has taken a noticeable time.
  void show(int done, int total) {
    if (!on_ || total <= 0 || std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(300)) return;
    constexpr int width = 30;
    const int filled = static_cast<int>(static_cast<long long>(done) * width / total);
    const std::string bar = std::string(static_cast<std::size_t>(filled), '#') + std::string(static_cast<std::size_t>(width - filled), '.');
    std::fprintf(stderr, "\r%s [%s] %d/%d", name_.c_str(), bar.c_str(), done, total);
    shown_ = true;
  }
  void say(std::string_view stage) {
    if (!on_) return;
    clear();
    std::fprintf(stderr, "\r%s: %.*s", name_.c_str(), static_cast<int>(stage.size()), stage.data());
    shown_ = true;
  }
  void clear() {
    if (shown_) std::fprintf(stderr, "\r\033[K");
    shown_ = false;
  }

 private:
  std::string name_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool on_ = false;
  bool shown_ = false;
};

}  // namespace program
