#pragma once
// Softmax attention over cached keys and values, and storing them. Keys are taken in blocks of 64, merged upwards in
// segments of 512 (online softmax, Milakov and Gimelshein 2018), and those again; both begin at multiples of their
// length in absolute position. How a prompt was cut into steps, which rows share a tile and how many threads there are
// leaves a head's chain of additions as it is.

#include "tmodel/backends/cpu/convert.hpp"
#include "tmodel/backends/cpu/math.hpp"
#include "tmodel/backends/cpu/transpose.hpp"
#include "tmodel/backends/host.hpp"
#include "tmodel/quant/legacy.hpp"

namespace tmodel::inline v0::cpu {

inline constexpr int key_segment = 512;  ///< positions whose sums are formed alone
inline constexpr int key_block = 64;     ///< positions whose scores are merged at once
template <class A>
inline constexpr int key_group = 2 * lanes<A>;  ///< positions converted to f32 at once
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

/// The cached vectors at `from`, as lanes: element e of all of them is at to[e * key_group].
template <class A>
TMODEL_INLINE void kv_read_transposed(KvType type, const std::byte* const (&from)[key_group<A>], int n,
                                      f32* to) noexcept {
  constexpr int w = lanes<A>;
  const auto put = [&](int e, auto load_vector) TMODEL_INLINE_LAMBDA {
    for (int half = 0; half < 2; ++half) {
      Floats<A> v[w];
      unroll<w>([&](auto i) TMODEL_INLINE_LAMBDA { v[i] = load_vector(half * w + i); });
      transpose<A>(v);
      unroll<w>([&](auto i) TMODEL_INLINE_LAMBDA { store<A>(to + (e + i) * key_group<A> + half * w, v[i]); });
    }
  };
  const auto floats = [&]<class E>(E) TMODEL_INLINE_LAMBDA {
    const auto at = [&](int i, int e) TMODEL_INLINE_LAMBDA { return reinterpret_cast<const E*>(from[i]) + e; };
    int e = 0;
    for (; e + w <= n; e += w) put(e, [&](int i) TMODEL_INLINE_LAMBDA { return widen<A>(at(i, e)); });
    if (e < n) put(e, [&](int i) { return widen_some<A>(at(i, e), n - e); });
  };
  if (type == KvType::f32) return floats(f32());
  if (type == KvType::f16) return floats(f16());
  for (int b = 0; b * 32 < n; ++b) {
    const auto block = [&](int i) TMODEL_INLINE_LAMBDA -> const Q8_0::Block& {
      return reinterpret_cast<const Q8_0::Block*>(from[i])[b];
    };
    f32 d[key_group<A>];
    for (int i = 0; i < key_group<A>; ++i) d[i] = to_f32(block(i).d);
    for (int e = 0; e < 32; e += w)
      put(32 * b + e, [&](int i) TMODEL_INLINE_LAMBDA { return Floats<A>(d[i]) * widen<A>(block(i).qs + e); });
  }
}

/// Dot products of `states` query heads with key_group keys, as kv_read_transposed() has them: a chain over the even
/// elements, one over the odd.
template <class A, int states>
TMODEL_INLINE void score_group(const f32* const* q, const f32* keys, int head_dim, f32 (*scores)[key_block],
                               int at) noexcept {
  Floats<A> acc[4 * states];
  unroll<4 * states>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = Floats<A>(0.f); });
  const auto advance = [&](auto chain, int e) TMODEL_INLINE_LAMBDA {
    Floats<A> low = load<A>(keys + e * key_group<A>), high = load<A>(keys + e * key_group<A> + lanes<A>);
    pin<A>(low), pin<A>(high);
    unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA {
      Floats<A> qs(q[s][e]);
      pin<A>(qs);
      acc[4 * s + 2 * chain] = fused<A>(qs, low, acc[4 * s + 2 * chain]);
      acc[4 * s + 2 * chain + 1] = fused<A>(qs, high, acc[4 * s + 2 * chain + 1]);
    });
  };
  constexpr std::integral_constant<int, 0> even;
  constexpr std::integral_constant<int, 1> odd;
  int e = 0;
  for (; e + 2 <= head_dim; e += 2) advance(even, e), advance(odd, e + 1);
  if (e < head_dim) advance(even, e);
  unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA {
    store<A>(scores[s] + at, acc[4 * s] + acc[4 * s + 2]);
    store<A>(scores[s] + at + lanes<A>, acc[4 * s + 1] + acc[4 * s + 3]);
  });
}

