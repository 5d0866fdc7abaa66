#pragma once
// Softmax attention over cached keys and values, and storing them. Keys are taken in blocks of 64, merged upwards in
// segments of 512 (online softmax, Milakov and Gimelshein 2018), and those again; both begin at multiples of their
// length in absolute position. How a prompt was cut into steps, which rows share a tile and how many threads there are
// leaves a head's chain of additions as it is.

#include "tmodel/backends/cpu/convert.hpp"
#include "tmodel/backends/cpu/math.hpp"
#include "tmodel/backends/host.hpp"
#include "tmodel/quant/legacy.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int key_segment = 512;  ///< positions whose sums are formed alone
inline constexpr int key_block = 64;     ///< positions whose scores are merged at once
inline constexpr int key_group = 8;      ///< positions converted to f32 at once
inline constexpr int max_head_dim = 1024;
inline constexpr int tile_floats = 4096;  ///< elements of a tile's output, and
inline constexpr int tile_states = 32;    ///< pairs (row, head) in it that share converted keys and values, at most

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
  std::size_t sequence;

  pos_t first_key(int row, int window) const noexcept {
    return window > 0 ? std::max(0, position + row + 1 - window) : 0;
  }
  pos_t end_key(int row) const noexcept { return position + row + 1; }
};

/// How the rows and heads of a step are cut into tiles.
class AttentionTiles {
 public:
  using Sequences = std::span<const StepSequence<HostKv>>;
  AttentionTiles(const AttentionShape& shape, Sequences sequences) noexcept
      : shape_(shape), sequences_(sequences), group_(shape.heads / shape.kv_heads) {
    const int states = std::clamp(tile_floats / shape.head_dim, 1, tile_states);
    heads_ = std::min(group_, states), splits_ = (group_ + heads_ - 1) / heads_, rows_ = states / heads_;
    for (const auto& s : sequences) count_ += tiles_of(s) * shape.kv_heads * splits_;
  }
  int count() const noexcept { return count_; }

  AttentionTile tile(int i, const HostRows<f32>& q, const HostRows<f32>& out) const noexcept {
    // Late rows see more keys: pairing the ends gives every contiguous piece about the same work.
    const int item = i % 2 == 0 ? i / 2 : count_ - 1 - i / 2, lanes = shape_.kv_heads * splits_;
    const int lane = item % lanes, kv_head = lane / splits_, head = kv_head * group_ + lane % splits_ * heads_;
    int tile = item / lanes;
    std::size_t sequence = 0;
    for (; tile >= tiles_of(sequences_[sequence]); ++sequence) tile -= tiles_of(sequences_[sequence]);
    const StepSequence<HostKv>& s = sequences_[sequence];
    const int row = tile * rows_;
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(head) * shape_.head_dim;
    return {.q = q.row(s.first_row + row) + at,
            .out = out.row(s.first_row + row) + at,
            .row_stride = q.columns,
            .rows = std::min(rows_, s.rows - row),
            .heads = std::min(heads_, (kv_head + 1) * group_ - head),
            .head = head,
            .kv_head = kv_head,
            .position = s.position + row,
            .sequence = sequence};
  }

 private:
  int tiles_of(const StepSequence<HostKv>& s) const noexcept { return (s.rows + rows_ - 1) / rows_; }

  const AttentionShape& shape_;
  Sequences sequences_;
  int group_, heads_, splits_, rows_;
  int count_ = 0;
};

/// The segments that a tile sees.
struct Segments {
  Segments(const AttentionShape& shape, const AttentionTile& t) noexcept
      : first(t.first_key(0, shape.window) / key_segment),
        count((t.end_key(t.rows - 1) + key_segment - 1) / key_segment - first) {}
  pos_t begin(int segment) const noexcept { return (first + segment) * key_segment; }
  static int most(int context) noexcept { return context / key_segment + 1; }

  int first, count;
};

/// Dot products of `states` query heads with key_group keys of `stride` floats each, zero-padded.
template <class A, int states>
TMODEL_INLINE void score_group(const f32* const* q, const f32* keys, int stride, int head_dim,
                               f32* const* scores) noexcept {
  for (int j = 0; j < key_group; j += 4, keys += 4 * stride) {
    Floats<A> acc[4 * states];
    unroll<4 * states>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
    const auto advance = [&](int e, auto load_q) TMODEL_INLINE_LAMBDA {
      Floats<A> qs[states];
      unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA { qs[s] = load_q(q[s] + e), pin<A>(qs[s]); });
      unroll<4>([&](auto i) TMODEL_INLINE_LAMBDA {
        Floats<A> k = load<A>(keys + i * stride + e);
        pin<A>(k);
        unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA { acc[4 * s + i] = fused<A>(qs[s], k, acc[4 * s + i]); });
      });
    };
    int e = 0;
    for (; e + lanes<A> <= head_dim; e += lanes<A>)
      advance(e, [](const f32* p) TMODEL_INLINE_LAMBDA { return load<A>(p); });
    if (e < head_dim) advance(e, [=](const f32* p) { return load_some<A>(p, head_dim - e); });
    unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA {
      store_sums<A>(acc[4 * s], acc[4 * s + 1], acc[4 * s + 2], acc[4 * s + 3], scores[s] + j);
    });
  }
}

