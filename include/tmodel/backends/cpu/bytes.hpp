#pragma once
// What the codes and scales of quantised weights need of an instruction set: 32 codes as bytes, a few bits of each
// moved, and the numbers at the heads of as many blocks as vectors have lanes.

#include "tmodel/backends/cpu/convert.hpp"

namespace tmodel::inline v0::cpu {

/// Bytes<F>, F = InstructionSet<A>::Floats:
///   Vector                   32 bytes
///   load(p), nibbles(p)      those at p; 16 low nibbles, then 16 high ones
///   flags(p)                 16 in byte e where bit e of the 32 is set
///   moved<by, mask>(v)       bits of every byte moved up by `by` (down where negative), those of the mask kept
///   either(v, w), plus(v, n) bitwise or; n added to every byte
///   look_up(table, v)        table[v]
///   heads(at)                the first 4 bytes of blocks at(0), at(1) ..., a lane each
///   put_halves(v, low, high) their halves, f16, as floats; high may be null; aligned to a vector
///   fields<step>(v, mask, i) lane k: v >> step * (i + k), those bits that the mask has
///   put_products(v, f, to)   the 8 signed bytes of v, times f; aligned to a vector
///   number(h)                an f16 as a float
template <class F>
struct Bytes;

/// Whether vectors of 16 bits move those bits of bytes as vectors of bytes would: none come from the neighbour.
constexpr bool stays_in_byte(int by, int mask) noexcept {
  return by > 0 ? mask >> by << by == mask && mask < 256 : mask < 256 >> -by;
}

/// i + step as a constant, from one.
template <int step, int i>
constexpr std::integral_constant<int, i + step> next(std::integral_constant<int, i>) noexcept {
  return {};
}

#if TMODEL_CPU_AVX2
template <>
struct Bytes<avx2> {
  using Vector = __m256i;

  TMODEL_INLINE static __m128i load16(const void* p) noexcept {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
  }
  TMODEL_INLINE static Vector load(const void* p) noexcept {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  TMODEL_INLINE static Vector nibbles(const std::uint8_t* p) noexcept {
    const __m256i twice = _mm256_broadcastsi128_si256(load16(p));
    return _mm256_and_si256(_mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)), _mm256_set1_epi8(15));
  }
  TMODEL_INLINE static Vector flags(const std::uint8_t* p) noexcept {
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                            2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(load_unaligned<int>(p)), spread);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16));
  }
  template <int by, int mask>
  requires(stays_in_byte(by, mask)) TMODEL_INLINE static Vector moved(Vector v) noexcept {
    if constexpr (by > 0) v = _mm256_slli_epi16(v, by);
    if constexpr (by < 0) v = _mm256_srli_epi16(v, -by);
    return _mm256_and_si256(v, _mm256_set1_epi8(mask));
  }
  TMODEL_INLINE static Vector either(Vector v, Vector w) noexcept { return _mm256_or_si256(v, w); }
  TMODEL_INLINE static Vector plus(Vector v, int n) noexcept {
    return _mm256_add_epi8(v, _mm256_set1_epi8(static_cast<char>(n)));
  }
  TMODEL_INLINE static Vector look_up(const std::int8_t (&table)[16], Vector v) noexcept {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(table)), v);
  }

  TMODEL_INLINE static __m256i heads(auto at) noexcept {
    const auto two = [&](auto i) TMODEL_INLINE_LAMBDA {  // by hand: g++ 12 builds _mm256_setr_epi32 of loads in memory
      return _mm_unpacklo_epi32(_mm_cvtsi32_si128(load_unaligned<int>(at(i))),
                                _mm_cvtsi32_si128(load_unaligned<int>(at(next<1>(i)))));
    };
    const auto four = [&](auto i) TMODEL_INLINE_LAMBDA { return _mm_unpacklo_epi64(two(i), two(next<2>(i))); };
    return _mm256_set_m128i(four(std::integral_constant<int, 4>()), four(std::integral_constant<int, 0>()));
  }
  TMODEL_INLINE static void put_halves(__m256i v, f32* low, f32* high) noexcept {
    const __m256i lows = _mm256_and_si256(v, _mm256_set1_epi32(0xFFFF));
    if (!high) {
      const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(lows), _mm256_extracti128_si256(lows, 1));
      return _mm256_store_ps(low, _mm256_cvtph_ps(words));
    }
    const __m256i apart = _mm256_permute4x64_epi64(_mm256_packus_epi32(lows, _mm256_srli_epi32(v, 16)), 0xD8);
    _mm256_store_ps(low, _mm256_cvtph_ps(_mm256_castsi256_si128(apart)));
    _mm256_store_ps(high, _mm256_cvtph_ps(_mm256_extracti128_si256(apart, 1)));
  }
  template <int step>
  TMODEL_INLINE static __m256i fields(std::uint32_t v, int mask, int) noexcept {
    const __m256i by = _mm256_setr_epi32(0, step, 2 * step, 3 * step, 4 * step, 5 * step, 6 * step, 7 * step);
    return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(v)), by), _mm256_set1_epi32(mask));
  }
  TMODEL_INLINE static void put_products(std::uint64_t v, f32 factor, f32* to) noexcept {
    const __m256i words = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(&v)));
    _mm256_store_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(words), _mm256_set1_ps(factor)));
  }
  TMODEL_INLINE static f32 number(f16 h) noexcept { return _cvtsh_ss(h.bits); }
};
#endif

