#pragma once
// OpenCL devices: which there are, opening one, building a program for it; owners of OpenCL objects; errors as values.
// Source: Khronos OpenCL 1.2 specification. The C API: the C++ bindings' configuration macros would leak into programs.

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tmodel/core/error.hpp"

namespace tmodel::inline v0::opencl {

namespace detail {
inline void release(cl_context x) noexcept { clReleaseContext(x); }
inline void release(cl_program x) noexcept { clReleaseProgram(x); }
inline void release(cl_kernel x) noexcept { clReleaseKernel(x); }
inline void release(cl_mem x) noexcept { clReleaseMemObject(x); }
inline void release(cl_event x) noexcept { clReleaseEvent(x); }
/// Waits: work in flight still reads host memory that dies right after its queue.
inline void release(cl_command_queue x) noexcept {
  clFinish(x);
  clReleaseCommandQueue(x);
}
}  // namespace detail

/// Owner of one reference to an OpenCL object.
template <class Object>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Object object) noexcept : object_(object) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { reset(); }

  Object get() const noexcept { return object_; }
  void reset() noexcept {
    if (object_ != nullptr) detail::release(std::exchange(object_, nullptr));
  }

 private:
  Object object_ = nullptr;
};

/// The specification's name of a status code, or its number.
inline std::string status_name(cl_int status) {
  switch (status) {
    case CL_SUCCESS:
      return "CL_SUCCESS";
    case CL_DEVICE_NOT_AVAILABLE:
      return "CL_DEVICE_NOT_AVAILABLE";
    case CL_COMPILER_NOT_AVAILABLE:
      return "CL_COMPILER_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
      return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case CL_OUT_OF_RESOURCES:
      return "CL_OUT_OF_RESOURCES";
    case CL_OUT_OF_HOST_MEMORY:
      return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE:
      return "CL_BUILD_PROGRAM_FAILURE";
    case CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST:
      return "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST";
    case CL_INVALID_VALUE:
      return "CL_INVALID_VALUE";
    case CL_INVALID_MEM_OBJECT:
      return "CL_INVALID_MEM_OBJECT";
    case CL_INVALID_BUILD_OPTIONS:
      return "CL_INVALID_BUILD_OPTIONS";
    case CL_INVALID_KERNEL_NAME:
      return "CL_INVALID_KERNEL_NAME";
    case CL_INVALID_ARG_SIZE:
      return "CL_INVALID_ARG_SIZE";
    case CL_INVALID_KERNEL_ARGS:
      return "CL_INVALID_KERNEL_ARGS";
    case CL_INVALID_WORK_GROUP_SIZE:
      return "CL_INVALID_WORK_GROUP_SIZE";
    case CL_INVALID_BUFFER_SIZE:
      return "CL_INVALID_BUFFER_SIZE";
    default:
      return "OpenCL status " + std::to_string(status);
  }
}

/// The error of a call that returned `status`.
inline Error failure(cl_int status, std::string_view what, std::string_view where = {}) {
  if (status == CL_OUT_OF_HOST_MEMORY) return Error{Errc::out_of_memory, {}, {}, {}, {}, {}};
  const bool memory = status == CL_MEM_OBJECT_ALLOCATION_FAILURE || status == CL_OUT_OF_RESOURCES;
  return Error{Errc::device, std::string(what),   std::string(where),
               {},           status_name(status), memory ? "the device may be out of memory" : ""};
}

/// A device as list_devices() numbers it.
struct DeviceInfo {
  int index = 0;           ///< what Options::device takes
  std::string name;        ///< as the driver says it
  std::string platform;    ///< the driver
  std::size_t memory = 0;  ///< bytes
  std::string type;        ///< "CPU", "GPU", "accelerator" or "other"
};

