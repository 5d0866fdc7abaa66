#pragma once
// How AVX2 reads the codes and scales of each quantised format, 256 elements at a time.
// Layouts: quant/legacy.hpp, quant/k_quants.hpp, quant/nonlinear.hpp, whose unpack() says the same in plain code.

#include "tmodel/backends/cpu/panel.hpp"
#include "tmodel/quant/all.hpp"

#if TMODEL_CPU_AVX2

namespace tmodel::inline v0::cpu::x86 {

// Codes<Q>: coding; codes() and scales(), whose numbers are exactly those of unpack().
// Blocks of 32: codes() reads those of a block, scales() the scales and offsets of the 8 blocks at(0) ... at(7).
// Blocks of 256: codes<p>() reads those of part p, scales() the scales and offsets of all units of a block.

template <class Q>
struct Codes;
template <class Q>
inline constexpr bool has_codes = requires {
  Codes<Q>::coding;
};

/// Minus the origin of codes in the words that multiply the two sums of a part: half 0 or 1 of it, or all.
constexpr int minus_origin(Coding coding, int half) noexcept {
  const unsigned minus = static_cast<unsigned>(-coding.origin) & 0xFFFFu;
  return static_cast<int>(coding.unit == part_len ? minus | minus << 16 : half == 0 ? minus : minus << 16);
}

template <int step, int i>
constexpr std::integral_constant<int, i + step> next(std::integral_constant<int, i>) noexcept {
  return {};
}

TMODEL_INLINE __m128i load16(const void* p) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
TMODEL_INLINE __m256i load32(const void* p) noexcept { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

/// 16 bytes: low nibbles, then high nibbles.
TMODEL_INLINE __m256i nibbles(const std::uint8_t* qs) noexcept {
  const __m256i twice = _mm256_broadcastsi128_si256(load16(qs));
  return _mm256_and_si256(_mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)), _mm256_set1_epi8(15));
}

/// 16 in every byte e where bit e of the 32 is set.
TMODEL_INLINE __m256i fifth_bits(const std::uint8_t* high) noexcept {
  const __m256i spread =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(load_unaligned<int>(high)), spread);
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16));
}

TMODEL_INLINE __m256i look_up(const std::int8_t (&table)[16], __m256i codes) noexcept {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(table)), codes);
}

/// The first 4 bytes of 8 blocks.
TMODEL_INLINE __m256i heads_of(auto at) noexcept {
  const auto two = [&](auto i) TMODEL_INLINE_LAMBDA {  // by hand: g++ 12 builds _mm256_setr_epi32 of loads in memory
    return _mm_unpacklo_epi32(_mm_cvtsi32_si128(load_unaligned<int>(at(i))),
                              _mm_cvtsi32_si128(load_unaligned<int>(at(next<1>(i)))));
  };
  const auto four = [&](auto i) TMODEL_INLINE_LAMBDA { return _mm_unpacklo_epi64(two(i), two(next<2>(i))); };
  return _mm256_set_m128i(four(std::integral_constant<int, 4>()), four(std::integral_constant<int, 0>()));
}

/// The f16 `d` of 8 blocks.
TMODEL_INLINE void scales_of(auto at, f32* scales) noexcept {
  const __m256i low = _mm256_and_si256(heads_of(at), _mm256_set1_epi32(0xFFFF));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  _mm256_store_ps(scales, _mm256_cvtph_ps(words));
}

/// `d` and `m`, neighbours, of 8 blocks.
TMODEL_INLINE void scales_and_offsets(auto at, f32* scales, f32* offsets) noexcept {
  const __m256i heads = heads_of(at);
  const __m256i mixed =
      _mm256_packus_epi32(_mm256_and_si256(heads, _mm256_set1_epi32(0xFFFF)), _mm256_srli_epi32(heads, 16));
  const __m256i apart = _mm256_permute4x64_epi64(mixed, 0xD8);
  _mm256_store_ps(scales, _mm256_cvtph_ps(_mm256_castsi256_si128(apart)));
  _mm256_store_ps(offsets, _mm256_cvtph_ps(_mm256_extracti128_si256(apart, 1)));
}

template <>
struct Codes<Q4_0> {
  static constexpr Coding coding{.bits = 4, .origin = 8};
  TMODEL_INLINE static __m256i codes(const Q4_0::Block& b) noexcept { return nibbles(b.qs); }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32*) noexcept { scales_of(at, scales); }
};

template <>
struct Codes<Q4_1> {
  static constexpr Coding coding{.bits = 4, .offsets = true};
  TMODEL_INLINE static __m256i codes(const Q4_1::Block& b) noexcept { return nibbles(b.qs); }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32* offsets) noexcept {
    scales_and_offsets(at, scales, offsets);
  }
};

template <>
struct Codes<Q5_0> {
  static constexpr Coding coding{.bits = 5, .origin = 16};
  TMODEL_INLINE static __m256i codes(const Q5_0::Block& b) noexcept {
    return _mm256_or_si256(nibbles(b.qs), fifth_bits(b.qh));
  }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32*) noexcept { scales_of(at, scales); }
};

