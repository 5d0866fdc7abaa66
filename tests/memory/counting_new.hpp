#pragma once
// Replaces the global operator new: counts calls and live bytes, and can make the n-th call fail. One translation unit
// of a test program includes it.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace counting {

inline std::atomic<long> calls{0};        // since the program began
inline std::atomic<long> live{0};         // blocks
inline std::atomic<long> fail_at{-1};     // the call with this number fails; -1: none
inline std::atomic<bool> failed{false};   // whether it did

inline void* allocate(std::size_t size, std::size_t align) noexcept {
  const long n = calls.fetch_add(1);
  if (n == fail_at.load()) {
    failed = true;
    return nullptr;
  }
  void* p = align > alignof(std::max_align_t) ? std::aligned_alloc(align, (size + align - 1) / align * align) : std::malloc(size ? size : 1);
  if (p != nullptr) ++live;
  return p;
}
inline void release(void* p) noexcept {
  if (p == nullptr) return;
  --live;
  std::free(p);
}

}  // namespace counting

void* operator new(std::size_t n) {
  if (void* p = counting::allocate(n, 1)) return p;
  throw std::bad_alloc();
}
void* operator new(std::size_t n, std::align_val_t a) {
  if (void* p = counting::allocate(n, static_cast<std::size_t>(a))) return p;
  throw std::bad_alloc();
}
void* operator new[](std::size_t n) { return operator new(n); }
void* operator new[](std::size_t n, std::align_val_t a) { return operator new(n, a); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return counting::allocate(n, 1); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return counting::allocate(n, 1); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return counting::allocate(n, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { counting::release(p); }
void operator delete[](void* p) noexcept { counting::release(p); }
void operator delete(void* p, std::size_t) noexcept { counting::release(p); }
void operator delete[](void* p, std::size_t) noexcept { counting::release(p); }
void operator delete(void* p, std::align_val_t) noexcept { counting::release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { counting::release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { counting::release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { counting::release(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { counting::release(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { counting::release(p); }