namespace detail {

template <class T>
T device_value(cl_device_id device, cl_device_info key) noexcept {
  T value{};
  return clGetDeviceInfo(device, key, sizeof value, &value, nullptr) == CL_SUCCESS ? value : T{};
}

/// Text that is asked for in two calls, its size and then itself; empty if the driver refuses.
template <class Query>
std::string text_of(Query&& query) {
  std::size_t size = 0;
  if (query(std::size_t{0}, nullptr, &size) != CL_SUCCESS || size == 0) return {};
  std::string text(size, '\0');
  if (query(size, text.data(), nullptr) != CL_SUCCESS) return {};
  text.resize(text.find_last_not_of(std::string_view("\0 \n", 3)) + 1);
  return text;
}

inline std::string device_text(cl_device_id device, cl_device_info key) {
  return text_of([&](std::size_t n, char* out, std::size_t* got) { return clGetDeviceInfo(device, key, n, out, got); });
}

struct Found {
  cl_device_id id = nullptr;
  DeviceInfo info;
};

inline expected<std::vector<Found>> find_devices() {
  std::vector<Found> found;
  cl_uint count = 0;
  // The loader without any driver gives an error of its own extension; it means the same as none.
  if (clGetPlatformIDs(0, nullptr, &count) != CL_SUCCESS || count == 0) return found;
  std::vector<cl_platform_id> platforms(count);
  if (const cl_int status = clGetPlatformIDs(count, platforms.data(), nullptr); status != CL_SUCCESS)
    return unexpected(failure(status, "cannot list the OpenCL platforms"));
  for (const cl_platform_id platform : platforms) {
    const std::string platform_name = text_of([&](std::size_t n, char* out, std::size_t* got) {
      return clGetPlatformInfo(platform, CL_PLATFORM_NAME, n, out, got);
    });
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &count) != CL_SUCCESS || count == 0) continue;
    std::vector<cl_device_id> ids(count);
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids.data(), nullptr) != CL_SUCCESS) continue;
    for (const cl_device_id id : ids) {
      const auto type = device_value<cl_device_type>(id, CL_DEVICE_TYPE);
      found.push_back({id,
                       {static_cast<int>(found.size()), device_text(id, CL_DEVICE_NAME), platform_name,
                        static_cast<std::size_t>(device_value<cl_ulong>(id, CL_DEVICE_GLOBAL_MEM_SIZE)),
                        (type & CL_DEVICE_TYPE_CPU) != 0           ? "CPU"
                        : (type & CL_DEVICE_TYPE_GPU) != 0         ? "GPU"
                        : (type & CL_DEVICE_TYPE_ACCELERATOR) != 0 ? "accelerator"
                                                                   : "other"}});
    }
  }
  return found;
}

}  // namespace detail

/// Every device of every installed driver; empty if there is none. Errors: device, out_of_memory.
inline expected<std::vector<DeviceInfo>> list_devices() {
  return guard([]() -> expected<std::vector<DeviceInfo>> {
    TMODEL_TRY(const std::vector<detail::Found> found, detail::find_devices());
    std::vector<DeviceInfo> infos;
    for (const detail::Found& device : found) infos.push_back(device.info);
    return infos;
  });
}

/// Compiles and links source texts, which the driver sees as one. The error of a failing build holds the whole log in
/// `got`. Errors: device, out_of_memory.
inline expected<Owned<cl_program>> build(cl_context context, cl_device_id device, std::span<const char* const> sources,
                                         const std::string& options) {
  cl_int status = CL_SUCCESS;
  Owned<cl_program> program(clCreateProgramWithSource(context, static_cast<cl_uint>(sources.size()),
                                                      const_cast<const char**>(sources.data()), nullptr, &status));
  if (status != CL_SUCCESS) return unexpected(failure(status, "cannot create the OpenCL program"));
  status = clBuildProgram(program.get(), 1, &device, options.c_str(), nullptr, nullptr);
  if (status == CL_SUCCESS) return program;
  Error error = failure(status, "cannot build the OpenCL program", detail::device_text(device, CL_DEVICE_NAME));
  if (std::string log = detail::text_of([&](std::size_t n, char* out, std::size_t* got) {
        return clGetProgramBuildInfo(program.get(), device, CL_PROGRAM_BUILD_LOG, n, out, got);
      });
      !log.empty() && error.code == Errc::device)
    error.got += ": " + log;
  return unexpected(std::move(error));
}

