#pragma once
// OpenCL C that stands before every other kernel text: sizes of work-groups, sums in fixed trees, multiply-add.
// Source: Khronos OpenCL C 1.2 specification.

namespace tmodel::inline v0::opencl::kernels {

/// TMODEL_FMA says that the device fuses in hardware; else both operations round. Either way contraction is off, so
/// that the compiler has no say. GROUP is part of the results: sums go through a tree over that many partial sums.
inline constexpr char common[] = R"CL(
#pragma OPENCL FP_CONTRACT OFF
#ifdef TMODEL_FMA
#define MULTIPLY_ADD(a, b, c) fma((a), (b), (c))
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

#define GROUP 64
#define GROUP_OF_64 __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

static inline float sum_of_8(float8 v) {
  const float4 a = v.lo + v.hi;
  const float2 b = a.lo + a.hi;
  return b.lo + b.hi;
}

/* Sum over the work-group; every item gets it. part: GROUP floats. */
static inline float group_sum(local float* part, float value, size_t lane) {
  part[lane] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (size_t half_size = GROUP / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) part[lane] += part[lane + half_size];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  const float sum = part[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return sum;
}

static inline float group_max(local float* part, float value, size_t lane) {
  part[lane] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (size_t half_size = GROUP / 2; half_size > 0; half_size /= 2) {
    if (lane < half_size) part[lane] = fmax(part[lane], part[lane + half_size]);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  const float largest = part[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  return largest;
}
)CL";

}  // namespace tmodel::inline v0::opencl::kernels