template <>
struct Codes<Q5_1> {
  static constexpr Coding coding{.bits = 5, .offsets = true};
  TMODEL_INLINE static __m256i codes(const Q5_1::Block& b) noexcept {
    return _mm256_or_si256(nibbles(b.qs), fifth_bits(b.qh));
  }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32* offsets) noexcept {
    scales_and_offsets(at, scales, offsets);
  }
};

template <>
struct Codes<Q8_0> {
  static constexpr Coding coding{.bits = 8};
  TMODEL_INLINE static __m256i codes(const Q8_0::Block& b) noexcept { return load32(b.qs); }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32*) noexcept { scales_of(at, scales); }
};

template <>
struct Codes<IQ4_NL> {
  static constexpr Coding coding{.bits = 8};
  TMODEL_INLINE static __m256i codes(const IQ4_NL::Block& b) noexcept {
    return look_up(detail::nonlinear::iq4_values, nibbles(b.qs));
  }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32*) noexcept { scales_of(at, scales); }
};

template <>
struct Codes<MXFP4> {
  static constexpr Coding coding{.bits = 5, .origin = 16};  // -12 to 12, plus 16
  TMODEL_INLINE static __m256i codes(const MXFP4::Block& b) noexcept {
    return _mm256_add_epi8(look_up(detail::nonlinear::e2m1_doubled, nibbles(b.qs)), _mm256_set1_epi8(16));
  }
  TMODEL_INLINE static void scales(auto at, f32* scales, f32*) noexcept {
    const __m256i exponent = _mm256_and_si256(heads_of(at), _mm256_set1_epi32(0xFF));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), exponent);  // 2^-128 and 2^-127 are subnormal
    const __m256i is_normal = _mm256_cmpgt_epi32(exponent, _mm256_set1_epi32(1));
    _mm256_store_ps(scales, _mm256_castsi256_ps(_mm256_blendv_epi8(tiny, normal, is_normal)));
  }
};

/// Eight unsigned bytes as floats.
TMODEL_INLINE __m256 floats_of(std::uint32_t low, std::uint32_t high) noexcept {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_setr_epi32(static_cast<int>(low), static_cast<int>(high), 0, 0)));
}

/// Q4_K and Q5_K: scales and minimums of 6 bits in 12 bytes, four at a time.
TMODEL_INLINE void scales_and_minimums(const std::uint8_t* packed, f16 d, f16 dmin, f32* scales,
                                       f32* offsets) noexcept {
  const auto a = load_unaligned<std::uint32_t>(packed), b = load_unaligned<std::uint32_t>(packed + 4),
             c = load_unaligned<std::uint32_t>(packed + 8);
  const auto upper = [](std::uint32_t v) { return (v >> 2) & 0x30303030u; };  // the two bits above the lower six
  const __m256 scale = floats_of(a & 0x3F3F3F3Fu, (c & 0x0F0F0F0Fu) | upper(a));
  const __m256 minimum = floats_of(b & 0x3F3F3F3Fu, ((c >> 4) & 0x0F0F0F0Fu) | upper(b));
  _mm256_store_ps(scales, _mm256_mul_ps(scale, _mm256_set1_ps(_cvtsh_ss(d.bits))));
  _mm256_store_ps(offsets, _mm256_mul_ps(minimum, _mm256_set1_ps(-_cvtsh_ss(dmin.bits))));
}

template <>
struct Codes<Q4_K> {
  static constexpr Coding coding{.bits = 4, .offsets = true};
  template <int p>
  TMODEL_INLINE static __m256i codes(const Q4_K::Block* b) noexcept {
    return _mm256_and_si256(_mm256_srli_epi16(load32(b->qs + p / 2 * 32), p % 2 * 4), _mm256_set1_epi8(15));
  }
  TMODEL_INLINE static void scales(const Q4_K::Block* b, f32* scales, f32* offsets) noexcept {
    scales_and_minimums(b->scales, b->d, b->dmin, scales, offsets);
  }
};

/// Bit `from` of every byte, moved to bit `to`.
template <int from, int to>
TMODEL_INLINE __m256i moved_bit(__m256i bytes) noexcept {
  __m256i moved = bytes;
  if constexpr (from > to) moved = _mm256_srli_epi16(bytes, from - to);
  if constexpr (from < to) moved = _mm256_slli_epi16(bytes, to - from);
  return _mm256_and_si256(moved, _mm256_set1_epi8(1 << to));
}

template <>
struct Codes<Q5_K> {
  static constexpr Coding coding{.bits = 5, .offsets = true};
  template <int p>
  TMODEL_INLINE static __m256i codes(const Q5_K::Block* b) noexcept {
    const __m256i low =
        _mm256_and_si256(_mm256_srli_epi16(load32(b->qs + p / 2 * 32), p % 2 * 4), _mm256_set1_epi8(15));
    return _mm256_or_si256(low, moved_bit<p, 4>(load32(b->qh)));
  }
  TMODEL_INLINE static void scales(const Q5_K::Block* b, f32* scales, f32* offsets) noexcept {
    scales_and_minimums(b->scales, b->d, b->dmin, scales, offsets);
  }
};

