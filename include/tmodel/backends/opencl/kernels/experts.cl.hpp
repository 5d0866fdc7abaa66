#pragma once
// OpenCL C of a mixture of experts: routing, and rows in the order of experts and back. The products are in matmul.cl.hpp.
// Semantics: backends/reference.hpp.

namespace tmodel::inline v0::opencl::kernels {

/// An item per row: the numbers of its `used` best experts, the first of equal ones, and their weights, which are the
/// softmax over all experts or over the chosen ones.
inline constexpr char route[] = R"CL(
kernel void route(global const float* scores, global int* chosen, global float* weights, int rows, int experts, int used,
                  int normalize) {
  const int row = (int)get_global_id(0);
  if (row >= rows) return;
  scores += (size_t)row * (size_t)experts;
  chosen += (size_t)row * (size_t)used;
  weights += (size_t)row * (size_t)used;
  for (int rank = 0; rank < used; ++rank) {
    int best = -1;
    for (int e = 0; e < experts; ++e) {
      bool taken = false;
      for (int i = 0; i < rank; ++i) taken = taken || chosen[i] == e;
      if (!taken && (best < 0 || scores[e] > scores[best])) best = e;
    }
    chosen[rank] = best;
  }
  const float largest = scores[chosen[0]];
  float total = 0.0f;
  for (int i = 0; i < (normalize != 0 ? used : experts); ++i)
    total += exp(scores[normalize != 0 ? chosen[i] : i] - largest);
  for (int i = 0; i < used; ++i) weights[i] = exp(scores[chosen[i]] - largest) / total;
}
)CL";

/// One group. Slots of an expert stand together, in the order of rows. chosen [rows, used] becomes slots; expert, row:
/// of each slot; first: one number per expert.
inline constexpr char sort_routes[] = R"CL(
kernel GROUP_OF_64 void sort_routes(global int* slots, global int* expert, global int* row, global int* first, int count,
                                    int experts, int used) {
  const int item = (int)get_local_id(0);
  for (int e = item; e < experts; e += GROUP) {
    int n = 0;
    for (int i = 0; i < count; ++i) n += slots[i] == e ? 1 : 0;
    first[e] = n;
  }
  barrier(CLK_GLOBAL_MEM_FENCE);
  if (item == 0) {
    int before = 0;
    for (int e = 0; e < experts; ++e) {
      const int n = first[e];
      first[e] = before;
      before += n;
    }
  }
  barrier(CLK_GLOBAL_MEM_FENCE);
  for (int e = item; e < experts; e += GROUP) {
    int at = first[e];
    for (int i = 0; i < count; ++i)
      if (slots[i] == e) {
        expert[at] = e;
        row[at++] = i;
      }
  }
  barrier(CLK_GLOBAL_MEM_FENCE);
  for (int at = item; at < count; at += GROUP) {
    const int i = row[at];
    slots[i] = at;
    row[at] = i / used;
  }
}
)CL";

inline constexpr char move_rows[] = R"CL(
kernel void gather(global const float* x, global const int* rows, global float* y, int columns) {
  const size_t i = get_global_id(0);
  const size_t slot = get_global_id(1);
  const size_t width = (size_t)columns;
  if (i < width) y[slot * width + i] = x[(size_t)rows[slot] * width + i];
}

kernel void combine(global const float* x, global const int* slots, global const float* weights, global float* y,
                    int columns, int used) {
  const size_t i = get_global_id(0);
  const size_t row = get_global_id(1);
  const size_t width = (size_t)columns;
  if (i >= width) return;
  float sum = 0.0f;
  for (size_t j = row * (size_t)used; j < (row + 1) * (size_t)used; ++j)
    sum = MULTIPLY_ADD(weights[j], x[(size_t)slots[j] * width + i], sum);
  y[row * width + i] = sum;
}
)CL";

}  // namespace tmodel::inline v0::opencl::kernels
