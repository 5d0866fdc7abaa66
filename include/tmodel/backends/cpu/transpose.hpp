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
  f32 in[lanes<A>][lanes<A>], out[lanes<A>][lanes<A>];
  for (int k = 0; k < lanes<A>; ++k) store<A>(in[k], v[k]);
  for (int k = 0; k < lanes<A>; ++k)
    for (int i = 0; i < lanes<A>; ++i) out[i][k] = in[k][i];
  for (int k = 0; k < lanes<A>; ++k) v[k] = load<A>(out[k]);
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
