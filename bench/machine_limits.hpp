#pragma once
// What the machine gives at best, measured with the threads that a benchmark runs on: bytes read a second, f32
// multiply-adds a second. Both differ between hours on shared machines, so they belong beside every figure.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "tmodel/core/parallel.hpp"

namespace bench {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

namespace detail {

// As wide as the library's kernels are: with AVX-512 they are AVX2's.
#if defined(__AVX__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif
typedef float Floats __attribute__((vector_size(vector_bytes)));
typedef std::uint64_t Words __attribute__((vector_size(vector_bytes), aligned(8), may_alias));

/// `rounds` times 12 independent multiply-adds of vectors: more than latency times units of the CPUs we know (4 x 2).
/// Out of line: inlined into a task, the compiler keeps its variables in memory for some numbers of threads. The chains
/// begin with different numbers: g++ computes equal ones once.
[[gnu::noinline]] inline float multiply_adds(long long rounds, float factor) {
  const Floats a = Floats{} + factor, b = Floats{} + (1 - factor);
  return [&]<std::size_t... i>(std::index_sequence<i...>) {
    Floats sums[] = {Floats{} + factor * static_cast<float>(i + 1)...};
    for (long long r = 0; r < rounds; ++r) ((sums[i] = sums[i] * a + b), ...);
    Floats total{};
    ((total += sums[i]), ...);
    return total[0];
  }
  (std::make_index_sequence<12>());
}

}  // namespace detail

/// A buffer larger than caches, allocated and touched once, and the rate at which all threads read it.
class ReadBandwidth {
 public:
  explicit ReadBandwidth(const tmodel::Executor& executor) : executor_(executor), pages_(wanted_pages()) {
    words_ = std::make_unique_for_overwrite<std::uint64_t[]>(static_cast<std::size_t>(pages_) * page_words);
    // By the threads that read it: memory is on the node of who touches it first.
    each_part([&](std::uint64_t* from, std::uint64_t* to) { std::fill(from, to, std::uint64_t{1}); });
  }

  /// GB/s: the best pass over the whole buffer within `seconds`, of two at least.
  double measure(double seconds = 0.1) const {
    double best = 0;
    std::atomic<std::uint64_t> sum{0};  // otherwise nothing needs to be read
    const auto begin = Clock::now();
    for (int pass = 0; pass < 2 || seconds_since(begin) < seconds; ++pass) {
      const auto start = Clock::now();
      each_part([&](const std::uint64_t* from, const std::uint64_t* to) { sum += read(from, to); });
      best = std::max(best, static_cast<double>(pages_) * page_words * 8 / seconds_since(start) / 1e9);
    }
    return sum == 0 ? 0 : best;
  }

 private:
  static constexpr std::size_t page_words = 512;

  /// 1 GiB, or a quarter of the free memory where that is less.
  static int wanted_pages() {
    const long free = ::sysconf(_SC_AVPHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
    const double bytes =
        std::clamp(static_cast<double>(free) * static_cast<double>(page) / 4, 64.0 * (1 << 20), 1024.0 * (1 << 20));
    return static_cast<int>(bytes / (page_words * 8));
  }
  template <class Fn>
  void each_part(Fn&& fn) const {
    tmodel::parallel_for(executor_, pages_, 1, [&](int begin, int end) {
      fn(words_.get() + static_cast<std::size_t>(begin) * page_words,
         words_.get() + static_cast<std::size_t>(end) * page_words);
    });
  }
  // Out of line, so that it is compiled alike whoever calls it.
  [[gnu::noinline]] static std::uint64_t read(const std::uint64_t* from, const std::uint64_t* to) {
    detail::Words sums[4] = {};
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      constexpr std::size_t step = sizeof(detail::Words) / 8;
      for (; from != to; from += 4 * step) ((sums[i] += *reinterpret_cast<const detail::Words*>(from + i * step)), ...);
    }
    (std::make_index_sequence<4>());
    return (sums[0] + sums[1] + sums[2] + sums[3])[0];
  }

  tmodel::Executor executor_;
  int pages_;
  std::unique_ptr<std::uint64_t[]> words_;
};

/// Gop/s of f32 multiply-adds on all threads, each two operations: the best of some tries.
inline double multiply_add_peak(const tmodel::Executor& executor) {
  constexpr long long rounds = 1 << 20;
  std::atomic<int> wrong{0};
  double best = 0;
  for (int attempt = 0; attempt < 8; ++attempt) {
    const auto begin = Clock::now();
    tmodel::parallel_for(executor, executor.lanes, 1, [&](int from, int to) {
      for (int i = from; i < to; ++i)
        if (!(detail::multiply_adds(rounds, 0.999f) > 0)) ++wrong;
    });
    best = std::max(best, 2.0 * 12 * (detail::vector_bytes / 4) * rounds * executor.lanes / seconds_since(begin) / 1e9);
  }
  return wrong == 0 ? best : 0;
}

}  // namespace bench
