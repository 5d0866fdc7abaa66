#pragma once
// Softmax attention over cached keys and values, and storing them. Keys are taken in blocks of 64 that begin at
// multiples of 64 in absolute position, merged upwards (online softmax, Milakov and Gimelshein 2018): how a prompt was
// cut into steps, which rows share a tile and how many threads there are leaves a head's chain of additions as it is.

#include "tmodel/backends/cpu/convert.hpp"
#include "tmodel/backends/cpu/math.hpp"
#include "tmodel/backends/host.hpp"
#include "tmodel/quant/legacy.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int key_block = 64;  ///< positions whose scores are merged at once
inline constexpr int key_group = 8;   ///< positions converted to f32 at once
inline constexpr int max_head_dim = 1024;
inline constexpr int tile_states = 32;  ///< pairs (row, head) that share converted keys and values

/// Elements of a cached vector as floats, with zeros up to a whole vector.
template <class A>
TMODEL_INLINE void kv_read(KvType type, const std::byte* from, int n, f32* to) noexcept {
  if (type == KvType::f32) return widen_row<A>(reinterpret_cast<const f32*>(from), n, to);
  if (type == KvType::f16) return widen_row<A>(reinterpret_cast<const f16*>(from), n, to);
  const auto* const blocks = reinterpret_cast<const Q8_0::Block*>(from);
  for (int b = 0; b * 32 < n; ++b) {
    const Floats<A> d(to_f32(blocks[b].d));
    for (int i = 0; i < 32; i += lanes<A>) store<A>(to + 32 * b + i, d * widen<A>(blocks[b].qs + i));
  }
}

/// Writes the kv heads of one row.
template <class A>
TMODEL_NOINLINE void kv_write_row(const HostKv& kv, std::byte* base, const AttentionShape& shape, pos_t position,
                                  const f32* x) noexcept {
  const int n = kv.shape.head_dim;
  for (int h = 0; h < kv.shape.kv_heads; ++h, x += n) {
    std::byte* const to = kv.lane(base, shape, h).at(position);
    if (kv.shape.type == KvType::f32)
      std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(f32));
    else if (kv.shape.type == KvType::f16)
      narrow_row<A>(x, n, reinterpret_cast<f16*>(to));
    else
      Q8_0::quantize(std::span(x, static_cast<std::size_t>(n)), reinterpret_cast<Q8_0::Block*>(to));
  }
}

/// Rows of one sequence and query heads of one kv head that are attended together: rows * heads <= tile_states.
struct AttentionTile {
  const f32* q;  ///< of the first row and head
  f32* out;
  int row_stride;  ///< elements from row to row, of q and of out
  int rows, heads;
  int head;  ///< the first of them
  int kv_head;
  pos_t position;  ///< of the first row
};

/// Dot products of one query head with key_group keys of `stride` floats each, zero-padded.
template <class A>
TMODEL_INLINE void score_group(const f32* q, const f32* keys, int stride, int head_dim, f32* scores) noexcept {
  constexpr int w = lanes<A>;
  for (int j = 0; j < key_group; j += w, keys += w * stride) {
    Floats<A> acc[w];
    unroll<w>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
    const auto advance = [&](Floats<A> qs, int e) TMODEL_INLINE_LAMBDA {
      unroll<w>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = fused<A>(qs, load<A>(keys + i * stride + e), acc[i]); });
    };
    int e = 0;
    for (; e + w <= head_dim; e += w) advance(load<A>(q + e), e);
    if (e < head_dim) advance(load_some<A>(q + e, head_dim - e), e);
    store<A>(scores + j, sums_of<A>(acc));
  }
}

/// out += sum of p[i] * values[i] for i in [begin, end), upwards.
template <class A>
TMODEL_INLINE void add_values(const f32* p, const f32* values, int stride, int head_dim, int begin, int end,
                              f32* out) noexcept {
  constexpr int w = lanes<A>;
  const auto chain = [&](Floats<A> acc, int e) TMODEL_INLINE_LAMBDA {
    if (begin == 0 && end == key_group)
      unroll<key_group>(
          [&](auto i) TMODEL_INLINE_LAMBDA { acc = fused<A>(Floats<A>(p[i]), load<A>(values + i * stride + e), acc); });
    else
      for (int i = begin; i < end; ++i) acc = fused<A>(Floats<A>(p[i]), load<A>(values + i * stride + e), acc);
    return acc;
  };
  int e = 0;
  for (; e + w <= head_dim; e += w) store<A>(out + e, chain(load<A>(out + e), e));
  if (e < head_dim) store_some<A>(out + e, chain(load_some<A>(out + e, head_dim - e), e), head_dim - e);
}

template <class A>
TMODEL_INLINE void scale_vector(f32* x, int n, f32 s) noexcept {
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>) store<A>(x + i, load<A>(x + i) * Floats<A>(s));
  for (; i < n; ++i) x[i] *= s;
}

/// Running softmax of one (row, head).
struct SoftmaxState {
  f32 largest = 0;
  f32 total = 0;
};

