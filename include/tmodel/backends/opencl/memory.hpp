#pragma once
// Device memory of the OpenCL backend: handles that own nothing, and the arena that counts and then owns the buffers.
// One buffer per handle: drivers limit the size of a buffer, not the number.

#include <algorithm>
#include <optional>

#include "tmodel/backends/opencl/device.hpp"
#include "tmodel/core/format.hpp"
#include "tmodel/core/function_ref.hpp"
#include "tmodel/core/memory.hpp"
#include "tmodel/core/memory_use.hpp"
#include "tmodel/core/step.hpp"

namespace tmodel::inline v0::opencl {

/// Rows [n, columns] of f32, contiguous.
struct Rows {
  cl_mem buffer = nullptr;
  int n = 0;
  int columns = 0;
  Rows first(int rows) const noexcept { return {buffer, rows, columns}; }
};

/// A vector of f32.
struct Vec {
  cl_mem buffer = nullptr;
  int size = 0;
  bool empty() const noexcept { return size == 0; }
};

/// A weight [rows, columns] in the bytes of its file.
template <class Q>
struct Matrix {
  cl_mem buffer = nullptr;
  int rows = 0;
  int columns = 0;
};

/// A weight [rows, columns] of each expert, below each other.
template <class Q>
struct Experts {
  cl_mem buffer = nullptr;
  int rows = 0;
  int columns = 0;
};

/// Which experts the rows of a step go to. A slot is one row for one expert; slots stand in the order of experts.
struct Routes {
  int experts = 0;
  int used = 0;
  cl_mem slot = nullptr;    ///< [rows, used], the slots of a row, the likeliest expert first
  cl_mem weight = nullptr;  ///< [rows, used]
  cl_mem expert = nullptr;  ///< [slots]
  cl_mem row = nullptr;     ///< [slots]
  cl_mem first = nullptr;   ///< [experts]
};

/// Keys and values of one session, as KvShape lays them out.
struct Kv {
  cl_mem keys = nullptr;
  cl_mem values = nullptr;
  KvShape shape;
  std::size_t bytes() const noexcept { return shape.vectors() * shape.row_bytes(); }
};

/// Hands out device buffers, or counts what it would hand out: the same calls make the plan and then the memory.
/// The first failure is kept for finish(); handles given after it are null, which every operation refuses. Buffers are
/// filled by a queue of the arena's own: no operation may use them before finish().
class Arena {
 public:
  /// Counts; needs no device.
  static Arena counting() { return {}; }

  /// Errors: device (more than the device has), out_of_memory.
  template <class B>
  static expected<Arena> allocating(const B& backend, const MemoryUse& counted) {
    const Device& device = backend.device();
    if (counted.total() > device.info.memory)
      return fail(Errc::device, "not enough memory on the OpenCL device", device.info.name,
                  std::to_string(counted.total()) + " bytes", std::to_string(device.info.memory) + " bytes",
                  "a smaller model, a shorter context or a smaller cache type needs less");
    Arena arena;
    TMODEL_TRY(arena.queue_, device.make_queue());
    clRetainContext(device.context.get());
    arena.context_ = Owned<cl_context>(device.context.get());
    arena.largest_ = device.largest_buffer;
    arena.device_name_ = device.info.name;
    return arena;
  }

  Rows rows(int n, int columns) { return {floats(n, columns), n, columns}; }

  /// A zeroed buffer of the workspace.
  cl_mem scratch(std::size_t bytes) { return zeroed(bytes, Purpose::workspace); }

  /// Zeroed host memory that non-blocking uploads read from; nullptr while counting or after a failure.
  std::byte* staging(std::size_t bytes) {
    use_[Purpose::workspace] += padded(bytes);
    if (!real()) return nullptr;
    auto buffer = Buffer::allocate(padded(bytes));
    if (!buffer) return note(std::move(buffer).error()), nullptr;
    host_.push_back(std::move(*buffer));
    return host_.back().data();
  }

