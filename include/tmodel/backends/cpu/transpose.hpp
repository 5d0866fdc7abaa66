#pragma once
// Rows become lanes, and the few things that kernels with rows in lanes share.

#include "tmodel/backends/cpu/convert.hpp"

namespace tmodel::inline v0::cpu {

/// v: an array of as many vectors as they have lanes. Lane i of vector k becomes lane k of vector i. Bits are moved,
/// whatever they mean.
template <class A>
TMODEL_INLINE void transpose(auto& v) noexcept {
#if TMODEL_CPU_AVX2
  if constexpr (has_avx2<A>) {
    __m256 a[8], b[8];
    unroll<4>([&](auto i) TMODEL_INLINE_LAMBDA {
      a[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
      a[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    });
    unroll<2>([&](auto i) TMODEL_INLINE_LAMBDA {
      b[4 * i + 0] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
      b[4 * i + 1] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0xEE);
      b[4 * i + 2] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
      b[4 * i + 3] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xEE);
    });
    unroll<4>([&](auto i) TMODEL_INLINE_LAMBDA {
      v[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
      v[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    });
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (std::is_same_v<A, sse2>) {
    const __m128 a = _mm_unpacklo_ps(v[0], v[1]), b = _mm_unpackhi_ps(v[0], v[1]);
    const __m128 c = _mm_unpacklo_ps(v[2], v[3]), d = _mm_unpackhi_ps(v[2], v[3]);
    v[0] = _mm_movelh_ps(a, c), v[1] = _mm_movehl_ps(c, a), v[2] = _mm_movelh_ps(b, d), v[3] = _mm_movehl_ps(d, b);
  }
#endif
#if defined(__aarch64__)
  if constexpr (has_neon<A>) {
    const auto pairs = [](float32x4_t x) { return vreinterpretq_f64_f32(x); };
    const auto floats = [](float64x2_t x) { return vreinterpretq_f32_f64(x); };
    const float64x2_t a = pairs(vtrn1q_f32(v[0], v[1])), b = pairs(vtrn2q_f32(v[0], v[1]));
    const float64x2_t c = pairs(vtrn1q_f32(v[2], v[3])), d = pairs(vtrn2q_f32(v[2], v[3]));
    v[0] = floats(vtrn1q_f64(a, c)), v[2] = floats(vtrn2q_f64(a, c));
    v[1] = floats(vtrn1q_f64(b, d)), v[3] = floats(vtrn2q_f64(b, d));
  }
#endif
}

/// The first n lanes, 1 <= n; all of them if there are not more.
template <class A>
TMODEL_INLINE void store_first(f32* p, Floats<A> x, int n) noexcept {
  n >= lanes<A> ? store<A>(p, x) : store_some<A>(p, x, n);
}
template <class A>
TMODEL_INLINE Floats<A> load_first(const f32* p, int n) noexcept {
  return n >= lanes<A> ? load<A>(p) : load_some<A>(p, n);
}

template <int most, int least, class Fn>
TMODEL_INLINE void visit_count(int n, Fn&& fn) noexcept {
  if constexpr (most > least)
    if (n < most) return visit_count<most - 1, least>(n, fn);
  fn(std::integral_constant<int, most>());
}

/// fn(count, first) for n columns in turn, least <= count <= most at a time and as even as may be. n is one that can be
/// cut so; counts that never are need not be compiled.
template <int most, int least = 1, class Fn>
TMODEL_INLINE void for_columns(int n, Fn&& fn) noexcept {
  for (int first = 0, left = (n + most - 1) / most; left > 0; --left) {
    const int count = (n - first + left - 1) / left;
    visit_count<most, least>(count, [&](auto columns) TMODEL_INLINE_LAMBDA { fn(columns, first); });
    first += count;
  }
}

}  // namespace tmodel::inline v0::cpu