/// Turns the scores [a, b) of a block into weights, the rest of their vectors into 0, and merges their statistics.
/// Returns what the sums so far have to be multiplied with.
template <class A>
TMODEL_INLINE f32 soften(f32* s, int a, int b, f32 scale, f32 softcap, bool first, SoftmaxState& state) noexcept {
  using F = Floats<A>;
  constexpr int w = lanes<A>;
  const int begin = a / w * w, end = (b + w - 1) / w * w;
  for (int i = begin; i < a; ++i) s[i] = s[a];  // so that whole vectors hold valid scores only
  for (int i = b; i < end; ++i) s[i] = s[a];
  F most(-HUGE_VALF);
  for (int i = begin; i < end; i += w) {
    F v = load<A>(s + i) * F(scale);
    if (softcap != 0.f) v = F(softcap) * tanh<A>(v / F(softcap));
    store<A>(s + i, v);
    most = xsimd::max(most, v);
  }
  alignas(32) f32 lane[w];
  store<A>(lane, most);
  f32 largest = first ? lane[0] : state.largest;
  for (int i = 0; i < w; ++i) largest = std::max(largest, lane[i]);
  for (int i = begin; i < end; i += w) store<A>(s + i, exp<A>(load<A>(s + i) - F(largest)));
  for (int i = begin; i < a; ++i) s[i] = 0.f;
  for (int i = b; i < end; ++i) s[i] = 0.f;
  F sum(0.f);
  for (int i = begin; i < end; i += w) sum = sum + load<A>(s + i);

  f32 keep = 0.f;
  if (!first) {
    store<A>(lane, exp<A>(F(state.largest - largest)));
    keep = lane[0];
  }
  store<A>(lane, fused<A>(F(state.total), F(keep), F(sum_lanes<A>(sum))));
  state.total = lane[0];
  state.largest = largest;
  return keep;
}

/// Adds what alibi gives the keys at block + [a, b) to their scores.
inline void add_alibi(f32* scores, int a, int b, f32 slope, pos_t block) noexcept {
  for (int i = a; i < b; ++i) scores[i] += alibi_bias(slope, block + i);
}

/// out = softmax(scale * q kT) v for every row and head of the tile.
template <class A>
TMODEL_NOINLINE void attend_tile(const HostKv& kv, const AttentionShape& shape, const AttentionTile& t) noexcept {
  const int d = shape.head_dim, stride = (d + lanes<A> - 1) / lanes<A> * lanes<A>;
  const auto first_key = [&](int r) { return shape.window > 0 ? std::max(0, t.position + r + 1 - shape.window) : 0; };
  const auto end_key = [&](int r) { return t.position + r + 1; };
  const auto head_offset = [&](int r, int h) {
    return static_cast<std::size_t>(r) * static_cast<std::size_t>(t.row_stride) + static_cast<std::size_t>(h * d);
  };
  alignas(cache_line) f32 group[key_group * max_head_dim];
  alignas(cache_line) f32 scores[tile_states][key_block];
  SoftmaxState states[tile_states];

  const pos_t lowest = first_key(0), end = end_key(t.rows - 1);
  // Converts positions [at, at + key_group); those outside of what the tile sees repeat its outermost ones.
  const HostLane keys = kv.lane(kv.keys, shape, t.kv_head), values = kv.lane(kv.values, shape, t.kv_head);
  const auto convert = [&](const HostLane& lane, pos_t at) {
    for (int i = 0; i < key_group; ++i)
      kv_read<A>(kv.shape.type, lane.at(std::clamp(at + i, lowest, end - 1)), d, group + i * stride);
  };

  for (pos_t block = lowest / key_block * key_block; block < end; block += key_block) {
    const pos_t low = std::max(lowest, block) / key_group * key_group, high = std::min(end, block + key_block);
    for (pos_t at = low; at < high; at += key_group) {
      convert(keys, at);
      for (int r = 0; r < t.rows; ++r) {
        if (at >= end_key(r) || at + key_group <= first_key(r)) continue;
        for (int h = 0; h < t.heads; ++h)
          score_group<A>(t.q + head_offset(r, h), group, stride, d, scores[r * t.heads + h] + (at - block));
      }
    }
    for (int r = 0; r < t.rows; ++r) {
      const int a = std::max(first_key(r) - block, 0), b = std::min(end_key(r) - block, key_block);
      if (a >= b) continue;
      const bool first = first_key(r) >= block;
      for (int h = 0; h < t.heads; ++h) {
        const int s = r * t.heads + h;
        if (shape.alibi) add_alibi(scores[s], a, b, alibi_slope(t.head + h, shape.heads), block);
        const f32 keep = soften<A>(scores[s], a, b, shape.scale, shape.softcap, first, states[s]);
        f32* const out = t.out + head_offset(r, h);
        if (first)
          std::fill_n(out, d, 0.f);
        else if (keep != 1.f)
          scale_vector<A>(out, d, keep);
      }
    }
    for (pos_t at = low; at < high; at += key_group) {
      convert(values, at);
      for (int r = 0; r < t.rows; ++r) {
        const int a = std::max(first_key(r) - at, 0), b = std::min(end_key(r) - at, key_group);
        if (a >= b) continue;
        for (int h = 0; h < t.heads; ++h)
          add_values<A>(scores[r * t.heads + h] + (at - block), group, stride, d, a, b, t.out + head_offset(r, h));
      }
    }
  }
  for (int r = 0; r < t.rows; ++r)
    for (int h = 0; h < t.heads; ++h)
      scale_vector<A>(t.out + head_offset(r, h), d, 1.f / states[r * t.heads + h].total);
}

}  // namespace tmodel::inline v0::cpu
