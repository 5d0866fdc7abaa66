#pragma once
// Threads: parallel_for over an Executor that the caller may lend; ThreadPool is the built-in one.
// What is computed never depends on how work is cut or who does it: bits do not follow the number of threads.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "tmodel/core/error.hpp"
#include "tmodel/core/function_ref.hpp"

namespace tmodel::inline v0 {

/// Somebody's threads. run() calls fn(arg, i) once for every i in [0, tasks), in any order and on any thread, and
/// returns when all have returned. An empty Executor runs everything on the calling thread. A task of CpuSimd takes up
/// to 128 KB of stack.
struct Executor {
  void* self = nullptr;
  int lanes = 1;  ///< how many tasks may run at once
  void (*run)(void* self, int tasks, void (*fn)(void* arg, int task), void* arg) noexcept = nullptr;
};

namespace detail {

/// What is left of a range of work: [begin, end) in one word, from which any thread may take.
class alignas(64) Share {
 public:
  struct Taken {
    int begin = 0, end = 0;
  };
  void set(int begin, int end) noexcept { left_.store(word(begin, end), std::memory_order_relaxed); }

  /// A quarter of what is left: ever less, so that nobody waits long for the last piece.
  Taken front() noexcept {
    return take([](int begin, int end) { return Taken{begin, begin + (end - begin + 3) / 4}; });
  }
  Taken back() noexcept {
    return take([](int begin, int end) { return Taken{end - (end - begin + 3) / 4, end}; });
  }

 private:
  static constexpr std::uint64_t word(int begin, int end) noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(begin)) << 32 | static_cast<std::uint32_t>(end);
  }
  /// Memory order is the executor's: what the pieces read was written before run(), what they write is read after it.
  template <class Choose>
  Taken take(Choose choose) noexcept {
    std::uint64_t left = left_.load(std::memory_order_relaxed);
    for (;;) {
      const int begin = static_cast<int>(left >> 32), end = static_cast<int>(left & 0xFFFFFFFF);
      if (begin == end) return {};
      const Taken taken = choose(begin, end);
      const std::uint64_t rest = taken.begin == begin ? word(taken.end, end) : word(begin, taken.begin);
      if (left_.compare_exchange_weak(left, rest, std::memory_order_relaxed)) return taken;
    }
  }

  std::atomic<std::uint64_t> left_{0};
};
inline constexpr int most_shares = 32;  ///< of more lanes several have one

}  // namespace detail

/// Calls body(begin, end) for pieces that cover [0, count), each a multiple of `grain` long but the last. Each lane
/// goes upwards through a share of its own, so that it reads memory as a stream, then helps the others from the back:
/// a lane that somebody else holds up leaves its share to them. Where pieces begin is a matter of timing: what body
/// computes may not depend on it.
inline void parallel_for(const Executor& executor, int count, int grain, FunctionRef<void(int, int)> body) {
  if (count <= 0) return;
  const int units = (count + grain - 1) / grain;
  const int tasks = executor.run == nullptr ? 1 : std::min(units, executor.lanes);
  if (tasks <= 1) return body(0, count);
  struct Work {
    FunctionRef<void(int, int)> body;
    int count, grain, shares;
    detail::Share share[detail::most_shares];

    void run(detail::Share::Taken units) const {
      const long long end = static_cast<long long>(units.end) * grain;
      body(units.begin * grain, static_cast<int>(std::min<long long>(end, count)));
    }
  } work{body, count, grain, std::min(tasks, detail::most_shares), {}};
  for (int i = 0; i < work.shares; ++i) {
    const auto edge = [&](int at) { return static_cast<int>(static_cast<long long>(units) * at / work.shares); };
    work.share[i].set(edge(i), edge(i + 1));
  }
  executor.run(
      executor.self, tasks,
      [](void* arg, int task) {
        Work& w = *static_cast<Work*>(arg);
        const int own = task % w.shares;
        for (detail::Share::Taken piece; (piece = w.share[own].front()).end > 0;) w.run(piece);
        for (int i = 1; i < w.shares; ++i)
          for (detail::Share::Taken piece; (piece = w.share[(own + i) % w.shares].back()).end > 0;) w.run(piece);
      },
      &work);
}

