#pragma once
// OpenCL C of the matrix product and of the embedding, written once over the macros of formats.cl.hpp.
// The order of a sum depends on the number of columns alone: not on rows, neighbours or which kernel computed it.

namespace tmodel::inline v0::opencl::kernels {

/// LANES items share an output: item l adds blocks l, l + LANES, ... into eight partial sums each, which then go
/// through fixed trees. A group computes OUTPUTS outputs for ROWS rows; ROWS is a macro, so that a prompt reads weights
/// less often. With several experts' weights below each other, experts says whose a row wants; a group has one row then.
inline constexpr char matmul_sizes[] = R"CL(
#define LANES 8
#define OUTPUTS (GROUP / LANES)
)CL";

inline constexpr char one_row[] = R"CL(
#undef ROWS
#define ROWS 1
)CL";

inline constexpr char four_rows[] = R"CL(
#undef ROWS
#define ROWS 4
)CL";

inline constexpr char matmul[] = R"CL(
kernel GROUP_OF_64 void JOIN(JOIN(matmul_, FORMAT), JOIN(_, ROWS))(
    global const uchar* weights, global const float* x, global float* y, global const float* bias, int has_bias,
    global const int* experts, int of_experts, int rows, int columns, int outputs) {
  local float part[ROWS * GROUP];
  const size_t width = (size_t)columns;
  const size_t blocks = width / (8 * EIGHTS);
  const size_t row_bytes = width * BLOCK_BYTES / (8 * EIGHTS);
  const size_t item = get_local_id(0);
  const size_t lane = item % LANES;
  const size_t output = get_group_id(0) * OUTPUTS + item / LANES;
  const size_t first = get_group_id(1) * ROWS;
  const size_t expert = of_experts != 0 ? (size_t)experts[first] : 0;
  global const uchar* w = weights + (expert * (size_t)outputs + min(output, (size_t)outputs - 1)) * row_bytes;

  global const float* xs[ROWS];
  float8 sums[ROWS];
#pragma unroll
  for (size_t r = 0; r < ROWS; ++r) {
    xs[r] = x + min(first + r, (size_t)rows - 1) * width;
    sums[r] = (float8)(0.0f);
  }
  for (size_t b = lane; b < blocks; b += LANES) {
    float8 values[EIGHTS];
    JOIN(load_, FORMAT)(w + b * BLOCK_BYTES, values);
#pragma unroll
    for (size_t r = 0; r < ROWS; ++r)
#pragma unroll
      for (size_t e = 0; e < EIGHTS; ++e)
        sums[r] = MULTIPLY_ADD(values[e], vload8(b * EIGHTS + e, xs[r]), sums[r]);
  }
#pragma unroll
  for (size_t r = 0; r < ROWS; ++r) {
    float sum = sum_of_8(sums[r]);
#if EIGHTS == 1
    if (lane == blocks % LANES)
      for (size_t i = 0; i < width % 8; ++i)
        sum = MULTIPLY_ADD(JOIN(one_, FORMAT)(w + blocks * BLOCK_BYTES, i), xs[r][blocks * 8 + i], sum);
#endif
    part[r * GROUP + item] = sum;
  }
  barrier(CLK_LOCAL_MEM_FENCE);

  /* Item (r, o) finishes output o of row r. */
  if (item < ROWS * OUTPUTS) {
    const size_t o = get_group_id(0) * OUTPUTS + item % OUTPUTS;
    const size_t r = first + item / OUTPUTS;
    if (o < (size_t)outputs && r < (size_t)rows) {
      const float sum = sum_of_8(vload8(0, part + (item / OUTPUTS) * GROUP + (item % OUTPUTS) * LANES));
      y[r * (size_t)outputs + o] = has_bias != 0 ? sum + bias[o] : sum;
    }
  }
}
)CL";

/// x[r] = scale * weights[ids[r]]; an item per block.
inline constexpr char embed[] = R"CL(
kernel void JOIN(embed_, FORMAT)(global const uchar* weights, global const int* ids, global float* x, float scale,
                                 int columns) {
  const size_t width = (size_t)columns;
  const size_t blocks = width / (8 * EIGHTS);
  const size_t row_bytes = width * BLOCK_BYTES / (8 * EIGHTS);
  const size_t b = get_global_id(0);
  const size_t row = get_global_id(1);
  global const uchar* block = weights + (size_t)ids[row] * row_bytes + b * BLOCK_BYTES;
  global float* out = x + row * width + b * 8 * EIGHTS;
  if (b < blocks) {
    float8 values[EIGHTS];
    JOIN(load_, FORMAT)(block, values);
    for (size_t e = 0; e < EIGHTS; ++e) vstore8(values[e] * scale, e, out);
  }
#if EIGHTS == 1
  if (b == blocks)
    for (size_t i = 0; i < width % 8; ++i) out[i] = JOIN(one_, FORMAT)(block, i) * scale;
#endif
}
)CL";

}  // namespace tmodel::inline v0::opencl::kernels