  Vec vec(int n, FunctionRef<void(std::span<f32>)> fill) {
    const std::size_t bytes = size(n, sizeof(f32));
    const cl_mem buffer = make(bytes, Purpose::weights_copied);
    if (buffer == nullptr) return {nullptr, n};
    auto values = Buffer::allocate(padded(bytes));
    if (!values) return note(std::move(values).error()), Vec{nullptr, n};
    fill({reinterpret_cast<f32*>(values->data()), static_cast<std::size_t>(n)});
    upload(buffer, 0, values->bytes());
    return {buffer, n};
  }

  /// `bytes` is what the file holds, of the size that rows and columns say; they are copied to the device.
  template <class Q>
  Matrix<Q> matrix(std::span<const std::byte> bytes, int rows, int columns) {
    const cl_mem buffer = make(bytes.size(), Purpose::weights_copied);
    if (buffer == nullptr) return {nullptr, rows, columns};
    upload(buffer, 0, bytes);
    clear(buffer, bytes.size(), padded(bytes.size()));
    return {buffer, rows, columns};
  }

  /// A matrix in another format than the file's; fill(row, blocks) writes one row.
  template <class Q>
  Matrix<Q> converted(int rows, int columns, FunctionRef<void(int, typename Q::Block*)> fill) {
    const std::size_t row_bytes = size(columns, 1) / Q::block_len * sizeof(typename Q::Block);
    const std::size_t bytes = row_bytes * static_cast<std::size_t>(rows);
    const cl_mem buffer = make(bytes, Purpose::weights_copied);
    if (buffer == nullptr) return {nullptr, rows, columns};
    constexpr std::size_t upload_bytes = std::size_t{1} << 20;  // large enough that the calls do not count
    const int group = static_cast<int>(std::clamp<std::size_t>(upload_bytes / std::max<std::size_t>(row_bytes, 1), 1,
                                                               static_cast<std::size_t>(std::max(rows, 1))));
    auto part = Buffer::allocate(row_bytes * static_cast<std::size_t>(group));
    if (!part) return note(std::move(part).error()), Matrix<Q>{nullptr, rows, columns};
    for (int first = 0; first < rows; first += group) {
      const int n = std::min(group, rows - first);
      for (int r = 0; r < n; ++r)
        fill(first + r, reinterpret_cast<typename Q::Block*>(part->data() + static_cast<std::size_t>(r) * row_bytes));
      upload(buffer, static_cast<std::size_t>(first) * row_bytes,
             part->bytes().first(static_cast<std::size_t>(n) * row_bytes));
    }
    clear(buffer, bytes, padded(bytes));
    return {buffer, rows, columns};
  }

  /// A weight of each expert, wherever in the file; all are copied into one buffer.
  template <class Q>
  Experts<Q> experts(std::span<const std::span<const std::byte>> parts, int rows, int columns) {
    const std::size_t each = parts.empty() ? 0 : parts.front().size(), bytes = each * parts.size();
    const cl_mem buffer = make(bytes, Purpose::weights_copied);
    if (buffer == nullptr) return {nullptr, rows, columns};
    for (std::size_t e = 0; e < parts.size(); ++e) upload(buffer, e * each, parts[e]);
    clear(buffer, bytes, padded(bytes));
    return {buffer, rows, columns};
  }
  template <class Q>
  Experts<Q> experts(const Matrix<Q>& all, int count) {
    return {all.buffer, all.rows / count, all.columns};
  }

  Routes routes(int rows, int experts, int used) {
    const auto ints = [&](int n) { return scratch(size(n, sizeof(cl_int))); };
    const int slots = rows * used;
    return {experts, used, ints(slots), ints(slots), ints(slots), ints(slots), ints(experts)};
  }