/// out += the sum of p[at + i] * values[i] for i in [begin, end), upwards, for `states` query heads. Values are
/// `stride` floats apart, zero-padded.
template <class A, int states>
TMODEL_INLINE void add_values(const f32 (*p)[key_block], int at, const f32* values, int stride, int head_dim, int begin,
                              int end, f32* const* out) noexcept {
  constexpr int most = 4;  // vectors of the output at a time
  const auto chains = [&](auto vectors, int e, auto load_out, auto store_out) TMODEL_INLINE_LAMBDA {
    constexpr int n = decltype(vectors)::value;
    Floats<A> acc[states * n];
    unroll<states * n>([&](auto i) TMODEL_INLINE_LAMBDA { acc[i] = load_out(out[i / n] + e + i % n * lanes<A>); });
    for (int i = begin; i < end; ++i) {
      Floats<A> weight[states];
      unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA { weight[s] = Floats<A>(p[s][at + i]), pin<A>(weight[s]); });
      unroll<n>([&](auto k) TMODEL_INLINE_LAMBDA {
        Floats<A> v = load<A>(values + i * stride + e + k * lanes<A>);
        pin<A>(v);
        unroll<states>([&](auto s) TMODEL_INLINE_LAMBDA { acc[s * n + k] = fused<A>(weight[s], v, acc[s * n + k]); });
      });
    }
    unroll<states * n>([&](auto i) TMODEL_INLINE_LAMBDA { store_out(out[i / n] + e + i % n * lanes<A>, acc[i]); });
  };
  const auto whole = [&](auto vectors, int e) TMODEL_INLINE_LAMBDA {
    chains(
        vectors, e, [](const f32* o) TMODEL_INLINE_LAMBDA { return load<A>(o); },
        [](f32* o, Floats<A> x) TMODEL_INLINE_LAMBDA { store<A>(o, x); });
  };
  constexpr std::integral_constant<int, 1> one;
  int e = 0;
  for (; e + most * lanes<A> <= head_dim; e += most * lanes<A>) whole(std::integral_constant<int, most>(), e);
  for (; e + lanes<A> <= head_dim; e += lanes<A>) whole(one, e);
  if (const int rest = head_dim - e; rest > 0)
    chains(
        one, e, [=](const f32* o) { return load_some<A>(o, rest); },
        [=](f32* o, Floats<A> x) { store_some<A>(o, x, rest); });
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

/// The same of a tile's rows and heads while a segment is summed up: states are lanes, so that nothing waits for a
/// single number.
struct TileSoftmax {
  alignas(cache_line) f32 largest[tile_states];
  alignas(cache_line) f32 total[tile_states];
  alignas(cache_line) f32 keep[tile_states];  ///< what the sums before the last block have to be multiplied with

  TileSoftmax() noexcept {
    std::fill_n(largest, tile_states, -std::numeric_limits<f32>::max());
    std::fill_n(total, tile_states, 0.f);
  }
};

/// The scores [begin, end) of a block that a row sees; {0, 0} if none.
struct SeenKeys {
  int begin, end;
};

/// Whole vectors of scores, scaled and capped.
template <class A>
TMODEL_INLINE void cap_scores(f32* s, SeenKeys seen, f32 scale, f32 softcap) noexcept {
  using F = Floats<A>;
  for (int i = seen.begin / lanes<A> * lanes<A>; i < seen.end; i += lanes<A>)
    store<A>(s + i, F(softcap) * tanh<A>(load<A>(s + i) * F(scale) / F(softcap)));
}

/// Scores of a vector's keys that are not seen get no weight.
template <class A>
TMODEL_INLINE void hide_unseen(f32* s, SeenKeys seen) noexcept {
  for (int i = seen.begin; i % lanes<A> != 0;) s[--i] = -HUGE_VALF;
  for (int i = seen.end; i % lanes<A> != 0; ++i) s[i] = -HUGE_VALF;
}

/// Turns `scale` times the scores of a block into weights and merges them into the running softmax of the tile's first
/// `count` rows and heads.
template <class A>
TMODEL_INLINE void soften(f32 (*scores)[key_block], const SeenKeys* seen, int count, f32 scale,
                          TileSoftmax& state) noexcept {
  using F = Floats<A>;
  constexpr int w = lanes<A>;
  for (int first = 0; first < count; first += w) {
    const auto each = [&](F absent, auto of_row) TMODEL_INLINE_LAMBDA {  // of w rows, as lanes
      std::array<F, w> v;
      for (int i = 0; i < w; ++i) {
        v[i] = absent;
        if (first + i < count)
          for (int at = seen[first + i].begin / w * w; at < seen[first + i].end; at += w)
            v[i] = of_row(first + i, scores[first + i] + at, v[i]);
      }
      transpose<A>(v);
      return v;
    };
    const auto most = each(F(-HUGE_VALF), [&](int, f32* s, F so_far) TMODEL_INLINE_LAMBDA {
      const F score = load<A>(s) * F(scale);
      store<A>(s, score);
      return xsimd::max(so_far, score);
    });
    const F before = load<A>(state.largest + first);
    F largest = before;
    for (const F& v : most) largest = xsimd::max(largest, v);
    store<A>(state.largest + first, largest);
    const auto sums = each(F(0.f), [&](int row, f32* s, F so_far) TMODEL_INLINE_LAMBDA {
      const F weight = exp<A>(load<A>(s) - F(state.largest[row]));
      store<A>(s, weight);
      return so_far + weight;
    });
    F sum = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    if constexpr (w == 8) sum = sum + ((sums[4] + sums[6]) + (sums[5] + sums[7]));
    const F keep = exp<A>(before - largest);
    store<A>(state.keep + first, keep);
    store<A>(state.total + first, fused<A>(load<A>(state.total + first), keep, sum));
  }
}