/// An opened device: immutable, shared between threads.
struct Device {
  cl_device_id id = nullptr;
  DeviceInfo info;
  Owned<cl_context> context;
  std::size_t largest_buffer = 0;  ///< bytes
  std::size_t local_memory = 0;    ///< bytes of a work-group
  std::string build_options;       ///< what every program of the library is built with

  /// Errors: device (no such number, none there, or not usable), unsupported (what it lacks),
  /// out_of_memory.
  static expected<Device> open(int index) {
    TMODEL_TRY(std::vector<detail::Found> found, detail::find_devices());
    if (found.empty())
      return fail(Errc::device, "no OpenCL device", {}, {}, {},
                  "install a driver, such as pocl-opencl-icd for the CPU");
    if (index < 0 || static_cast<std::size_t>(index) >= found.size())
      return fail(Errc::device, "number of the OpenCL device", {}, "0 to " + std::to_string(found.size() - 1),
                  std::to_string(index));
    Device d;
    d.id = found[static_cast<std::size_t>(index)].id;
    d.info = std::move(found[static_cast<std::size_t>(index)].info);
    TMODEL_CHECK(d.check());
    cl_int status = CL_SUCCESS;
    d.context = Owned<cl_context>(clCreateContext(nullptr, 1, &d.id, nullptr, nullptr, &status));
    if (status != CL_SUCCESS) return unexpected(failure(status, "cannot open the OpenCL device", d.info.name));
    return d;
  }

  /// A new in-order queue. Errors: device, out_of_memory.
  expected<Owned<cl_command_queue>> make_queue() const {
    cl_int status = CL_SUCCESS;
    Owned<cl_command_queue> queue(clCreateCommandQueue(context.get(), id, 0, &status));
    if (status != CL_SUCCESS) return unexpected(failure(status, "cannot create an OpenCL queue", info.name));
    return queue;
  }

 private:
  static constexpr std::size_t smallest_group = 64;  // work-items of a group in every program of the library

  expected<void> check() {
    const auto lacks = [&](const char* what) { return fail(Errc::unsupported, what, info.name); };
    if (detail::device_value<cl_bool>(id, CL_DEVICE_AVAILABLE) == CL_FALSE)
      return fail(Errc::device, "OpenCL device is not available", info.name);
    if (detail::device_value<cl_bool>(id, CL_DEVICE_COMPILER_AVAILABLE) == CL_FALSE)
      return lacks("OpenCL device without a compiler");
    if (detail::device_value<cl_bool>(id, CL_DEVICE_ENDIAN_LITTLE) == CL_FALSE)
      return lacks("big-endian OpenCL device");
    if (detail::device_value<std::size_t>(id, CL_DEVICE_MAX_WORK_GROUP_SIZE) < smallest_group)
      return lacks("OpenCL device with work-groups of fewer than 64 items");
    // "OpenCL C <major>.<minor> ..."; 1.0 and 1.1 lack what the kernels use.
    const std::string version = detail::device_text(id, CL_DEVICE_OPENCL_C_VERSION);
    if (version.starts_with("OpenCL C 1.0") || version.starts_with("OpenCL C 1.1"))
      return lacks("OpenCL device older than OpenCL C 1.2");
    largest_buffer = static_cast<std::size_t>(detail::device_value<cl_ulong>(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE));
    local_memory = static_cast<std::size_t>(detail::device_value<cl_ulong>(id, CL_DEVICE_LOCAL_MEM_SIZE));
    const auto floats = detail::device_value<cl_device_fp_config>(id, CL_DEVICE_SINGLE_FP_CONFIG);
    build_options = "-cl-std=CL1.2 -w";  // some drivers print that there were warnings
    // Without hardware for it fma() is a slow function; products and sums are rounded separately there.
    if ((floats & CL_FP_FMA) != 0) build_options += " -DTMODEL_FMA";
    // 1.2 allows 2.5 units in the last place otherwise; q8_0 caches are then not the bytes that the host writes.
    if ((floats & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0) build_options += " -cl-fp32-correctly-rounded-divide-sqrt";
    return {};
  }
};

}  // namespace tmodel::inline v0::opencl
