#pragma once
// Ctrl-C, Ctrl-Z and a new window size. What Ctrl-C ends depends on what the program does; whatever it is, a second one
// ends the program, with the status 130 that shells expect. The terminal is put back before the program goes.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "generate/terminal.hpp"

namespace program::signals {

inline constexpr int exit_status = 130;  ///< of a program that Ctrl-C ended

enum class Interrupt : int { ends_program, ends_answer, ends_line };

inline std::atomic<Interrupt> meaning{Interrupt::ends_program};
inline std::atomic<bool> interrupted{false};  ///< the cancel flag of answers
inline std::atomic<bool> resized{false}, continued{false};
inline int wake[2] = {-1, -1};  ///< a pipe: a signal that comes just before a wait for input ends the wait too

namespace detail {

inline void wake_reader() noexcept {
  const int before = errno;
  [[maybe_unused]] const auto written = ::write(wake[1], "", 1);
  errno = before;
}

extern "C" inline void on_interrupt(int) {
  if (meaning == Interrupt::ends_program || interrupted.exchange(true)) {
    terminal::restore();
    if (::isatty(STDERR_FILENO) != 0) terminal::write_raw("\n");
    ::_exit(exit_status);
  }
  wake_reader();
}
extern "C" inline void on_resize(int) {
  resized = true;
  wake_reader();
}
extern "C" inline void on_continue(int) {
  terminal::resume();
  continued = true;
  wake_reader();
}
/// Does what the signal does by default, after the terminal was put back. Returns if that was to stop for a while.
extern "C" inline void on_other(int signal) {
  const int before = errno;
  terminal::restore();
  struct sigaction usual {
  }, own{};
  usual.sa_handler = SIG_DFL;
  ::sigaction(signal, &usual, &own);
  sigset_t set, blocked;
  sigemptyset(&set);
  sigaddset(&set, signal);
  ::raise(signal);
  ::pthread_sigmask(SIG_UNBLOCK, &set, &blocked);
  ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  ::sigaction(signal, &own, nullptr);
  errno = before;
}

}  // namespace detail

inline void install() {
  if (::pipe2(wake, O_NONBLOCK | O_CLOEXEC) != 0) wake[0] = wake[1] = -1;
  const auto handle = [](int signal, void (*handler)(int)) {
    struct sigaction action {
    }, before{};
    action.sa_handler = handler;
    ::sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_IGN && signal != SIGINT) return;  // nohup
    ::sigaction(signal, &action, nullptr);
  };
  handle(SIGINT, detail::on_interrupt);
  handle(SIGWINCH, detail::on_resize);
  handle(SIGCONT, detail::on_continue);
  for (const int signal : {SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) handle(signal, detail::on_other);
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is seen where the answer is written
}

/// Says what Ctrl-C ends from here on.
inline void interrupt_means(Interrupt what) {
  meaning = what;
  interrupted = false;
}

}  // namespace program::signals