template <>
struct Codes<IQ4_XS> {
  static constexpr Coding coding{.bits = 8};
  template <int p>
  TMODEL_INLINE static __m256i codes(const IQ4_XS::Block* b) noexcept {
    return look_up(detail::nonlinear::iq4_values, nibbles(b->qs + 16 * p));
  }
  TMODEL_INLINE static void scales(const IQ4_XS::Block* b, f32* scales, f32*) noexcept {
    const __m256i fours = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28), twos = _mm256_srli_epi32(fours, 1);
    const __m256i low = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(load_unaligned<int>(b->scales_l)), fours),
                                         _mm256_set1_epi32(15));
    const __m256i high =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(b->scales_h), twos), _mm256_set1_epi32(3));
    const __m256i scale = _mm256_sub_epi32(_mm256_or_si256(low, _mm256_slli_epi32(high, 4)), _mm256_set1_epi32(32));
    _mm256_store_ps(scales, _mm256_mul_ps(_mm256_cvtepi32_ps(scale), _mm256_set1_ps(_cvtsh_ss(b->d.bits))));
  }
};

/// to[i] = bytes[i] * factor.
TMODEL_INLINE void put_products(__m128i bytes, f32 factor, f32* to) noexcept {
  const __m256 f = _mm256_set1_ps(factor);
  _mm256_store_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), f));
  _mm256_store_ps(to + 8, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))), f));
}

template <>
struct Codes<Q2_K> {
  static constexpr Coding coding{.bits = 4, .unit = 16, .offsets = true};
  template <int p>
  TMODEL_INLINE static __m256i codes(const Q2_K::Block* b) noexcept {
    return _mm256_and_si256(_mm256_srli_epi16(load32(b->qs + p / 4 * 32), p % 4 * 2), _mm256_set1_epi8(3));
  }
  TMODEL_INLINE static void scales(const Q2_K::Block* b, f32* scales, f32* offsets) noexcept {
    const __m128i packed = load16(b->scales), low = _mm_set1_epi8(15);
    put_products(_mm_and_si128(packed, low), _cvtsh_ss(b->d.bits), scales);
    put_products(_mm_and_si128(_mm_srli_epi16(packed, 4), low), -_cvtsh_ss(b->dmin.bits), offsets);
  }
};

template <>
struct Codes<Q3_K> {
  static constexpr Coding coding{.bits = 4, .origin = 4, .unit = 16};
  template <int p>
  TMODEL_INLINE static __m256i codes(const Q3_K::Block* b) noexcept {
    const __m256i low = _mm256_and_si256(_mm256_srli_epi16(load32(b->qs + p / 4 * 32), p % 4 * 2), _mm256_set1_epi8(3));
    return _mm256_or_si256(low, moved_bit<p, 2>(load32(b->hmask)));
  }
  TMODEL_INLINE static void scales(const Q3_K::Block* b, f32* scales, f32*) noexcept {
    const auto x = load_unaligned<std::uint32_t>(b->scales), y = load_unaligned<std::uint32_t>(b->scales + 4),
               z = load_unaligned<std::uint32_t>(b->scales + 8);
    const auto six = [&](std::uint32_t low, int shift) {
      return static_cast<int>((low & 0x0F0F0F0Fu) | (((z >> shift) & 0x03030303u) << 4));
    };
    const __m128i scale =
        _mm_sub_epi8(_mm_setr_epi32(six(x, 0), six(y, 2), six(x >> 4, 4), six(y >> 4, 6)), _mm_set1_epi8(32));
    put_products(scale, _cvtsh_ss(b->d.bits), scales);
  }
};

template <>
struct Codes<Q6_K> {
  static constexpr Coding coding{.bits = 6, .origin = 32, .unit = 16};
  template <int p>
  TMODEL_INLINE static __m256i codes(const Q6_K::Block* b) noexcept {
    const __m256i low = _mm256_srli_epi16(load32(b->ql + p / 4 * 64 + p % 2 * 32), p % 4 / 2 * 4);
    const __m256i bits = load32(b->qh + p / 4 * 32);
    constexpr int from = p % 4 * 2;
    __m256i high = bits;
    if constexpr (from < 4) high = _mm256_slli_epi16(bits, 4 - from);
    if constexpr (from > 4) high = _mm256_srli_epi16(bits, from - 4);
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
  }
  TMODEL_INLINE static void scales(const Q6_K::Block* b, f32* scales, f32*) noexcept {
    put_products(load16(b->scales), _cvtsh_ss(b->d.bits), scales);
  }
};

}  // namespace tmodel::inline v0::cpu::x86

#endif
