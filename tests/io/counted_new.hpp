#pragma once
// Replaces the global operator new and delete by counting ones. Include it in exactly one source file of a program:
// replacements cannot be inline.

#include <cstddef>
#include <new>

#include "io/allocations.hpp"

void* operator new(std::size_t n) { return tmodel::testing::Allocations::take_or_throw(n, 1); }
void* operator new[](std::size_t n) { return tmodel::testing::Allocations::take_or_throw(n, 1); }
void* operator new(std::size_t n, std::align_val_t a) {
  return tmodel::testing::Allocations::take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return tmodel::testing::Allocations::take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return tmodel::testing::Allocations::take(n, 1); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return tmodel::testing::Allocations::take(n, 1); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return tmodel::testing::Allocations::take(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return tmodel::testing::Allocations::take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete[](void* p) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete(void* p, std::size_t) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete[](void* p, std::size_t) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete(void* p, std::align_val_t) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete[](void* p, std::align_val_t) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { tmodel::testing::Allocations::give(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  tmodel::testing::Allocations::give(p);
}
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept {
  tmodel::testing::Allocations::give(p);
}
