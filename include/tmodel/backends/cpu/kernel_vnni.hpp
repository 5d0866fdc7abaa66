#pragma once
// Products of integers by the instructions that add four products of bytes to a sum of 32 bits: codes have no sign, 8
// bits do not saturate, nothing is widened. Kernels are templates over an arch's operations, so that a test can bring
// its own in plain code (tests/dot_products).

#include "tmodel/backends/cpu/codes.hpp"
#include "tmodel/backends/cpu/transpose.hpp"

#if TMODEL_CPU_AVX2

namespace tmodel::inline v0::cpu::x86 {

/// Vnni<A>: what the kernels need of A. Eight: dot() of vectors of 8 sums. Tile: the operations of tiles, on 8 or 16
/// sums, a lane for each row.
template <class A>
struct Vnni;
template <class A>
inline constexpr bool has_vnni = requires {
  typename Vnni<A>::Tile;
};

template <class A>
inline constexpr int tile_rows = 8;
template <class A>
requires(has_vnni<A>) inline constexpr int tile_rows<A> = Vnni<A>::Tile::rows;

/// Operations on 8 sums, but for dot(sum, codes, x), which adds to each sum 4 codes without sign times 4 of x.
struct EightSums {
  using Ints = __m256i;
  using Floats = __m256;
  static constexpr int rows = 8;
  TMODEL_INLINE static Ints zero() noexcept { return _mm256_setzero_si256(); }
  TMODEL_INLINE static Ints codes(const std::int8_t* p) noexcept {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  TMODEL_INLINE static Ints broadcast4(const void* p) noexcept { return _mm256_set1_epi32(load_unaligned<int>(p)); }
  /// Both words of a sum times those of `by`, added.
  TMODEL_INLINE static Ints madd(Ints words, int by) noexcept {
    return _mm256_madd_epi16(words, _mm256_set1_epi32(by));
  }
  TMODEL_INLINE static Floats load(const f32* p) noexcept { return _mm256_loadu_ps(p); }
  TMODEL_INLINE static void store(f32* p, Floats v) noexcept { _mm256_storeu_ps(p, v); }
  TMODEL_INLINE static Floats all(f32 v) noexcept { return _mm256_set1_ps(v); }
  TMODEL_INLINE static Floats times(Floats a, Floats b) noexcept { return _mm256_mul_ps(a, b); }
  TMODEL_INLINE static Floats fused(Floats a, Floats b, Floats c) noexcept { return _mm256_fmadd_ps(a, b, c); }
  TMODEL_INLINE static Floats floats(Ints v) noexcept { return _mm256_cvtepi32_ps(v); }
};

#if TMODEL_CPU_AVX2_VNNI
template <>
struct Vnni<avx2_vnni> {
  struct Tile : EightSums {
    TMODEL_INLINE static Ints dot(Ints sum, Ints codes, Ints x) noexcept {
      return _mm256_dpbusd_avx_epi32(sum, codes, x);
    }
  };
  using Eight = Tile;
};
#endif

#if TMODEL_CPU_AVX512_VNNI
template <>
struct Vnni<avx512_vnni> {
  struct Eight : EightSums {
    TMODEL_INLINE static Ints dot(Ints sum, Ints codes, Ints x) noexcept { return _mm256_dpbusd_epi32(sum, codes, x); }
  };
  struct Tile {
    using Ints = __m512i;
    using Floats = __m512;
    static constexpr int rows = 16;
    TMODEL_INLINE static Ints dot(Ints sum, Ints codes, Ints x) noexcept { return _mm512_dpbusd_epi32(sum, codes, x); }
    TMODEL_INLINE static Ints zero() noexcept { return _mm512_setzero_si512(); }
    TMODEL_INLINE static Ints codes(const std::int8_t* p) noexcept { return _mm512_load_si512(p); }
    TMODEL_INLINE static Ints broadcast4(const void* p) noexcept { return _mm512_set1_epi32(load_unaligned<int>(p)); }
    TMODEL_INLINE static Ints madd(Ints words, int by) noexcept {
      return _mm512_madd_epi16(words, _mm512_set1_epi32(by));
    }
    TMODEL_INLINE static Floats load(const f32* p) noexcept { return _mm512_loadu_ps(p); }
    TMODEL_INLINE static void store(f32* p, Floats v) noexcept { _mm512_storeu_ps(p, v); }
    TMODEL_INLINE static Floats all(f32 v) noexcept { return _mm512_set1_ps(v); }
    TMODEL_INLINE static Floats times(Floats a, Floats b) noexcept { return _mm512_mul_ps(a, b); }
    TMODEL_INLINE static Floats fused(Floats a, Floats b, Floats c) noexcept { return _mm512_fmadd_ps(a, b, c); }
    /// All lanes under a mask: g++ 12 warns of the undefined value in the form without one.
    TMODEL_INLINE static Floats floats(Ints v) noexcept { return _mm512_maskz_cvtepi32_ps(0xFFFF, v); }
  };
};
#endif

/// Minus the origin of codes in the words that multiply the two sums of a part: half 0 or 1 of it, or all.
constexpr int minus_origin(Coding coding, int half) noexcept {
  const unsigned minus = static_cast<unsigned>(-coding.origin) & 0xFFFFu;
  return static_cast<int>(coding.unit == part_len ? minus | minus << 16 : half == 0 ? minus : minus << 16);
}

/// Codes of 8 bits become unsigned.
constexpr Coding without_sign(Coding coding) noexcept {
  if (coding.has_sign()) coding.origin = 128;
  return coding;
}

/// Otherwise compilers keep the activations' scales from the first half of a part for the second, and sums in memory.
TMODEL_INLINE void load_again() noexcept { __asm__ volatile("" : : : "memory"); }

/// Products of panels with `columns` rows of activations, added to sums[c][row].
template <class V, Coding coding, int columns>
TMODEL_NOINLINE void dot_tile(const Panel<coding, V::rows>* panel, int parts, const Q8Chunk* x, int stride,
                              f32 (*sums)[V::rows]) noexcept {
  constexpr int halves = part_len / coding.unit, groups = 8 / halves;
  typename V::Floats acc[columns];
  unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { acc[c] = V::load(sums[c]); });
  for (int p = 0; p < parts; ++p) {
    const Panel<coding, V::rows>& w = panel[p / chunk_parts];
    const int part = p % chunk_parts;
    const Q8Chunk* const xs = x + p / chunk_parts;
    unroll<halves>([&](auto which) TMODEL_INLINE_LAMBDA {
      constexpr int half = decltype(which)::value;
      load_again();
      typename V::Ints integer[columns];
      unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
        if constexpr (coding.origin != 0)
          integer[c] = V::madd(V::broadcast4(xs[c * stride].sums + 2 * part), minus_origin(coding, half));
        else
          integer[c] = V::zero();
      });
      unroll<groups>([&](auto group) TMODEL_INLINE_LAMBDA {
        constexpr int j = half * groups + decltype(group)::value;
        const typename V::Ints q = V::codes(w.q[part][j]);
        unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
          integer[c] = V::dot(integer[c], q, V::broadcast4(xs[c * stride].qs + part * part_len + 4 * j));
        });
      });
      const int unit = part * halves + half;
      const typename V::Floats scale = V::load(w.scales[unit]);
      unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA {
        const Q8Chunk& xc = xs[c * stride];
        acc[c] = V::fused(V::times(scale, V::all(xc.d[part])), V::floats(integer[c]), acc[c]);
        if constexpr (coding.offsets)
          acc[c] = V::fused(V::load(w.offsets[unit]), V::all(weighted_sum<coding>(xc, part, half)), acc[c]);
      });
    });
  }
  unroll<columns>([&](auto c) TMODEL_INLINE_LAMBDA { V::store(sums[c], acc[c]); });
}

}  // namespace tmodel::inline v0::cpu::x86

#endif
