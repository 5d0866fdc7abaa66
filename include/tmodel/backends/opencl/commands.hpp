#pragma once
// Commands of one queue: launches, uploads and waits. The first failing call sticks; later ones do nothing.
// Source: Khronos OpenCL 1.2 specification.

#include <array>
#include <atomic>

#include "tmodel/backends/opencl/device.hpp"

namespace tmodel::inline v0::opencl {

/// A kernel argument: bytes of local memory.
struct Local {
  std::size_t bytes = 0;
};

/// Work-groups of a launch: in the first dimension of group_size items each, in the others of one.
struct Groups {
  std::size_t x = 1, y = 1, z = 1;
};

class Commands {
 public:
  /// Without a queue every command fails.
  Commands() = default;
  /// `items` of a work-group, and how many bytes of Local arguments a launch may have.
  Commands(Owned<cl_command_queue> queue, std::size_t items, std::size_t local_bytes) noexcept
      : queue_(std::move(queue)), items_(items), local_bytes_(local_bytes) {}

  bool failed() const noexcept { return status_ != CL_SUCCESS; }

  /// The kernel's arguments in order; `what` names the operation in the error and must be a literal.
  template <class... Args>
  void launch(const char* what, cl_kernel kernel, Groups groups, const Args&... args) {
    if (failed() || groups.x * groups.y * groups.z == 0) return;
    cl_uint index = 0;
    cl_int status = CL_SUCCESS;
    if ((std::size_t{0} + ... + local_of(args)) > local_bytes_) status = CL_OUT_OF_RESOURCES;  // some drivers abort
    ((status = status == CL_SUCCESS ? set(kernel, index++, args) : status), ...);
    const std::size_t global[3] = {groups.x * items_, groups.y, groups.z};
    const std::size_t local[3] = {items_, 1, 1};
    if (status == CL_SUCCESS)
      status = clEnqueueNDRangeKernel(queue_.get(), kernel, 3, nullptr, global, local, 0, nullptr, nullptr);
    note(status, what);
  }

  /// Does not wait: the bytes must live until finish().
  void upload(const char* what, cl_mem to, std::size_t at, std::size_t bytes, const void* from) {
    if (failed() || bytes == 0) return;
    note(to == nullptr ? CL_INVALID_MEM_OBJECT
                       : clEnqueueWriteBuffer(queue_.get(), to, CL_FALSE, at, bytes, from, 0, nullptr, nullptr),
         what);
  }

  /// Any other call; fn(queue) gives its status.
  template <class Fn>
  void call(const char* what, Fn&& fn) {
    if (!failed()) note(fn(queue_.get()), what);
  }

  /// Starts what was enqueued and waits until the layer before the last is done, so that a cancelled step ends within
  /// about a layer's time. False: cancelled (then nothing is in flight any more) or failed.
  bool end_layer(const std::atomic<bool>* cancel) {
    call("end of a layer", [&](cl_command_queue queue) {
      Owned<cl_event>& marker = markers_[layer_++ % markers_.size()];
      if (const cl_event two_layers_ago = marker.get(); two_layers_ago != nullptr)
        if (const cl_int status = clWaitForEvents(1, &two_layers_ago); status != CL_SUCCESS) return status;
      cl_event now = nullptr;
      const cl_int status = clEnqueueMarkerWithWaitList(queue, 0, nullptr, &now);
      marker.reset();
      marker = Owned<cl_event>(now);
      return status != CL_SUCCESS ? status : clFlush(queue);
    });
    if (failed()) return false;
    if (cancel == nullptr || !cancel->load(std::memory_order_relaxed)) return true;
    wait();
    return false;
  }

  /// Waits for everything, whether or not something failed.
  void wait() {
    if (queue_.get() != nullptr) note(clFinish(queue_.get()), "waiting for the OpenCL device");
    for (Owned<cl_event>& marker : markers_) marker.reset();
    layer_ = 0;
  }

  /// Waits, and gives the first failure since the last finish(). Errors: device, out_of_memory.
  expected<void> finish() {
    wait();
    if (!failed()) return {};
    Error error = failure(std::exchange(status_, CL_SUCCESS), what_, "opencl");
    return unexpected(std::move(error));
  }

 private:
  template <class Arg>
  static std::size_t local_of(const Arg& arg) noexcept {
    if constexpr (std::is_same_v<Arg, Local>)
      return arg.bytes;
    else
      return 0;
  }
  template <class Arg>
  static cl_int set(cl_kernel kernel, cl_uint index, const Arg& arg) {
    if constexpr (std::is_same_v<Arg, Local>) {
      return clSetKernelArg(kernel, index, arg.bytes, nullptr);
    } else {
      static_assert(std::is_same_v<Arg, cl_mem> || std::is_same_v<Arg, cl_int> || std::is_same_v<Arg, cl_float> ||
                    std::is_same_v<Arg, cl_ulong>);
      if constexpr (std::is_same_v<Arg, cl_mem>)
        if (arg == nullptr) return CL_INVALID_MEM_OBJECT;  // OpenCL would hand a null pointer to the kernel
      return clSetKernelArg(kernel, index, sizeof arg, &arg);
    }
  }
  void note(cl_int status, const char* what) noexcept {
    if (status == CL_SUCCESS || failed()) return;
    status_ = status;
    what_ = what;
  }

  Owned<cl_command_queue> queue_;
  std::size_t items_ = 0;
  std::size_t local_bytes_ = 0;
  std::array<Owned<cl_event>, 2> markers_;
  std::size_t layer_ = 0;
  cl_int status_ = CL_SUCCESS;
  const char* what_ = "";
};

}  // namespace tmodel::inline v0::opencl