#if defined(__SSE2__)
template <>
struct Bytes<sse2> {
  struct Vector {
    __m128i low, high;
  };

  TMODEL_INLINE static Vector load(const void* p) noexcept {
    const auto at = static_cast<const __m128i*>(p);
    return {_mm_loadu_si128(at), _mm_loadu_si128(at + 1)};
  }
  TMODEL_INLINE static Vector nibbles(const std::uint8_t* p) noexcept {
    const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), mask = _mm_set1_epi8(15);
    return {_mm_and_si128(both, mask), _mm_and_si128(_mm_srli_epi16(both, 4), mask)};
  }
  TMODEL_INLINE static Vector flags(const std::uint8_t* p) noexcept {
    const __m128i bit = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
    const auto sixteens = [&](__m128i bytes) TMODEL_INLINE_LAMBDA {
      return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(bytes, bit), bit), _mm_set1_epi8(16));
    };
    __m128i bytes = _mm_cvtsi32_si128(load_unaligned<int>(p));
    bytes = _mm_unpacklo_epi8(bytes, bytes);
    bytes = _mm_unpacklo_epi16(bytes, bytes);
    return {sixteens(_mm_unpacklo_epi32(bytes, bytes)), sixteens(_mm_unpackhi_epi32(bytes, bytes))};
  }
  template <int by, int mask>
  requires(stays_in_byte(by, mask)) TMODEL_INLINE static Vector moved(Vector v) noexcept {
    const auto one = [](__m128i x) TMODEL_INLINE_LAMBDA {
      if constexpr (by > 0) x = _mm_slli_epi16(x, by);
      if constexpr (by < 0) x = _mm_srli_epi16(x, -by);
      return _mm_and_si128(x, _mm_set1_epi8(mask));
    };
    return {one(v.low), one(v.high)};
  }
  TMODEL_INLINE static Vector either(Vector v, Vector w) noexcept {
    return {_mm_or_si128(v.low, w.low), _mm_or_si128(v.high, w.high)};
  }
  TMODEL_INLINE static Vector plus(Vector v, int n) noexcept {
    const __m128i all = _mm_set1_epi8(static_cast<char>(n));
    return {_mm_add_epi8(v.low, all), _mm_add_epi8(v.high, all)};
  }
  TMODEL_INLINE static Vector look_up(const std::int8_t (&table)[16], Vector v) noexcept {  // no instruction for it
    alignas(64) std::uint8_t bytes[32];                                                     // see IntegerBlock
    std::memcpy(bytes, &v, sizeof bytes);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(table[byte]);
    return load(bytes);
  }

  TMODEL_INLINE static __m128i heads(auto at) noexcept {
    const auto one = [&](auto i) TMODEL_INLINE_LAMBDA { return _mm_cvtsi32_si128(load_unaligned<int>(at(i))); };
    constexpr std::integral_constant<int, 0> first;
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(one(first), one(next<1>(first))),
                              _mm_unpacklo_epi32(one(next<2>(first)), one(next<3>(first))));
  }
  TMODEL_INLINE static void put_halves(__m128i v, f32* low, f32* high) noexcept {
    _mm_store_ps(low, widen_halves(_mm_and_si128(v, _mm_set1_epi32(0xFFFF))));
    if (high) _mm_store_ps(high, widen_halves(_mm_srli_epi32(v, 16)));
  }
  template <int step>
  TMODEL_INLINE static __m128i fields(std::uint32_t v, int mask, int first) noexcept {
    const auto at = [&](int k) TMODEL_INLINE_LAMBDA { return static_cast<int>(v >> (step * (first + k))); };
    return _mm_and_si128(_mm_setr_epi32(at(0), at(1), at(2), at(3)), _mm_set1_epi32(mask));
  }
  TMODEL_INLINE static void put_products(std::uint64_t v, f32 factor, f32* to) noexcept {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(&v)),
                  words = _mm_unpacklo_epi8(bytes, bytes);
    const auto put = [&](__m128i four, f32* at) TMODEL_INLINE_LAMBDA {
      _mm_store_ps(at, _mm_mul_ps(_mm_cvtepi32_ps(_mm_srai_epi32(four, 24)), _mm_set1_ps(factor)));
    };
    put(_mm_unpacklo_epi16(words, words), to);
    put(_mm_unpackhi_epi16(words, words), to + 4);
  }
  TMODEL_INLINE static f32 number(f16 h) noexcept { return to_f32(h); }
};
#endif