/// A fixed set of worker threads. They spin for some microseconds after work, then sleep until there is more.
/// Several threads may call run() at once: one uses the workers, the others do their tasks themselves.
class ThreadPool {
 public:
  /// `threads` counts the caller: 1 makes no worker. Errors: bad_argument, out_of_memory, io (no thread to be had).
  static expected<std::unique_ptr<ThreadPool>> create(int threads) {
    if (threads < 1 || threads > 1024)
      return fail(Errc::bad_argument, "thread count", {}, "1 to 1024", std::to_string(threads));
    std::unique_ptr<ThreadPool> pool(new (std::nothrow) ThreadPool);
    if (!pool) return out_of_memory();
    TMODEL_CHECK(guard([&]() -> expected<void> { return pool->start(threads - 1); }));
    return pool;
  }
  ~ThreadPool() {
    stop_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  Executor executor() noexcept {
    return {this, static_cast<int>(workers_.size()) + 1,
            [](void* self, int tasks, void (*fn)(void*, int), void* arg) noexcept {
              static_cast<ThreadPool*>(self)->run(tasks, fn, arg);
            }};
  }

 private:
  ThreadPool() = default;

  expected<void> start(int workers) {
    workers_.reserve(static_cast<std::size_t>(workers));
#if defined(__cpp_exceptions)
    try {
#endif
      for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { work(); });
#if defined(__cpp_exceptions)
    } catch (const std::system_error&) {
      return fail(Errc::io, "cannot start a thread", {}, std::to_string(workers), std::to_string(workers_.size()));
    }
#endif
    return {};
  }

  using Task = void (*)(void*, int);

  void run(int tasks, Task fn, void* arg) noexcept {
    if (workers_.empty() || busy_.exchange(true, std::memory_order_acquire)) {
      for (int i = 0; i < tasks; ++i) fn(arg, i);
      return;
    }
    fn_.store(fn, std::memory_order_relaxed);
    arg_.store(arg, std::memory_order_relaxed);
    running_.store(tasks, std::memory_order_relaxed);
    const std::uint64_t round = (to_begin_.load(std::memory_order_relaxed) >> 32) + 1;
    to_begin_.store(round << 32 | static_cast<std::uint32_t>(tasks), std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    drain();
    for (int spin = 0;; ++spin) {
      const int left = running_.load(std::memory_order_acquire);
      if (left == 0) break;
      if (spin < spin_limit)
        pause();
      else
        running_.wait(left, std::memory_order_acquire);
    }
    busy_.store(false, std::memory_order_release);
  }

  /// Begins tasks as long as there are any. Nobody waits for a worker that has begun none: what such a late one has
  /// read of fn_ and arg_ counts only if the round is still the same and has tasks to begin, and then both are of this
  /// round.
  void drain() noexcept {
    std::uint64_t now = to_begin_.load(std::memory_order_acquire);
    while ((now & 0xFFFFFFFF) != 0) {
      const Task fn = fn_.load(std::memory_order_relaxed);
      void* const arg = arg_.load(std::memory_order_relaxed);
      if (!to_begin_.compare_exchange_weak(now, now - 1, std::memory_order_acquire)) continue;
      fn(arg, static_cast<int>((now & 0xFFFFFFFF) - 1));
      if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
      now = to_begin_.load(std::memory_order_acquire);
    }
  }

  void work() noexcept {
    unsigned seen = 0;
    for (;;) {
      unsigned now = epoch_.load(std::memory_order_acquire);
      for (int spin = 0; now == seen; ++spin) {
        if (spin < spin_limit)
          pause();
        else
          epoch_.wait(seen, std::memory_order_acquire);
        now = epoch_.load(std::memory_order_acquire);
      }
      seen = now;
      if (stop_.load(std::memory_order_relaxed)) return;
      drain();
    }
  }

  static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }

  // About 30 microseconds of waiting at 5 to 20 ns a pause: longer than the gaps between operations of a layer.
  static constexpr int spin_limit = 3000;

  std::vector<std::thread> workers_;
  alignas(64) std::atomic<unsigned> epoch_{0};  ///< changes when there is something to see: what workers sleep on
  alignas(64) std::atomic<std::uint64_t> to_begin_{0};  ///< the round in the upper half, tasks left in the lower
  alignas(64) std::atomic<int> running_{0};             ///< tasks that have not returned
  alignas(64) std::atomic<bool> stop_{false};
  std::atomic<bool> busy_{false};  ///< somebody's run() uses the workers
  std::atomic<Task> fn_{nullptr};
  std::atomic<void*> arg_{nullptr};
};

}  // namespace tmodel::inline v0