  Kv kv(const KvShape& shape) {
    Kv kv{nullptr, nullptr, shape};
    kv.keys = zeroed(kv.bytes(), Purpose::kv_cache);
    kv.values = zeroed(kv.bytes(), Purpose::kv_cache);
    return kv;
  }

  const MemoryUse& use() const noexcept { return use_; }

  /// Waits until every buffer is filled: a device may allocate on first use, and must fail here, not in a step.
  /// Errors: the first of the calls above (device, out_of_memory).
  expected<void> finish() {
    if (real())
      if (const cl_int status = clFinish(queue_.get()); status != CL_SUCCESS)
        note(failure(status, "cannot fill device memory", device_name_));
    queue_.reset();
    if (error_) return unexpected(std::move(*error_));
    return {};
  }

 private:
  bool real() const noexcept { return queue_.get() != nullptr; }
  void note(Error error) {
    if (!error_) error_ = std::move(error);
  }
  static std::size_t size(int n, std::size_t each) noexcept { return static_cast<std::size_t>(n) * each; }
  /// Buffers of no bytes are not allowed; whole cache lines let a kernel read a few bytes past the end.
  static std::size_t padded(std::size_t bytes) noexcept {
    return round_up(std::max<std::size_t>(bytes, 1), cache_line);
  }

  cl_mem floats(int n, int columns) {
    return zeroed(static_cast<std::size_t>(n) * size(columns, sizeof(f32)), Purpose::workspace);
  }
  cl_mem zeroed(std::size_t bytes, Purpose purpose) {
    const cl_mem buffer = make(bytes, purpose);
    if (buffer != nullptr) clear(buffer, 0, padded(bytes));
    return buffer;
  }

  /// A buffer of padded(bytes); nullptr while counting and after a failure.
  cl_mem make(std::size_t bytes, Purpose purpose) {
    const std::size_t n = padded(bytes);
    use_[purpose] += n;
    if (!real() || error_) return nullptr;
    if (n > largest_) {
      note(Error{Errc::device, "buffer is larger than the OpenCL device allows", device_name_,
                 "at most " + std::to_string(largest_) + " bytes", std::to_string(n) + " bytes",
                 purpose == Purpose::kv_cache ? "a shorter context or a smaller cache type needs less" : ""});
      return nullptr;
    }
    cl_int status = CL_SUCCESS;
    Owned<cl_mem> buffer(clCreateBuffer(context_.get(), CL_MEM_READ_WRITE, n, nullptr, &status));
    if (status != CL_SUCCESS) {
      note(failure(status, "cannot allocate device memory", device_name_));
      return nullptr;
    }
    buffers_.push_back(std::move(buffer));
    return buffers_.back().get();
  }
  void upload(cl_mem buffer, std::size_t at, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const cl_int status =
        clEnqueueWriteBuffer(queue_.get(), buffer, CL_TRUE, at, bytes.size(), bytes.data(), 0, nullptr, nullptr);
    if (status != CL_SUCCESS) note(failure(status, "cannot fill device memory", device_name_));
  }
  void clear(cl_mem buffer, std::size_t begin, std::size_t end) {
    if (begin == end) return;
    constexpr cl_uchar zeros[16] = {};
    const std::size_t pattern = begin % sizeof zeros == 0 ? sizeof zeros : 1;  // begin and end must be multiples of it
    const cl_int status =
        clEnqueueFillBuffer(queue_.get(), buffer, zeros, pattern, begin, end - begin, 0, nullptr, nullptr);
    if (status != CL_SUCCESS) note(failure(status, "cannot fill device memory", device_name_));
  }

  MemoryUse use_;
  Owned<cl_context> context_;
  std::vector<Buffer> host_;
  std::vector<Owned<cl_mem>> buffers_;
  Owned<cl_command_queue> queue_;  // declared last of these: its end waits for the uploads
  std::size_t largest_ = 0;
  std::string device_name_;
  std::optional<Error> error_;
};

}  // namespace tmodel::inline v0::opencl