#if defined(__aarch64__)
template <>
struct Bytes<neon64> {
  using Vector = uint8x16x2_t;

  TMODEL_INLINE static Vector load(const void* p) noexcept {
    const auto at = static_cast<const std::uint8_t*>(p);
    return {{vld1q_u8(at), vld1q_u8(at + 16)}};
  }
  TMODEL_INLINE static Vector nibbles(const std::uint8_t* p) noexcept {
    const uint8x16_t both = vld1q_u8(p);
    return {{vandq_u8(both, vdupq_n_u8(15)), vshrq_n_u8(both, 4)}};
  }
  TMODEL_INLINE static Vector flags(const std::uint8_t* p) noexcept {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ull));
    const auto sixteens = [&](int byte) TMODEL_INLINE_LAMBDA {
      const uint8x16_t bytes = vcombine_u8(vdup_n_u8(p[byte]), vdup_n_u8(p[byte + 1]));
      return vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(16));
    };
    return {{sixteens(0), sixteens(2)}};
  }
  template <int by, int mask>
  requires(stays_in_byte(by, mask)) TMODEL_INLINE static Vector moved(Vector v) noexcept {
    const auto one = [](uint8x16_t x) TMODEL_INLINE_LAMBDA {
      if constexpr (by > 0) x = vshlq_n_u8(x, by);
      if constexpr (by < 0) x = vshrq_n_u8(x, -by);
      return vandq_u8(x, vdupq_n_u8(mask));
    };
    return {{one(v.val[0]), one(v.val[1])}};
  }
  TMODEL_INLINE static Vector either(Vector v, Vector w) noexcept {
    return {{vorrq_u8(v.val[0], w.val[0]), vorrq_u8(v.val[1], w.val[1])}};
  }
  TMODEL_INLINE static Vector plus(Vector v, int n) noexcept {
    const uint8x16_t all = vdupq_n_u8(static_cast<std::uint8_t>(n));
    return {{vaddq_u8(v.val[0], all), vaddq_u8(v.val[1], all)}};
  }
  TMODEL_INLINE static Vector look_up(const std::int8_t (&table)[16], Vector v) noexcept {
    const uint8x16_t values = vreinterpretq_u8_s8(vld1q_s8(table));
    return {{vqtbl1q_u8(values, v.val[0]), vqtbl1q_u8(values, v.val[1])}};
  }

  TMODEL_INLINE static int32x4_t heads(auto at) noexcept {
    int32x4_t v = vdupq_n_s32(0);
    unroll<4>([&](auto i) TMODEL_INLINE_LAMBDA { v = vsetq_lane_s32(load_unaligned<std::int32_t>(at(i)), v, i); });
    return v;
  }
  TMODEL_INLINE static void put_halves(int32x4_t v, f32* low, f32* high) noexcept {
    const uint32x4_t words = vreinterpretq_u32_s32(v);
    vst1q_f32(low, vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(words))));
    if (high) vst1q_f32(high, vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(words, 16))));
  }
  template <int step>
  TMODEL_INLINE static int32x4_t fields(std::uint32_t v, int mask, int first) noexcept {
    const std::int32_t by[4] = {-step * first, -step * (first + 1), -step * (first + 2), -step * (first + 3)};
    return vandq_s32(vreinterpretq_s32_u32(vshlq_u32(vdupq_n_u32(v), vld1q_s32(by))), vdupq_n_s32(mask));
  }
  TMODEL_INLINE static void put_products(std::uint64_t v, f32 factor, f32* to) noexcept {
    const int16x8_t words = vmovl_s8(vcreate_s8(v));
    vst1q_f32(to, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), factor));
    vst1q_f32(to + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_high_s16(words))), factor));
  }
  TMODEL_INLINE static f32 number(f16 h) noexcept {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h.bits))), 0);
  }
};
#endif

}  // namespace tmodel::inline v0::cpu
