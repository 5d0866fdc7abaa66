#pragma once
// OpenCL C that reads eight weights at a time from the bytes of a format. Each text defines FORMAT, EIGHTS (groups of
// eight in a block) and BLOCK_BYTES, and load_<format>; the next format's text replaces the macros.
// Layouts: quant/dense.hpp, quant/legacy.hpp. Products of an f16 scale and an integer weight are exact in f32.

#include "tmodel/quant/dense.hpp"
#include "tmodel/quant/legacy.hpp"

namespace tmodel::inline v0::opencl::kernels {

/// The text of a format, for those that have one.
template <class Q>
inline constexpr const char* format_source = nullptr;

/// Dense formats are cut into blocks of eight; one_<format> reads a column of the last block, which may be shorter.
template <>
inline constexpr const char* format_source<F32> = R"CL(
#undef FORMAT
#undef EIGHTS
#undef BLOCK_BYTES
#define FORMAT F32
#define EIGHTS 1
#define BLOCK_BYTES 32

static inline void load_F32(global const uchar* block, float8* w) { *w = vload8(0, (global const float*)block); }

static inline float one_F32(global const uchar* block, size_t i) { return ((global const float*)block)[i]; }
)CL";

template <>
inline constexpr const char* format_source<F16> = R"CL(
#undef FORMAT
#undef EIGHTS
#undef BLOCK_BYTES
#define FORMAT F16
#define EIGHTS 1
#define BLOCK_BYTES 16

static inline void load_F16(global const uchar* block, float8* w) { *w = vload_half8(0, (global const half*)block); }

static inline float one_F16(global const uchar* block, size_t i) { return vload_half(i, (global const half*)block); }
)CL";

template <>
inline constexpr const char* format_source<Q8_0> = R"CL(
#undef FORMAT
#undef EIGHTS
#undef BLOCK_BYTES
#define FORMAT Q8_0
#define EIGHTS 4
#define BLOCK_BYTES 34

static inline void load_Q8_0(global const uchar* block, float8* w) {
  const float d = vload_half(0, (global const half*)block);
  global const char* q = (global const char*)(block + 2);
  for (size_t i = 0; i < 4; ++i) w[i] = d * convert_float8(vload8(i, q));
}
)CL";

template <>
inline constexpr const char* format_source<Q4_0> = R"CL(
#undef FORMAT
#undef EIGHTS
#undef BLOCK_BYTES
#define FORMAT Q4_0
#define EIGHTS 4
#define BLOCK_BYTES 18

static inline void load_Q4_0(global const uchar* block, float8* w) {
  const float d = vload_half(0, (global const half*)block);
  for (size_t i = 0; i < 2; ++i) {
    const uchar8 packed = vload8(i, block + 2);
    w[i] = d * (convert_float8(packed & (uchar8)(15)) - 8.0f);
    w[i + 2] = d * (convert_float8(packed >> (uchar8)(4)) - 8.0f);
  }
}
)CL";

}  // namespace tmodel::inline v0::opencl::kernels
