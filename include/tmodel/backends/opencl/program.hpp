#pragma once
// The kernels of the OpenCL backend: their names, and the one program that holds them for a list of weight formats.
// A kernel that exists for several formats or cache types is one text that stands several times, after their macros.

#include <array>

#include "tmodel/backends/opencl/device.hpp"
#include "tmodel/backends/opencl/kernels/attention.cl.hpp"
#include "tmodel/backends/opencl/kernels/common.cl.hpp"
#include "tmodel/backends/opencl/kernels/experts.cl.hpp"
#include "tmodel/backends/opencl/kernels/formats.cl.hpp"
#include "tmodel/backends/opencl/kernels/matmul.cl.hpp"
#include "tmodel/backends/opencl/kernels/rows.cl.hpp"
#include "tmodel/core/format.hpp"
#include "tmodel/core/policy.hpp"
#include "tmodel/core/step.hpp"

namespace tmodel::inline v0::opencl {

/// Items of every work-group; GROUP of the kernel texts.
inline constexpr std::size_t group_size = 64;
/// Outputs that a work-group of a matrix product computes, and rows of the kernel for several.
inline constexpr int matmul_outputs = 8;
inline constexpr int matmul_rows = 4;

/// Kernels that do not depend on a weight format. Those of an Activation or a KvType stand in the order of its values.
enum class Kernel : std::uint8_t {
  norm,
  rope,
  add,
  select_rows,
  finish_logits,
  route,
  sort_routes,
  gather,
  combine,
  activate_gate,                 // silu, gelu_tanh, gelu_erf
  activate = activate_gate + 3,  // silu, gelu_tanh, gelu_erf
  kv_store = activate + 3,       // f32, f16, q8_0
  attend = kv_store + 3,         // f32, f16, q8_0
  count = attend + 3,
};
static_assert(static_cast<int>(Activation::gelu_erf) == 2 && static_cast<int>(KvType::q8_0) == 2);

inline constexpr std::array<const char*, static_cast<std::size_t>(Kernel::count)> kernel_names{
    "norm",
    "rope",
    "add",
    "select_rows",
    "finish_logits",
    "route",
    "sort_routes",
    "gather",
    "combine",
    "activate_gate_silu",
    "activate_gate_gelu_tanh",
    "activate_gate_gelu_erf",
    "activate_silu",
    "activate_gelu_tanh",
    "activate_gelu_erf",
    "kv_store_f32",
    "kv_store_f16",
    "kv_store_q8_0",
    "attend_f32",
    "attend_f16",
    "attend_q8_0"};

/// Kernels that exist for each weight format.
enum class FormatKernel : std::uint8_t { matmul_one_row, matmul_rows, embed, count };
inline constexpr std::size_t kernels_per_format = static_cast<std::size_t>(FormatKernel::count);

inline std::string kernel_name(FormatKernel kernel, std::string_view format) {
  const std::string name(format);
  switch (kernel) {
    case FormatKernel::matmul_one_row:
      return "matmul_" + name + "_1";
    case FormatKernel::matmul_rows:
      return "matmul_" + name + "_" + std::to_string(matmul_rows);
    default:
      return "embed_" + name;
  }
}

namespace detail {
template <class Q, class... Qs>
constexpr std::size_t index_in(FormatSet<Qs...>) {
  std::size_t index = 0;
  bool found = false;
  ((found = found || std::is_same_v<Q, Qs>, index += found ? 0 : 1), ...);
  return index;
}
template <class... Qs>
constexpr bool all_have_kernels(FormatSet<Qs...>) {
  return ((kernels::format_source<Qs> != nullptr) && ...);
}
}  // namespace detail

template <class FormatList>
inline constexpr bool has_kernels = detail::all_have_kernels(FormatList{});
template <class FormatList>
inline constexpr std::size_t kernel_count =
    static_cast<std::size_t>(Kernel::count) + FormatList::size* kernels_per_format;

constexpr std::size_t index_of(Kernel kernel, std::size_t variant = 0) noexcept {
  return static_cast<std::size_t>(kernel) + variant;
}
template <class FormatList, class Q>
constexpr std::size_t index_of(FormatKernel kernel) noexcept {
  return static_cast<std::size_t>(Kernel::count) + detail::index_in<Q>(FormatList{}) * kernels_per_format +
         static_cast<std::size_t>(kernel);
}

/// Texts of the whole program, in order.
template <class FormatList>
std::vector<const char*> program_sources() {
  namespace k = kernels;
  std::vector<const char*> sources{k::common,      k::norm,      k::rope,  k::elementwise, k::route,
                                   k::sort_routes, k::move_rows, k::lanes, k::alibi,       k::matmul_sizes};
  FormatList::for_each([&]<class Q>() {
    for (const char* text : {k::format_source<Q>, k::one_row, k::matmul, k::four_rows, k::matmul, k::embed})
      sources.push_back(text);
  });
  for (const char* type : {k::kv_f32, k::kv_f16, k::kv_q8_0})
    for (const char* text : {type, k::kv_store, k::attend}) sources.push_back(text);
  return sources;
}

/// A set of kernel objects of its own for every queue: setting an argument is not safe between threads.
template <class FormatList>
using Kernels = std::array<Owned<cl_kernel>, kernel_count<FormatList>>;

/// Errors: device, unsupported (the device runs a kernel only in smaller groups), out_of_memory.
template <class FormatList>
expected<Kernels<FormatList>> make_kernels(cl_program program, const Device& device) {
  Kernels<FormatList> out;
  const auto make = [&](std::size_t index, const char* name) -> expected<void> {
    cl_int status = CL_SUCCESS;
    out[index] = Owned<cl_kernel>(clCreateKernel(program, name, &status));
    if (status != CL_SUCCESS) return unexpected(failure(status, "cannot create an OpenCL kernel", name));
    std::size_t largest = 0;
    status = clGetKernelWorkGroupInfo(out[index].get(), device.id, CL_KERNEL_WORK_GROUP_SIZE, sizeof largest, &largest,
                                      nullptr);
    if (status != CL_SUCCESS) return unexpected(failure(status, "cannot ask about an OpenCL kernel", name));
    if (largest < group_size)
      return fail(Errc::unsupported, "OpenCL kernel in work-groups of 64 items", device.info.name, {},
                  std::string(name) + " in groups of " + std::to_string(largest));
    return {};
  };
  for (std::size_t i = 0; i < kernel_names.size(); ++i) TMODEL_CHECK(make(i, kernel_names[i]));
  expected<void> all;
  FormatList::for_each([&]<class Q>() {
    for (std::size_t i = 0; i < kernels_per_format && all; ++i) {
      const auto kernel = static_cast<FormatKernel>(i);
      all = make(index_of<FormatList, Q>(kernel), kernel_name(kernel, Q::name).c_str());
    }
  });
  TMODEL_CHECK(std::move(all));
  return out;
}

}  // namespace tmodel::inline v0::opencl
