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

/// A weight [rows, columns] of each expert.
template <class Q>
struct HostExperts {
  const typename Q::Block* const* data = nullptr;  ///< [experts]
  int rows = 0;
  int columns = 0;
  HostMatrix<Q> operator[](int expert) const noexcept { return {data[expert], rows, columns}; }
};

/// Which experts the rows of a step go to. A slot is one row for one expert; slots stand in the order of experts.
struct HostRoutes {
  int experts = 0;
  int used = 0;           ///< experts of a row
  int* first = nullptr;   ///< [experts + 1], first slot of each expert
  int* row = nullptr;     ///< [slots], the row of a slot
  int* slot = nullptr;    ///< [rows, used], the slots of a row, the likeliest expert first
  f32* weight = nullptr;  ///< [rows, used]
};

/// One layer's and head's part of a cache.
struct HostLane {
  std::byte* vectors = nullptr;
  int capacity = 0;
  std::size_t row_bytes = 0;
  std::byte* at(pos_t position) const noexcept {
    const pos_t slot =
        position < capacity ? position : position % capacity;  // divisions would cost more than the reading
    return vectors + static_cast<std::size_t>(slot) * row_bytes;
  }
};

/// Keys and values, as KvShape lays them out.
struct HostKv {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  KvShape shape;

  HostLane lane(std::byte* base, bool windowed, int cache, int head) const noexcept {
    const KvLane lane = kv_lane(shape, windowed, cache, head);
    return {base + lane.first * shape.row_bytes(), lane.capacity, shape.row_bytes()};
  }
  HostLane lane(std::byte* base, const AttentionShape& a, int head) const noexcept {
    return lane(base, a.window > 0, a.cache, head);
  }
  static std::size_t bytes(const KvShape& s) noexcept { return round_up(s.vectors() * s.row_bytes(), cache_line); }

  /// Calls fn(pointer, bytes) for what a state of `length` tokens holds, in pieces: keys, then values, of every lane.
  template <class Fn>
  void for_each_piece(int length, Fn&& fn) const {
    const auto piece = [&](const HostLane& lane, int begin, int end) {  // a ring's end may stand before its beginning
      const int wrap = std::min(end, (begin / lane.capacity + 1) * lane.capacity);
      if (begin < wrap) fn(lane.at(begin), static_cast<std::size_t>(wrap - begin) * lane.row_bytes);
      if (wrap < end) fn(lane.at(wrap), static_cast<std::size_t>(end - wrap) * lane.row_bytes);
    };
    for (std::byte* base : {keys, values}) {
      for (int layer = 0; layer < shape.layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head) piece(lane(base, false, layer, head), 0, length);
      for (int layer = 0; layer < shape.windowed_layers; ++layer)
        for (int head = 0; head < shape.kv_heads; ++head)
          piece(lane(base, true, layer, head), shape.window_begin(length), length);
    }
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

  /// A weight of each expert, where the file has it.
  template <class Q>
  HostExperts<Q> experts(std::span<const std::span<const std::byte>> parts, int rows, int columns) {
    using Block = typename Q::Block;
    auto* table = reinterpret_cast<const Block**>(take(parts.size() * sizeof(Block*), Purpose::weights_copied));
    for (std::size_t e = 0; e < parts.size(); ++e) {
      const HostMatrix<Q> m = matrix<Q>(parts[e], rows, columns);
      if (table != nullptr) table[e] = m.data;
    }
    return {table, rows, columns};
  }
  /// The same from one matrix that holds the experts below each other.
  template <class Q>
  HostExperts<Q> experts(const HostMatrix<Q>& all, int count) {
    using Block = typename Q::Block;
    auto* table = reinterpret_cast<const Block**>(
        take(static_cast<std::size_t>(count) * sizeof(Block*), Purpose::weights_copied));
    const int rows = all.rows / count;
    for (int e = 0; table != nullptr && e < count; ++e) table[e] = all.row(e * rows);
    return {table, rows, all.columns};
  }

  HostRoutes routes(int rows, int experts, int used) {
    const std::size_t slots = static_cast<std::size_t>(rows) * static_cast<std::size_t>(used);
    HostRoutes r{.experts = experts, .used = used};
    r.first = scratch<int>(static_cast<std::size_t>(experts) + 1);
    r.row = scratch<int>(slots);
    r.slot = scratch<int>(slots);
    r.weight = scratch<f32>(slots);
    return r;
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

/// Fills first, row and slot of the routes from the experts that `slot` holds: [rows, used], an expert's number each.
inline void sort_by_expert(const HostRoutes& r, int rows) noexcept {
  const int slots = rows * r.used;
  std::fill_n(r.first, r.experts + 1, 0);
  for (int i = 0; i < slots; ++i) ++r.first[r.slot[i] + 1];
  for (int e = 0; e < r.experts; ++e) r.first[e + 1] += r.first[e];
  for (int i = 0; i < slots; ++i) {  // in the order of rows, so that an expert's rows do not depend on its neighbours'
    const int at = r.first[r.slot[i]]++;
    r.row[at] = i / r.used;
    r.slot[i] = at;
  }
  for (int e = r.experts; e > 0; --e) r.first[e] = r.first[e - 1];
  r.first[0] = 0;
}

/// The `used` largest of scores [experts], the first of equal ones; their numbers go to `out`, in falling order.
template <class T>
void best_experts(const T* scores, int experts, int used, int* out) noexcept {
  for (int rank = 0; rank < used; ++rank) {
    int best = -1;
    for (int e = 0; e < experts; ++e) {
      const bool taken = std::find(out, out + rank, e) != out + rank;
      if (!taken && (best < 0 || scores[e] > scores[best])) best = e;
    }
    out[rank] = best;
  }
}

/// One cache into another of the same shape.
inline expected<void> host_kv_copy(const HostKv& from, const HostKv& to, int length) {
  const KvShape& s = from.shape;
  const auto copy = [&](bool windowed, int layers, int positions) {
    for (int layer = 0; layer < layers; ++layer)
      for (int head = 0; head < s.kv_heads; ++head)
        for (const auto base : {&HostKv::keys, &HostKv::values})
          std::memcpy(to.lane(to.*base, windowed, layer, head).vectors,
                      from.lane(from.*base, windowed, layer, head).vectors,
                      static_cast<std::size_t>(positions) * s.row_bytes());
  };
  copy(false, s.layers, length);
  copy(true, s.windowed_layers, std::min(length, s.ring));
  return {};
}

/// What a state of `length` tokens holds as bytes, kv_state_bytes(shape, length) of them, and back.
inline expected<void> host_kv_save(const HostKv& kv, int length, std::span<std::byte> out) {
  std::byte* at = out.data();
  kv.for_each_piece(length, [&](std::byte* piece, std::size_t n) { std::memcpy(at, piece, n), at += n; });
  return {};
}
inline expected<void> host_kv_load(const HostKv& kv, int length, std::span<const std::byte> in) {
  const std::byte* at = in.data();
  kv.for_each_piece(length, [&](std::byte* piece, std::size_t n) { std::memcpy(piece, at, n), at += n; });
  return {};
}

}  // namespace tmodel::inline v0
