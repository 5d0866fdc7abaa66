#pragma once
// What counted_new.hpp counts. A program that does not contain the counting operators finds all of it at 0.
// An allocation that would bring the live bytes above the limit is refused.

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace tmodel::testing {

/// What the program has allocated through operator new.
struct Allocations {
  static inline std::atomic<std::size_t> live{0};  ///< bytes now
  static inline std::atomic<std::size_t> peak{0};  ///< most since start_peak()
  static inline std::atomic<std::size_t> limit{~std::size_t{0}};
  static inline std::atomic<std::size_t> refused{0};  ///< allocations that the limit stopped
  static inline std::atomic<long> calls{0};           ///< since the program began
  /// 1: the next allocation fails, 2: the one after it; 0: none. Built without exceptions only those of nothrow new
  /// count: the others cannot fail and return.
  static inline std::atomic<long> fail_in{0};

  /// Begins a new peak and returns the bytes that are live now.
  static std::size_t start_peak() noexcept {
    peak = live.load();
    return live;
  }
  static void* take(std::size_t bytes, std::size_t alignment, bool may_fail = true) noexcept {
    ++calls;
    if (may_fail && fail_in > 0 && --fail_in == 0) return nullptr;
    if (bytes > limit || live > limit - bytes) return (++refused, nullptr);
    void* p = nullptr;
    if (alignment <= alignof(std::max_align_t))
      p = std::malloc(bytes != 0 ? bytes : 1);
    else if (::posix_memalign(&p, alignment, bytes != 0 ? bytes : 1) != 0)
      p = nullptr;
    if (p == nullptr) return nullptr;
    const std::size_t now = live += ::malloc_usable_size(p);
    for (std::size_t most = peak; now > most && !peak.compare_exchange_weak(most, now);) {
    }
    return p;
  }
  [[gnu::noinline]] static void give(void* p) noexcept {  // inlined, g++ sees free() of what new returned, and warns
    if (p == nullptr) return;
    live -= ::malloc_usable_size(p);
    std::free(p);
  }
  static void* take_or_throw(std::size_t bytes, std::size_t alignment) {
#if defined(__cpp_exceptions)
    void* p = take(bytes, alignment);
    if (p == nullptr) throw std::bad_alloc();
#else
    void* p = take(bytes, alignment, false);
    if (p == nullptr) std::abort();
#endif
    return p;
  }
};

}  // namespace tmodel::testing
