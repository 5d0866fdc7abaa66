#pragma once
// OpenCL C of the key/value cache and of attention, written once over macros for the three element types of a cache.
// Rounding of q8_0 rows: quant/legacy.hpp. Softmax in one pass: Milakov and Gimelshein 2018.

namespace tmodel::inline v0::opencl::kernels {

inline constexpr char lanes[] = R"CL(
/* Most positions are within the first round; a division for each would be dear. */
static inline size_t slot_of(size_t position, size_t ring) { return position < ring ? position : position % ring; }
)CL";

inline constexpr char kv_f32[] = R"CL(
#undef KV
#undef KV_ROW_BYTES
#undef KV_STEP
#define KV f32
#define KV_ROW_BYTES(D) (4 * (D))
#define KV_STEP 1

static inline float kv_at_f32(global const uchar* row, size_t i) { return ((global const float*)row)[i]; }
static inline float8 kv_eight_f32(global const uchar* row, size_t e) { return vload8(e, (global const float*)row); }
static inline void kv_write_f32(global uchar* row, size_t i, global const float* x) { ((global float*)row)[i] = x[i]; }
)CL";

inline constexpr char kv_f16[] = R"CL(
#undef KV
#undef KV_ROW_BYTES
#undef KV_STEP
#define KV f16
#define KV_ROW_BYTES(D) (2 * (D))
#define KV_STEP 1

static inline float kv_at_f16(global const uchar* row, size_t i) { return vload_half(i, (global const half*)row); }
static inline float8 kv_eight_f16(global const uchar* row, size_t e) { return vload_half8(e, (global const half*)row); }
static inline void kv_write_f16(global uchar* row, size_t i, global const float* x) {
  vstore_half_rte(x[i], i, (global half*)row);
}
)CL";

/// An item writes a whole block. NaN and infinity make the scale NaN or infinite, so that they show.
inline constexpr char kv_q8_0[] = R"CL(
#undef KV
#undef KV_ROW_BYTES
#undef KV_STEP
#define KV q8_0
#define KV_ROW_BYTES(D) ((D) / 32 * 34)
#define KV_STEP 32

static inline float kv_at_q8_0(global const uchar* row, size_t i) {
  global const uchar* block = row + i / 32 * 34;
  return vload_half(0, (global const half*)block) * (float)((global const char*)block)[2 + i % 32];
}
static inline float8 kv_eight_q8_0(global const uchar* row, size_t e) {
  global const uchar* block = row + e / 4 * 34;
  const float8 q = convert_float8(vload8(e % 4, (global const char*)(block + 2)));
  return vload_half(0, (global const half*)block) * q;
}
static inline void kv_write_q8_0(global uchar* row, size_t b, global const float* x) {
  global uchar* block = row + b * 34;
  global char* q = (global char*)(block + 2);
  x += b * 32;
  float widest = 0.0f;
  for (size_t i = 0; i < 32; ++i) {
    const float magnitude = fabs(x[i]);
    if (isnan(widest) || isnan(magnitude)) widest = NAN;
    else if (magnitude > widest) widest = magnitude;
  }
  const float d = widest / 127.0f;
  const float reciprocal = 1.0f / d;
  const float inverse = isinf(reciprocal) ? 0.0f : reciprocal;
  for (size_t i = 0; i < 32; ++i) {
    const float level = round(x[i] * inverse);
    q[i] = level >= 127.0f ? (char)127 : level > -127.0f ? (char)level : (char)-127;
  }
  vstore_half_rte(d, 0, (global half*)block);
}
)CL";

/// Items: element or block of a head, kv head, row of the sequence. first_row: of the sequence in k and v. base: vectors
/// before the layer's lanes, which are rings of `capacity`.
inline constexpr char kv_store[] = R"CL(
kernel void JOIN(kv_store_, KV)(global const float* k, global const float* v, global uchar* keys, global uchar* values,
                                int first_row, int position, ulong base, int kv_heads, int head_dim, int capacity) {
  const size_t dim = (size_t)head_dim;
  const size_t i = get_global_id(0);
  const size_t head = get_global_id(1);
  const size_t row = get_global_id(2);
  const size_t vector = (size_t)base + head * (size_t)capacity + slot_of((size_t)position + row, (size_t)capacity);
  const size_t to = vector * KV_ROW_BYTES(dim);
  const size_t from = (((size_t)first_row + row) * (size_t)kv_heads + head) * dim;
  if (i < dim / KV_STEP) {
    JOIN(kv_write_, KV)(keys + to, i, k + from);
    JOIN(kv_write_, KV)(values + to, i, v + from);
  }
}
)CL";

