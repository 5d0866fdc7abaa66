#pragma once
// Large blocks of memory: allocated without throwing, 64-byte aligned, zeroed, freed by their owner.
// Everything that grows with a model or a context lives in one of these, so that a refusal is an error value.

#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0 {

inline constexpr std::size_t cache_line = 64;

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) noexcept {
  return (n + multiple - 1) / multiple * multiple;
}

/// a * b, or false if it does not fit. Sizes that come from files go through this.
[[nodiscard]] constexpr bool multiply(std::size_t a, std::size_t b, std::size_t& product) noexcept {
  if (b != 0 && a > static_cast<std::size_t>(-1) / b) return false;
  product = a * b;
  return true;
}

/// An owned block of bytes, aligned to a cache line and zeroed.
class Buffer {
 public:
  Buffer() = default;

  /// Errors: out_of_memory.
  static expected<Buffer> allocate(std::size_t bytes) {
    Buffer buffer;
    if (bytes == 0) return buffer;
    auto* raw = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{cache_line}, std::nothrow));
    if (raw == nullptr) return out_of_memory();
    std::memset(raw, 0, bytes);
    buffer.data_.reset(raw);
    buffer.size_ = bytes;
    return buffer;
  }

  std::byte* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  std::span<std::byte> bytes() const noexcept { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const noexcept { ::operator delete(p, std::align_val_t{cache_line}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace tmodel::inline v0
