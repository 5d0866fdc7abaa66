#pragma once
// OpenCL C of what happens within rows: norms, rotation, activations, sums, selection, logits.
// Formulas: backends/reference.hpp, which computes the same in f64.

namespace tmodel::inline v0::opencl::kernels {

/// A group per piece of n elements; `pieces` of them share a scale of pieces * n elements, or one of n if own_scale is
/// 0.
inline constexpr char norm[] = R"CL(
kernel GROUP_OF_64 void norm(global const float* x, global const float* scale, global const float* bias,
                             global float* y, int length, int pieces, int own_scale, int has_bias, int centred,
                             float eps) {
  local float part[GROUP];
  const size_t n = (size_t)length;
  const size_t lane = get_local_id(0);
  const size_t piece = get_group_id(0);
  const size_t weights = own_scale != 0 ? piece % (size_t)pieces * n : 0;
  x += piece * n;
  y += piece * n;
  float mean = 0.0f;
  if (centred != 0) {
    float sum = 0.0f;
    for (size_t i = lane; i < n; i += GROUP) sum += x[i];
    mean = group_sum(part, sum, lane) / (float)length;
  }
  float squares = 0.0f;
  for (size_t i = lane; i < n; i += GROUP) {
    const float d = x[i] - mean;
    squares = MULTIPLY_ADD(d, d, squares);
  }
  const float inverse = 1.0f / sqrt(group_sum(part, squares, lane) / (float)length + eps);
  for (size_t i = lane; i < n; i += GROUP) {
    const float normed = (x[i] - mean) * inverse;
    y[i] = has_bias != 0 ? MULTIPLY_ADD(normed, scale[weights + i], bias[weights + i]) : normed * scale[weights + i];
  }
}
)CL";

/// A group per head of a row. Interleaved pairs are read from all over the head, so they are copied before the first is
/// written. angles: [table * rows + row][stride] of cosine and sine; first_row picks the table.
inline constexpr char rope[] = R"CL(
kernel GROUP_OF_64 void rope(global float* x, global const float2* angles, local float* stored, int width, int head_dim,
                             int pairs, int interleaved, int first_row, int stride) {
  const size_t lane = get_local_id(0);
  const size_t half_dim = (size_t)pairs;
  const size_t row = get_group_id(1);
  global float* head = x + row * (size_t)width + get_group_id(0) * (size_t)head_dim;
  angles += ((size_t)first_row + row) * (size_t)stride;
  for (size_t i = lane; i < 2 * half_dim; i += GROUP) stored[i] = head[i];
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);  /* others write what was read here */
  for (size_t p = lane; p < half_dim; p += GROUP) {
    const float a = interleaved != 0 ? stored[2 * p] : stored[p];
    const float b = interleaved != 0 ? stored[2 * p + 1] : stored[p + half_dim];
    const float2 angle = angles[p];
    const float b_sine = b * angle.y;
    const float a_sine = a * angle.y;
    head[p] = MULTIPLY_ADD(a, angle.x, -b_sine);
    head[p + half_dim] = MULTIPLY_ADD(b, angle.x, a_sine);
  }
}
)CL";

inline constexpr char elementwise[] = R"CL(
static inline float silu(float x) { return x / (1.0f + exp(-x)); }
static inline float gelu_tanh(float x) {
  const float square = 0.044715f * x * x;
  return 0.5f * x * (1.0f + tanh(0.7978845608f * MULTIPLY_ADD(square, x, x)));
}
static inline float gelu_erf(float x) { return 0.5f * x * (1.0f + erf(x * 0.7071067812f)); }

#define ACTIVATION(NAME)                                                                        \
  kernel void activate_gate_##NAME(global float* gate, global const float* up, ulong count) {   \
    const size_t i = get_global_id(0);                                                          \
    if (i < count) gate[i] = NAME(gate[i]) * up[i];                                             \
  }                                                                                             \
  kernel void activate_##NAME(global float* x, ulong count) {                                   \
    const size_t i = get_global_id(0);                                                          \
    if (i < count) x[i] = NAME(x[i]);                                                           \
  }
ACTIVATION(silu)
ACTIVATION(gelu_tanh)
ACTIVATION(gelu_erf)

kernel void add(global float* x, global const float* y, float scale, ulong count) {
  const size_t i = get_global_id(0);
  if (i < count) x[i] = MULTIPLY_ADD(scale, y[i], x[i]);
}

kernel void select_rows(global const float* x, global const int* wanted, global float* y, int columns) {
  const size_t i = get_global_id(0);
  const size_t row = get_global_id(1);
  const size_t width = (size_t)columns;
  if (i < width) y[row * width + i] = x[(size_t)wanted[row] * width + i];
}

kernel void finish_logits(global float* x, float scale, float softcap, ulong count) {
  const size_t i = get_global_id(0);
  if (i < count) {
    const float v = x[i] * scale;
    x[i] = softcap != 0.0f ? softcap * tanh(v / softcap) : v;
  }
}
)CL";

}  // namespace tmodel::inline v0::opencl::kernels