/// As alibi_slope() and alibi_bias() in core/step.hpp.
inline constexpr char alibi[] = R"CL(
static inline float round_to_bf16(float x) {
  const uint bits = as_uint(x);
  return as_float((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}
static inline float alibi_slope(int head, int heads) {
  int log = 0;
  while (2 << log <= heads) ++log;
  const int power = 1 << log;
  const int steps = head < power ? head + 1 : 2 * (head - power) + 1;
  return round_to_bf16(exp2(-ldexp((float)steps, head < power ? 3 - log : 2 - log)));
}
static inline float alibi_bias(float slope, size_t position) {
  return round_to_bf16(slope * round_to_bf16((float)position));
}
)CL";

/// A group per head of a row. Keys come in blocks of GROUP at absolute positions, one per item; sums over a block are
/// trees over those items, values are added in the order of their positions. A row's result depends on its position and
/// on the window alone, not on the rows beside it. query, result: head_dim floats each.
inline constexpr char attend[] = R"CL(
kernel GROUP_OF_64 void JOIN(attend_, KV)(global const float* q, global const uchar* keys, global const uchar* values,
                                          global float* out, local float* query, local float* result, int first_row,
                                          int position, ulong base, int heads, int kv_heads, int head_dim, int capacity,
                                          int window, float scale, float softcap, int alibi) {
  local float part[GROUP];
  local float weights[GROUP];
  const size_t dim = (size_t)head_dim;
  const size_t item = get_local_id(0);
  const size_t head = get_group_id(0);
  const size_t row = (size_t)first_row + get_group_id(1);
  const int own = position + (int)get_group_id(1);
  const size_t begin = window > 0 ? (size_t)max(own - (window - 1), 0) : 0;
  const size_t end = (size_t)own + 1;
  const size_t ring = (size_t)capacity;
  const size_t lane = (size_t)base + head / (size_t)(heads / kv_heads) * ring;
  const size_t row_bytes = KV_ROW_BYTES(dim);
  keys += lane * row_bytes;
  values += lane * row_bytes;
  const float slope = alibi != 0 ? alibi_slope((int)head, heads) : 0.0f;
  q += (row * (size_t)heads + head) * dim;
  out += (row * (size_t)heads + head) * dim;
  for (size_t i = item; i < dim; i += GROUP) {
    query[i] = q[i];
    result[i] = 0.0f;
  }
  barrier(CLK_LOCAL_MEM_FENCE);

  float largest = -FLT_MAX;
  float total = 0.0f;
  for (size_t block = begin / GROUP * GROUP; block < end; block += GROUP) {
    const size_t j = block + item;
    const bool seen = j >= begin && j < end;
    float score = -FLT_MAX;
    if (seen) {
      global const uchar* key = keys + slot_of(j, ring) * row_bytes;
      float8 sums = (float8)(0.0f);
      for (size_t e = 0; e < dim / 8; ++e)
        sums = MULTIPLY_ADD(vload8(e, query), JOIN(kv_eight_, KV)(key, e), sums);
      float tail = 0.0f;
      for (size_t i = dim / 8 * 8; i < dim; ++i) tail = MULTIPLY_ADD(query[i], JOIN(kv_at_, KV)(key, i), tail);
      score = sum_of_8(sums) + tail;
      if (alibi != 0) score += alibi_bias(slope, j);
      score *= scale;
      if (softcap != 0.0f) score = softcap * tanh(score / softcap);
    }
    const float before = largest;
    largest = fmax(largest, group_max(part, score, item));
    const float kept = exp(before - largest);
    const float weight = seen ? exp(score - largest) : 0.0f;
    weights[item] = weight;
    total = total * kept + group_sum(part, weight, item);

    const size_t first = max(block, begin) - block;
    const size_t last = min(block + GROUP, end) - block;
    for (size_t i = item; i < dim; i += GROUP) {
      float sum = result[i] * kept;
      for (size_t w = first; w < last; ++w)
        sum = MULTIPLY_ADD(weights[w], JOIN(kv_at_, KV)(values + slot_of(block + w, ring) * row_bytes, i), sum);
      result[i] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (size_t i = item; i < dim; i += GROUP) out[i] = result[i] / total;
}
)CL";

}  // namespace tmodel::inline v0::opencl::kernels