/// out += the sum of p[i] * values[i] for i in [begin, end), upwards.
template <class A>
TMODEL_INLINE void add_values(const f32* p, const f32* values, int stride, int from, int head_dim, int begin, int end,
                              f32* out) noexcept {
  const auto chain = [&](Floats<A> acc, int e) TMODEL_INLINE_LAMBDA {
    for (int i = begin; i < end; ++i) acc = fused<A>(Floats<A>(p[i]), load<A>(values + i * stride + e), acc);
    return acc;
  };
  int e = from;
  for (; e + lanes<A> <= head_dim; e += lanes<A>) store<A>(out + e, chain(load<A>(out + e), e));
  if (e < head_dim) store_some<A>(out + e, chain(load_some<A>(out + e, head_dim - e), e), head_dim - e);
}

/// The same for `states` query heads that see all key_group values.
template <class A, int states>
TMODEL_INLINE void add_value_group(const f32* const* p, const f32* values, int stride, int head_dim,
                                   f32* const* out) noexcept {
  constexpr int vectors = 4;
  int e = 0;
  for (; e + vectors * lanes<A> <= head_dim; e += vectors * lanes<A>) {
    Floats<A> acc[states * vectors];
    unroll<states * vectors>(
        [&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = load<A>(out[i / vectors] + e + i % vectors * lanes<A>); });
    for (int i = 0; i < key_group; ++i) {
      Floats<A> weight[states];
      unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA { weight[s] = Floats<A>(p[s][i]), pin<A>(weight[s]); });
      unroll<vectors>([&](auto k) TMODEL_INLINE_LAMBDA {
        Floats<A> v = load<A>(values + i * stride + e + k * lanes<A>);
        pin<A>(v);
        unroll<states>(
            [&](auto s) TMODEL_INLINE_LAMBDA { acc[s * vectors + k] = fused<A>(weight[s], v, acc[s * vectors + k]); });
      });
    }
    unroll<states * vectors>(
        [&](auto i) TMODEL_INLINE_LAMBDA { store<A>(out[i / vectors] + e + i % vectors * lanes<A>, acc[i]); });
  }
  for (int s = 0; s < states && e < head_dim; ++s)
    add_values<A>(p[s], values, stride, e, head_dim, 0, key_group, out[s]);
}

/// Calls fn(number of states, the first) for groups of at most 3: 12 sums and what they are made of fill 16 registers.
template <class Fn>
TMODEL_INLINE void in_threes(int states, Fn fn) {
  int s = 0;
  for (; s + 3 <= states; s += 3) fn(std::integral_constant<int, 3>(), s);
  if (states - s == 2) fn(std::integral_constant<int, 2>(), s);
  if (states - s == 1) fn(std::integral_constant<int, 1>(), s);
}

template <class A>
TMODEL_INLINE void scale_vector(f32* x, int n, f32 s) noexcept {
  int i = 0;
  for (; i + lanes<A> <= n; i += lanes<A>) store<A>(x + i, load<A>(x + i) * Floats<A>(s));
  for (; i < n; ++i) x[i] *= s;
}

/// Running softmax of one (row, head). A total of 0: no key was seen yet.
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

/// Merges the sums of later keys, [d], into those of earlier ones.
template <class A>
TMODEL_INLINE void merge(SoftmaxState& to, f32* out, const SoftmaxState& from, const f32* sums, int d) noexcept {
  using F = Floats<A>;
  if (from.total == 0.f) return;
  if (to.total == 0.f) {
    std::copy_n(sums, d, out);
    to = from;
    return;
  }
  const f32 largest = std::max(to.largest, from.largest);
  alignas(32) f32 lane[lanes<A>];
  const auto weight = [&](f32 of) { return store<A>(lane, exp<A>(F(of - largest))), lane[0]; };
  const F old(weight(to.largest)), now(weight(from.largest));
  int i = 0;
  for (; i + lanes<A> <= d; i += lanes<A>) store<A>(out + i, fused<A>(load<A>(sums + i), now, load<A>(out + i) * old));
  if (const int rest = d - i; rest > 0)
    store_some<A>(out + i, fused<A>(load_some<A>(sums + i, rest), now, load_some<A>(out + i, rest) * old), rest);
  store<A>(lane, fused<A>(F(from.total), now, F(to.total) * old));
  to = {largest, lane[0]};
}

