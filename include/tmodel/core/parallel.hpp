#pragma once
// Threads: parallel_for over an Executor that the caller may lend; ThreadPool is the built-in one.
// A task never depends on how many there are or who runs it: bits do not follow the number of threads.

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

/// Somebody's threads. run() calls fn(arg, i) once for every i in [0, tasks), in any order and on any thread, and
/// returns when all have returned. An empty Executor runs everything on the calling thread. A task of CpuSimd takes up
/// to 128 KB of stack.
struct Executor {
  void* self = nullptr;
  int lanes = 1;  ///< how many tasks may run at once; work is cut into about this many pieces
  void (*run)(void* self, int tasks, void (*fn)(void* arg, int task), void* arg) noexcept = nullptr;
};

/// Calls body(begin, end) for pieces that cover [0, count), each a multiple of `grain` long but the last; about one for
/// each lane, or `pieces` of them, so that a lane that somebody else holds up leaves its share to the others.
template <class Body>
void parallel_for(const Executor& executor, int count, int grain, Body&& body, int pieces = 0) {
  if (count <= 0) return;
  const int units = (count + grain - 1) / grain;
  const int tasks =
      executor.run == nullptr || executor.lanes <= 1 ? 1 : std::min(units, std::max(pieces, executor.lanes));
  if (tasks <= 1) return body(0, count);
  struct Work {
    Body& body;
    int count, grain, units, tasks;
  } work{body, count, grain, units, tasks};
  executor.run(
      executor.self, tasks,
      [](void* arg, int task) {
        const Work& w = *static_cast<Work*>(arg);
        const auto edge = [&](int t) {
          const long long unit = static_cast<long long>(w.units) * t / w.tasks;
          const long long at = unit * w.grain;
          return at < w.count ? static_cast<int>(at) : w.count;
        };
        if (const int begin = edge(task), end = edge(task + 1); begin < end) w.body(begin, end);
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

  void run(int tasks, void (*fn)(void*, int), void* arg) noexcept {
    const std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
    if (!lock.owns_lock() || workers_.empty()) {
      for (int i = 0; i < tasks; ++i) fn(arg, i);
      return;
    }
    fn_ = fn;
    arg_ = arg;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    pending_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    drain();
    for (int spin = 0;; ++spin) {
      const int left = pending_.load(std::memory_order_acquire);
      if (left == 0) break;
      if (spin < spin_limit) pause();
      else pending_.wait(left, std::memory_order_acquire);
    }
  }

  void drain() noexcept {
    for (int task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) fn_(arg_, task);
  }

  void work() noexcept {
    unsigned seen = 0;
    for (;;) {
      unsigned now = epoch_.load(std::memory_order_acquire);
      for (int spin = 0; now == seen; ++spin) {
        if (spin < spin_limit) pause();
        else epoch_.wait(seen, std::memory_order_acquire);
        now = epoch_.load(std::memory_order_acquire);
      }
      seen = now;
      if (stop_.load(std::memory_order_relaxed)) return;
      drain();
      if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
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
  std::mutex busy_;
  alignas(64) std::atomic<unsigned> epoch_{0};
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> pending_{0};
  alignas(64) std::atomic<bool> stop_{false};
  void (*fn_)(void*, int) = nullptr;
  void* arg_ = nullptr;
  int tasks_ = 0;
};

}  // namespace tmodel::inline v0
