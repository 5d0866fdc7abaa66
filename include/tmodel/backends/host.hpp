#pragma once
// Memory and handles of the backends that compute in host memory: one arena, rows, vectors, matrices, key/value cache.
// Weights stay where the file was mapped, unless their bytes are not aligned for their block type.

#include <algorithm>
#include <memory>
#include <span>

#include "tmodel/core/concepts.hpp"
#include "tmodel/core/memory.hpp"
#include "tmodel/core/os.hpp"
#include "tmodel/core/parallel.hpp"

namespace tmodel::inline v0 {

/// Rows [n, columns], contiguous.
template <class T>
struct HostRows {
  T* data = nullptr;
  int n = 0;
  int columns = 0;
  T* row(int i) const noexcept { return data + static_cast<std::size_t>(i) * static_cast<std::size_t>(columns); }
  HostRows first(int rows) const noexcept { return {data, rows, columns}; }
};

struct HostVec {
  const f32* data = nullptr;
  int size = 0;
  bool empty() const noexcept { return size == 0; }
};

/// A weight [rows, columns] as stored: columns / block_len blocks a row.
template <class Q>
struct HostMatrix {
  const typename Q::Block* data = nullptr;
  int rows = 0;
  int columns = 0;
  const typename Q::Block* row(int i) const noexcept {
    return data + static_cast<std::size_t>(i) * (static_cast<std::size_t>(columns) / Q::block_len);
  }
};

/// Keys and values: for each layer and kv head, `capacity` consecutive vectors of head_dim elements.
struct HostKv {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  KvShape shape;

  std::size_t row_bytes() const noexcept { return kv_row_bytes(shape.type, shape.head_dim); }
  std::size_t offset(int layer, int head, pos_t position) const noexcept {
    const auto lane = static_cast<std::size_t>(layer) * static_cast<std::size_t>(shape.kv_heads) + static_cast<std::size_t>(head);
    return (lane * static_cast<std::size_t>(shape.capacity) + static_cast<std::size_t>(position)) * row_bytes();
  }
  static std::size_t bytes(const KvShape& s) noexcept {  // of keys, and again of values
    return round_up(static_cast<std::size_t>(s.layers) * static_cast<std::size_t>(s.kv_heads) * static_cast<std::size_t>(s.capacity) *
                        kv_row_bytes(s.type, s.head_dim), cache_line);
  }
  /// Calls fn(pointer, bytes) for the first `length` positions of every layer and head, keys then values.
  template <class Fn>
  void for_each_lane(int length, Fn&& fn) const {
    const std::size_t n = static_cast<std::size_t>(length) * row_bytes();
    for (std::byte* base : {keys, values})
      for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head) fn(base + offset(layer, head, 0), n);
  }
};

/// Threads of a host backend: the caller's, or a pool of its own.
struct HostOptions {
  Executor executor = {};  ///< lent by the caller; must outlive the backend
  int threads = 0;         ///< without an executor: how many, 0 = one per processor
};

class HostThreads {
 public:
  static expected<HostThreads> open(const HostOptions& options) {
    HostThreads threads;
    threads.executor_ = options.executor;
    if (options.executor.run == nullptr) {
      TMODEL_TRY(threads.pool_, ThreadPool::create(options.threads == 0 ? os::processor_count() : options.threads));
      threads.executor_ = threads.pool_->executor();
    }
    return threads;
  }
  const Executor& executor() const noexcept { return executor_; }

 private:
  std::unique_ptr<ThreadPool> pool_;
  Executor executor_;
};

/// Hands out pieces of one buffer, or counts what it would hand out. The same calls in the same order make the plan
/// and then the memory, so that the plan is exact. T is the type of activations.
template <class T>
class HostArena {
 public:
  static HostArena counting() { return {}; }

  template <class B>
  static expected<HostArena> allocating(const B&, const MemoryUse& counted) {
    HostArena arena;
    TMODEL_TRY(arena.buffer_, Buffer::allocate(counted.total() - counted[Purpose::weights_mapped]));
    arena.real_ = true;
    return arena;
  }

