#pragma once
// An array of plain values that grows without throwing: the tables of a tokenizer, whose size a file decides.
// Own design, on core/memory.hpp's Buffer.

#include <span>
#include <type_traits>

#include "tmodel/core/memory.hpp"

namespace tmodel::inline v0::tokenization {

/// Elements back to back in one Buffer. Growth doubles; shrink() gives the rest back.
template <class T>
class FlatArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// n zeroed elements. Errors: out_of_memory.
  static expected<FlatArray> allocate(std::size_t n) {
    FlatArray array;
    TMODEL_CHECK(array.reserve(n));
    array.size_ = n;
    return array;
  }

  /// Errors: out_of_memory; the array is unchanged then.
  expected<void> append(std::span<const T> values) {
    if (values.size() > capacity() - size_) TMODEL_CHECK(reserve(std::max(size_ + values.size(), 2 * capacity())));
    if (!values.empty()) std::memcpy(data() + size_, values.data(), values.size() * sizeof(T));
    size_ += values.size();
    return {};
  }
  expected<void> push_back(const T& value) { return append(std::span<const T>(&value, 1)); }

  /// Room for n elements, exactly; what is known beforehand leaves no holes behind. Errors: out_of_memory.
  expected<void> reserve(std::size_t n) {
    std::size_t bytes = 0;
    if (!multiply(n, sizeof(T), bytes)) return fail(Errc::out_of_memory);
    TMODEL_TRY(Buffer grown, Buffer::allocate(bytes));
    if (size_ != 0) std::memcpy(grown.data(), buffer_.data(), size_ * sizeof(T));
    buffer_ = std::move(grown);
    return {};
  }

  /// Makes bytes() the size of what is held. Errors: out_of_memory.
  expected<void> shrink() { return size_ == capacity() ? expected<void>{} : reserve(size_); }

  T* data() const noexcept { return reinterpret_cast<T*>(buffer_.data()); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::span<const T> span() const noexcept { return {data(), size_}; }
  std::size_t bytes() const noexcept { return buffer_.size(); }

  T& operator[](std::size_t i) noexcept { return data()[i]; }
  const T& operator[](std::size_t i) const noexcept { return data()[i]; }

 private:
  std::size_t capacity() const noexcept { return buffer_.size() / sizeof(T); }
  Buffer buffer_;
  std::size_t size_ = 0;
};

}  // namespace tmodel::inline v0::tokenization