/// Adds what alibi gives the keys behind `block` to their scores.
inline void add_alibi(f32* scores, SeenKeys seen, f32 slope, pos_t block) noexcept {
  for (int i = seen.begin; i < seen.end; ++i) scores[i] += alibi_bias(slope, block + i);
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
  constexpr int group_len = key_group<A>;
  alignas(cache_line) f32 group[group_len * max_head_dim];
  alignas(cache_line) f32 scores[tile_states][key_block];
  const f32* q[tile_states];
  f32* outs[tile_states];
  for (int s = 0; s < count; ++s) {
    const int r = s / t.heads, h = s % t.heads;
    q[s] = t.q + static_cast<std::ptrdiff_t>(r) * t.row_stride + h * d;
    outs[s] = out + static_cast<std::ptrdiff_t>(r) * row_stride + h * d;
    std::fill_n(outs[s], d, 0.f);
  }
  TileSoftmax softmax;

  const auto first_key = [&](int r) { return std::max(t.first_key(r, shape.window), begin); };
  const auto end_key = [&](int r) { return std::min(t.end_key(r), begin + key_segment); };
  const pos_t lowest = first_key(0), end = end_key(t.rows - 1);
  // Those outside of what the tile sees repeat its outermost ones.
  const auto position = [&](const HostLane& lane, pos_t at) { return lane.at(std::clamp(at, lowest, end - 1)); };
  const HostLane keys = kv.lane(kv.keys, shape, t.kv_head), values = kv.lane(kv.values, shape, t.kv_head);

  for (pos_t block = lowest / key_block * key_block; block < end; block += key_block) {
    const pos_t low = std::max(lowest, block) / group_len * group_len, high = std::min(end, block + key_block);
    for (pos_t at = low; at < high; at += group_len) {
      const std::byte* from[group_len];
      for (int i = 0; i < group_len; ++i) from[i] = position(keys, at + i);
      kv_read_transposed<A>(kv.shape.type, from, d, group);
      in_threes(count, [&](auto n, int s)
                           TMODEL_INLINE_LAMBDA { score_group<A, n>(q + s, group, d, scores + s, at - block); });
    }
    SeenKeys seen[tile_states];
    for (int s = 0; s < count; ++s) {
      const int r = s / t.heads;
      seen[s] = {std::max(first_key(r) - block, 0), std::min(end_key(r) - block, key_block)};
      if (seen[s].begin >= seen[s].end) seen[s] = {0, 0};
      if (shape.alibi) add_alibi(scores[s], seen[s], alibi_slope(t.head + s % t.heads, shape.heads), block);
      if (shape.softcap != 0.f) cap_scores<A>(scores[s], seen[s], shape.scale, shape.softcap);
      hide_unseen<A>(scores[s], seen[s]);
    }
    soften<A>(scores, seen, count, shape.softcap != 0.f ? 1.f : shape.scale, softmax);
    for (int s = 0; s < count; ++s)
      if (softmax.keep[s] != 1.f) scale_vector<A>(outs[s], d, softmax.keep[s]);
    for (pos_t at = low; at < high; at += group_len) {
      for (int i = 0; i < group_len; ++i) kv_read<A>(kv.shape.type, position(values, at + i), d, group + i * stride);
      if (at >= first_key(t.rows - 1) && at + group_len <= end_key(0)) {
        in_threes(count, [&](auto n, int s) TMODEL_INLINE_LAMBDA {
          add_values<A, n>(scores + s, at - block, group, stride, d, 0, group_len, outs + s);
        });
        continue;
      }
      for (int s = 0; s < count; ++s) {  // a value that a row does not see might be infinite
        const int r = s / t.heads, a = std::max(first_key(r) - at, 0), b = std::min(end_key(r) - at, group_len);
        if (a < b) add_values<A, 1>(scores + s, at - block, group, stride, d, a, b, outs + s);
      }
    }
  }
  for (int s = 0; s < count; ++s) states[s] = {softmax.largest[s], softmax.total[s]};
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