/// Sums over the keys of one segment: out = sum of exp(scale * q k - largest) v for every row and head of the tile, not
/// yet divided by the total. Rows of out are `row_stride` floats apart.
template <class A>
TMODEL_NOINLINE void attend_segment(const HostKv& kv, const AttentionShape& shape, const AttentionTile& t, pos_t begin,
                                    f32* out, int row_stride, SoftmaxState* states) noexcept {
  const int d = shape.head_dim, stride = (d + lanes<A> - 1) / lanes<A> * lanes<A>, count = t.rows * t.heads;
  alignas(cache_line) f32 group[key_group * max_head_dim];
  alignas(cache_line) f32 scores[tile_states][key_block];
  const f32* q[tile_states];
  f32 *outs[tile_states], *at_scores[tile_states];
  for (int s = 0; s < count; ++s) {
    const int r = s / t.heads, h = s % t.heads;
    q[s] = t.q + static_cast<std::ptrdiff_t>(r) * t.row_stride + h * d;
    outs[s] = out + static_cast<std::ptrdiff_t>(r) * row_stride + h * d;
    states[s] = {};
  }

  const auto first_key = [&](int r) { return std::max(t.first_key(r, shape.window), begin); };
  const auto end_key = [&](int r) { return std::min(t.end_key(r), begin + key_segment); };
  const pos_t lowest = first_key(0), end = end_key(t.rows - 1);
  // Converts positions [at, at + key_group); those outside of what the tile sees repeat its outermost ones.
  const HostLane keys = kv.lane(kv.keys, shape, t.kv_head), values = kv.lane(kv.values, shape, t.kv_head);
  const auto convert = [&](const HostLane& lane, pos_t at) {
    for (int i = 0; i < key_group; ++i)
      kv_read<A>(kv.shape.type, lane.at(std::clamp(at + i, lowest, end - 1)), d, group + i * stride);
  };
  const auto point_at = [&](int offset) {
    for (int s = 0; s < count; ++s) at_scores[s] = scores[s] + offset;
  };

  for (pos_t block = lowest / key_block * key_block; block < end; block += key_block) {
    const pos_t low = std::max(lowest, block) / key_group * key_group, high = std::min(end, block + key_block);
    for (pos_t at = low; at < high; at += key_group) {
      convert(keys, at);
      point_at(at - block);
      in_threes(count,
                [&](auto n, int s) TMODEL_INLINE_LAMBDA { score_group<A, n>(q + s, group, stride, d, at_scores + s); });
    }
    for (int s = 0; s < count; ++s) {
      const int r = s / t.heads, a = std::max(first_key(r) - block, 0), b = std::min(end_key(r) - block, key_block);
      if (a >= b) continue;
      const bool first = states[s].total == 0.f;
      if (shape.alibi) add_alibi(scores[s], a, b, alibi_slope(t.head + s % t.heads, shape.heads), block);
      const f32 keep = soften<A>(scores[s], a, b, shape.scale, shape.softcap, first, states[s]);
      if (first)
        std::fill_n(outs[s], d, 0.f);
      else if (keep != 1.f)
        scale_vector<A>(outs[s], d, keep);
    }
    for (pos_t at = low; at < high; at += key_group) {
      convert(values, at);
      point_at(at - block);
      if (at >= first_key(t.rows - 1) && at + key_group <= end_key(0)) {
        in_threes(count, [&](auto n, int s) TMODEL_INLINE_LAMBDA {
          add_value_group<A, n>(at_scores + s, group, stride, d, outs + s);
        });
        continue;
      }
      for (int s = 0; s < count; ++s) {  // a value that a row does not see might be infinite
        const int r = s / t.heads, a = std::max(first_key(r) - at, 0), b = std::min(end_key(r) - at, key_group);
        if (a < b) add_values<A>(at_scores[s], group, stride, 0, d, a, b, outs[s]);
      }
    }
  }
}

/// out = softmax(scale * q kT) v for every row and head of the tile.
template <class A>
TMODEL_NOINLINE void attend_tile(const HostKv& kv, const AttentionShape& shape, const AttentionTile& t) noexcept {
  const int d = shape.head_dim, count = t.rows * t.heads;
  const auto out = [&](int s) {
    return t.out + static_cast<std::ptrdiff_t>(s / t.heads) * t.row_stride + s % t.heads * d;
  };
  alignas(cache_line) f32 sums[tile_floats];
  SoftmaxState states[tile_states], later[tile_states];
  const Segments segments(shape, t);
  attend_segment<A>(kv, shape, t, segments.begin(0), t.out, t.row_stride, states);
  for (int i = 1; i < segments.count; ++i) {
    attend_segment<A>(kv, shape, t, segments.begin(i), sums, t.heads * d, later);
    for (int s = 0; s < count; ++s) merge<A>(states[s], out(s), later[s], sums + s * d, d);
  }
  for (int s = 0; s < count; ++s) scale_vector<A>(out(s), d, 1.f / states[s].total);
}

}  // namespace tmodel::inline v0::cpu