  HostRows<T> rows(int n, int columns) { return {scratch<T>(static_cast<std::size_t>(n) * static_cast<std::size_t>(columns)), n, columns}; }

  /// Uninitialised (zeroed) elements of the workspace.
  template <class U>
  U* scratch(std::size_t count) { return reinterpret_cast<U*>(take(count * sizeof(U), Purpose::workspace)); }

  HostVec vec(int n, FunctionRef<void(std::span<f32>)> fill) {
    auto* data = reinterpret_cast<f32*>(take(static_cast<std::size_t>(n) * sizeof(f32), Purpose::weights_copied));
    if (data != nullptr) fill({data, static_cast<std::size_t>(n)});
    return {data, n};
  }

  /// `bytes` is what the file holds, of the size that rows and columns say.
  template <class Q>
  HostMatrix<Q> matrix(std::span<const std::byte> bytes, int rows, int columns) {
    using Block = typename Q::Block;
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(Block) == 0) {
      use_[Purpose::weights_mapped] += bytes.size();
      return {reinterpret_cast<const Block*>(bytes.data()), rows, columns};
    }
    std::byte* copy = take(bytes.size(), Purpose::weights_copied);
    if (copy != nullptr) std::memcpy(copy, bytes.data(), bytes.size());
    return {reinterpret_cast<const Block*>(copy), rows, columns};
  }

  /// A matrix in another format than the file's; fill(row, blocks) writes one row.
  template <class Q>
  HostMatrix<Q> converted(int rows, int columns, FunctionRef<void(int, typename Q::Block*)> fill) {
    using Block = typename Q::Block;
    const std::size_t row_blocks = static_cast<std::size_t>(columns) / Q::block_len;
    auto* blocks = reinterpret_cast<Block*>(take(static_cast<std::size_t>(rows) * row_blocks * sizeof(Block), Purpose::weights_copied));
    for (int r = 0; blocks != nullptr && r < rows; ++r) fill(r, blocks + static_cast<std::size_t>(r) * row_blocks);
    return {blocks, rows, columns};
  }

  HostKv kv(const KvShape& shape) {
    std::byte* keys = take(HostKv::bytes(shape), Purpose::kv_cache);
    std::byte* values = take(HostKv::bytes(shape), Purpose::kv_cache);
    return {keys, values, shape};
  }

  const MemoryUse& use() const noexcept { return use_; }
  expected<void> finish() { return {}; }

 private:
  std::byte* take(std::size_t bytes, Purpose purpose) {
    const std::size_t n = round_up(bytes, cache_line);
    use_[purpose] += n;
    if (!real_) return nullptr;
    std::byte* piece = buffer_.data() + taken_;
    taken_ += n;
    return piece;
  }

  Buffer buffer_;
  std::size_t taken_ = 0;
  bool real_ = false;
  MemoryUse use_;
};

/// First `length` positions of one cache into another of the same shape but for its capacity.
inline expected<void> host_kv_copy(const HostKv& from, const HostKv& to, int length) {
  const std::size_t n = static_cast<std::size_t>(length) * from.row_bytes();
  for (int layer = 0; layer < from.shape.layers; ++layer)
    for (int head = 0; head < from.shape.kv_heads; ++head) {
      std::memcpy(to.keys + to.offset(layer, head, 0), from.keys + from.offset(layer, head, 0), n);
      std::memcpy(to.values + to.offset(layer, head, 0), from.values + from.offset(layer, head, 0), n);
    }
  return {};
}

/// The first `length` positions as bytes, kv_state_bytes(shape, length) of them, and back.
inline expected<void> host_kv_save(const HostKv& kv, int length, std::span<std::byte> out) {
  std::byte* at = out.data();
  kv.for_each_lane(length, [&](std::byte* lane, std::size_t n) { std::memcpy(at, lane, n), at += n; });
  return {};
}
inline expected<void> host_kv_load(const HostKv& kv, int length, std::span<const std::byte> in) {
  const std::byte* at = in.data();
  kv.for_each_lane(length, [&](std::byte* lane, std::size_t n) { std::memcpy(lane, at, n), at += n; });
  return {};
}

}  // namespace tmodel::inline v0
