#pragma once
// Reference<T>: every operation in the plainest form that is right. The oracle of all other backends, not fast.
// Weights are dequantised a piece at a time; sums are in f64, in one fixed order whatever the threads and chunks.
// The only Eigen include of the library.

#include <Eigen/Core>
#include <cmath>

#include "tmodel/backends/host.hpp"
#include "tmodel/quant/all.hpp"

namespace tmodel::inline v0 {

template <class T = f32, class FormatList = AllFormats>
class Reference {
  static_assert(std::is_same_v<T, f32> || std::is_same_v<T, f64>, "tmodel: Reference<T> computes in f32 or f64");

 public:
  static constexpr std::string_view name = "reference";
  using Options = HostOptions;
  using Formats = FormatList;
  using Ops = AllOps;
  using Rows = HostRows<T>;
  using Vec = HostVec;
  using Kv = HostKv;
  using Routes = HostRoutes;
  using Arena = HostArena<T>;
  template <class Q> using Matrix = HostMatrix<Q>;
  template <class Q>
  using Experts = HostExperts<Q>;
  using Prepared = Rows;
  class Queue;

  static expected<Reference> open(const Options& options) {
    Reference backend;
    TMODEL_TRY(backend.threads_, HostThreads::open(options));
    return backend;
  }

 private:
  HostThreads threads_;
};

namespace reference {

inline constexpr int piece = 256;        // elements dequantised at a time: a multiple of every block length
inline constexpr int max_head_dim = 1024;

/// sum of w * x over a piece, in f64. f32 products are exact there, so contraction cannot change them.
template <class T>
TMODEL_NOINLINE f64 dot(const Eigen::Matrix<f64, piece, 1>& w, const T* x, int n) {
  return w.head(n).dot(Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, 1>>(x, n).template cast<f64>());
}

/// One output column for all rows of x: y[r] = w · x[r] + bias.
template <class T, class Q>
TMODEL_NOINLINE void matmul_column(const typename Q::Block* w, HostRows<T> x, HostRows<T> y, int column, f64 bias) {
  constexpr int group = 64;  // rows of x that share a dequantised piece
  f32 raw[piece];
  Eigen::Matrix<f64, piece, 1> wide;
  for (int first = 0; first < x.n; first += group) {
    const int rows = std::min(group, x.n - first);
    f64 sums[group] = {};
    for (int at = 0; at < x.columns; at += piece) {
      const int n = std::min(piece, x.columns - at);
      Q::dequantize(w + static_cast<std::size_t>(at) / Q::block_len, std::span(raw, static_cast<std::size_t>(n)));
      for (int i = 0; i < n; ++i) wide[i] = static_cast<f64>(raw[i]);
      for (int r = 0; r < rows; ++r) sums[r] += dot(wide, x.row(first + r) + at, n);
    }
    for (int r = 0; r < rows; ++r) y.row(first + r)[column] = static_cast<T>(sums[r] + bias);
  }
}

template <class T>
TMODEL_NOINLINE void norm_row(NormKind kind, const T* x, int n, const f32* scale, const f32* bias, f64 eps, T* y) {
  f64 mean = 0, squares = 0;
  if (kind == NormKind::layer) {
    for (int i = 0; i < n; ++i) mean += static_cast<f64>(x[i]);
    mean /= n;
  }
  for (int i = 0; i < n; ++i) {
    const f64 d = static_cast<f64>(x[i]) - mean;
    squares = std::fma(d, d, squares);
  }
  const f64 inverse = 1.0 / std::sqrt(squares / n + eps);
  for (int i = 0; i < n; ++i) {
    const f64 normed = (static_cast<f64>(x[i]) - mean) * inverse;
    y[i] = static_cast<T>(std::fma(normed, static_cast<f64>(scale[i]), bias == nullptr ? 0.0 : static_cast<f64>(bias[i])));
  }
}

inline f64 activate(Activation kind, f64 x) {
  switch (kind) {
    case Activation::silu: return x / (1.0 + std::exp(-x));
    case Activation::gelu_tanh: return 0.5 * x * (1.0 + std::tanh(0.7978845608028654 * std::fma(0.044715 * x * x, x, x)));
    case Activation::gelu_erf: return 0.5 * x * (1.0 + std::erf(x * 0.7071067811865476));
  }
  return x;
}

/// Elements of a cached vector, as numbers and back.
inline void kv_write(KvType type, std::byte* at, const auto* x, int n) {
  if (type == KvType::q8_0) {
    f32 block[Q8_0::block_len];
    for (int i = 0; i < n; i += static_cast<int>(Q8_0::block_len)) {
      for (std::size_t j = 0; j < Q8_0::block_len; ++j) block[j] = static_cast<f32>(x[static_cast<std::size_t>(i) + j]);
      Q8_0::quantize(block, reinterpret_cast<Q8_0::Block*>(at) + i / static_cast<int>(Q8_0::block_len));
    }
    return;
  }
  for (int i = 0; i < n; ++i) {
    const auto value = static_cast<f32>(x[i]);
    if (type == KvType::f32) std::memcpy(at + 4 * i, &value, 4);
    else {
      const f16 half = to_f16(value);
      std::memcpy(at + 2 * i, &half, 2);
    }
  }
}
inline void kv_read(KvType type, const std::byte* at, std::span<f32> x) {
  if (type == KvType::q8_0) return Q8_0::dequantize(reinterpret_cast<const Q8_0::Block*>(at), x);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = type == KvType::f32 ? load_unaligned<f32>(at + 4 * i) : to_f32(load_unaligned<f16>(at + 2 * i));
}

/// Softmax attention of one query head over keys [begin, end): two passes, the first finds the largest score.
template <class T>
TMODEL_NOINLINE void attend_head(const HostKv& kv, const AttentionShape& shape, int head, const T* q, pos_t begin,
                                 pos_t end, T* out) {
  const int d = shape.head_dim, kv_head = head / (shape.heads / shape.kv_heads);
  const HostLane keys = kv.lane(kv.keys, shape, kv_head), values = kv.lane(kv.values, shape, kv_head);
  const f32 slope = shape.alibi ? alibi_slope(head, shape.heads) : 0.f;
  const auto width = static_cast<std::size_t>(d);
  f32 cached[max_head_dim];
  const auto score = [&](pos_t j) {
    kv_read(kv.shape.type, keys.at(j), std::span(cached, width));
    f64 sum = 0;
    for (int i = 0; i < d; ++i) sum = std::fma(static_cast<f64>(q[i]), static_cast<f64>(cached[i]), sum);
    if (shape.alibi) sum += static_cast<f64>(alibi_bias(slope, j));
    sum *= static_cast<f64>(shape.scale);
    return shape.softcap == 0 ? sum : static_cast<f64>(shape.softcap) * std::tanh(sum / static_cast<f64>(shape.softcap));
  };
  f64 largest = -HUGE_VAL;
  for (pos_t j = begin; j < end; ++j) largest = std::max(largest, score(j));
  f64 total = 0, sums[max_head_dim] = {};
  for (pos_t j = begin; j < end; ++j) {
    const f64 weight = std::exp(score(j) - largest);
    total += weight;
    kv_read(kv.shape.type, values.at(j), std::span(cached, width));
    for (int i = 0; i < d; ++i) sums[i] = std::fma(weight, static_cast<f64>(cached[i]), sums[i]);
  }
  for (int i = 0; i < d; ++i) out[i] = static_cast<T>(sums[i] / total);
}

}  // namespace reference

template <class T, class FormatList>
class Reference<T, FormatList>::Queue {
 public:
  /// Without a backend only the arena counts.
  static expected<Queue> make(const Reference* backend, Arena& arena, const QueueLimits& limits) {
    Queue q;
    if (backend != nullptr) q.executor_ = backend->threads_.executor();
    q.angles_ = arena.template scratch<f64>(2 * static_cast<std::size_t>(limits.rope_tables) * static_cast<std::size_t>(limits.rows) *
                                            static_cast<std::size_t>(limits.rotary_pairs));
    q.row_sequence_ = arena.template scratch<int>(static_cast<std::size_t>(limits.rows));
    q.pairs_ = limits.rotary_pairs;
    q.rows_ = limits.rows;
    return q;
  }

  void begin(const Step<HostKv>& step) {
    step_ = step;
    for (std::size_t s = 0; s < step.sequences.size(); ++s)
      for (int i = 0; i < step.sequences[s].rows; ++i) {
        const StepSequence<HostKv>& sequence = step.sequences[s];
        row_sequence_[sequence.first_row + i] = static_cast<int>(s);
        for (std::size_t table = 0; table < sequence.rope->size(); ++table) {
          const RopeFrequencies& f = (*sequence.rope)[table];
          f64* out = angles(static_cast<int>(table), sequence.first_row + i);
          for (std::size_t p = 0; p < f.inverse.size(); ++p) {
            cos_sin((sequence.origin + sequence.position + i) * f.inverse[p], out[2 * p], out[2 * p + 1]);
            out[2 * p] *= f.magnitude;
            out[2 * p + 1] *= f.magnitude;
          }
        }
      }
  }

  template <class Q>
  void embed(const HostMatrix<Q>& m, Rows x, f32 scale) {
    f32 raw[reference::piece];
    for (int r = 0; r < x.n; ++r)
      for (int at = 0; at < x.columns; at += reference::piece) {
        const int n = std::min(reference::piece, x.columns - at);
        Q::dequantize(m.row(step_.tokens[static_cast<std::size_t>(r)]) + static_cast<std::size_t>(at) / Q::block_len,
                      std::span(raw, static_cast<std::size_t>(n)));
        for (int i = 0; i < n; ++i) x.row(r)[at + i] = static_cast<T>(raw[i]) * static_cast<T>(scale);
      }
  }

  template <NormKind kind>
  void norm(Rows x, const NormWeights<HostVec>& w, Rows y) {
    norm_heads<kind>(x, 1, w, y);
  }
  /// Each row as `groups` pieces that are normalised alone. A scale shorter than the row is shared by the pieces.
  template <NormKind kind>
  void norm_heads(Rows x, int groups, const NormWeights<HostVec>& w, Rows y) {
    const int n = x.columns / groups;
    for (int r = 0; r < x.n; ++r)
      for (int g = 0; g < groups; ++g) {
        const int own = w.scale.size > n ? g * n : 0;
        reference::norm_row(kind, x.row(r) + g * n, n, w.scale.data + own, w.bias.empty() ? nullptr : w.bias.data + own,
                            static_cast<f64>(w.eps), y.row(r) + g * n);
      }
  }

  Prepared prepare(Rows x, Acts) { return x; }

  template <class Q>
  void matmul(const HostMatrix<Q>& m, const Prepared& x, Rows y, HostVec bias) {
    parallel_for(executor_, m.rows, 16, [&](int begin, int end) {
      for (int c = begin; c < end; ++c)
        reference::matmul_column<T, Q>(m.row(c), x, y, c, bias.empty() ? 0.0 : static_cast<f64>(bias.data[c]));
    });
  }

  void rope(Rows x, int heads, const AttentionShape& shape) {
    const int pairs = shape.rotary_dim / 2;
    T stored[reference::max_head_dim];
    for (int r = 0; r < x.n; ++r)
      for (int h = 0; h < heads; ++h) {
        T* head = x.row(r) + h * shape.head_dim;
        std::copy(head, head + shape.rotary_dim, stored);
        const f64* angle = angles(shape.rope_table, r);
        for (int p = 0; p < pairs; ++p) {
          const bool halves = shape.pairing == RopePairing::halves;
          const auto a = static_cast<f64>(stored[halves ? p : 2 * p]);
          const auto b = static_cast<f64>(stored[halves ? p + pairs : 2 * p + 1]);
          head[p] = static_cast<T>(std::fma(a, angle[2 * p], -(b * angle[2 * p + 1])));
          head[p + pairs] = static_cast<T>(std::fma(b, angle[2 * p], a * angle[2 * p + 1]));
        }
      }
  }

  void kv_store(const AttentionShape& shape, Rows k, Rows v) {
    for (int r = 0; r < k.n; ++r) {
      const auto& [sequence, position] = at(r);
      const HostKv& kv = *sequence.kv;
      for (int h = 0; h < shape.kv_heads; ++h) {
        reference::kv_write(kv.shape.type, kv.lane(kv.keys, shape, h).at(position), k.row(r) + h * shape.head_dim,
                            shape.head_dim);
        reference::kv_write(kv.shape.type, kv.lane(kv.values, shape, h).at(position), v.row(r) + h * shape.head_dim,
                            shape.head_dim);
      }
    }
  }

  void attend(const AttentionShape& shape, Rows q, Rows out) {
    parallel_for(executor_, q.n * shape.heads, 1, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const int r = i / shape.heads, h = i % shape.heads;
        const auto& [sequence, position] = at(r);
        const pos_t first = shape.window > 0 ? std::max(0, position + 1 - shape.window) : 0;
        reference::attend_head(*sequence.kv, shape, h, q.row(r) + h * shape.head_dim, first, position + 1,
                               out.row(r) + h * shape.head_dim);
      }
    });
  }

  template <Activation act>
  void activate_gate(Rows gate, Rows up) {
    for (int r = 0; r < gate.n; ++r)
      for (int i = 0; i < gate.columns; ++i)
        gate.row(r)[i] = static_cast<T>(reference::activate(act, static_cast<f64>(gate.row(r)[i])) * static_cast<f64>(up.row(r)[i]));
  }
  template <Activation act>
  void activate(Rows x) {
    for (int r = 0; r < x.n; ++r)
      for (int i = 0; i < x.columns; ++i) x.row(r)[i] = static_cast<T>(reference::activate(act, static_cast<f64>(x.row(r)[i])));
  }

  /// The weights of a row's experts are the softmax over all of them, or over the chosen ones.
  void route(Rows scores, bool normalize, const HostRoutes& routes) {
    for (int r = 0; r < scores.n; ++r) {
      const T* row = scores.row(r);
      int* chosen = routes.slot + r * routes.used;
      best_experts(row, routes.experts, routes.used, chosen);
      const auto weight = [&](int e) { return std::exp(static_cast<f64>(row[e]) - static_cast<f64>(row[chosen[0]])); };
      f64 total = 0;
      for (int i = 0; i < (normalize ? routes.used : routes.experts); ++i) total += weight(normalize ? chosen[i] : i);
      for (int i = 0; i < routes.used; ++i)
        routes.weight[r * routes.used + i] = static_cast<f32>(weight(chosen[i]) / total);
    }
    sort_by_expert(routes, scores.n);
  }
  void gather(Rows x, const HostRoutes& routes, Rows y) {
    for (int i = 0; i < y.n; ++i) std::copy_n(x.row(routes.row[i]), x.columns, y.row(i));
  }
  template <class Q>
  void expert_matmul(const HostExperts<Q>& m, const Prepared& x, const HostRoutes& routes, Rows y) {
    for (int e = 0; e < routes.experts; ++e) {
      const int first = routes.first[e], n = routes.first[e + 1] - first;
      if (n > 0) matmul(m[e], Rows{x.row(first), n, x.columns}, Rows{y.row(first), n, y.columns}, {});
    }
  }
  void combine(Rows x, const HostRoutes& routes, Rows y) {
    for (int r = 0; r < y.n; ++r)
      for (int i = 0; i < y.columns; ++i) {
        f64 sum = 0;
        for (int j = r * routes.used; j < (r + 1) * routes.used; ++j)
          sum = std::fma(static_cast<f64>(routes.weight[j]), static_cast<f64>(x.row(routes.slot[j])[i]), sum);
        y.row(r)[i] = static_cast<T>(sum);
      }
  }

  void add(Rows x, Rows y, f32 scale) {
    for (int r = 0; r < x.n; ++r)
      for (int i = 0; i < x.columns; ++i)
        x.row(r)[i] = static_cast<T>(std::fma(static_cast<f64>(scale), static_cast<f64>(y.row(r)[i]), static_cast<f64>(x.row(r)[i])));
  }

  void select(Rows x, Rows y) {
    for (int i = 0; i < y.n; ++i) std::copy_n(x.row(step_.logit_rows[static_cast<std::size_t>(i)]), x.columns, y.row(i));
  }

  void finish_logits(Rows x, f32 scale, f32 softcap) {
    if (scale == 1.f && softcap == 0.f) return;
    for (int r = 0; r < x.n; ++r)
      for (int i = 0; i < x.columns; ++i) {
        f64 v = static_cast<f64>(x.row(r)[i]) * static_cast<f64>(scale);
        if (softcap != 0.f) v = static_cast<f64>(softcap) * std::tanh(v / static_cast<f64>(softcap));
        x.row(r)[i] = static_cast<T>(v);
      }
  }

  bool end_layer() const noexcept { return step_.cancel == nullptr || !step_.cancel->load(std::memory_order_relaxed); }

  expected<void> download(Rows x, std::span<f32> out) {
    std::size_t i = 0;
    for (int r = 0; r < x.n; ++r)
      for (int c = 0; c < x.columns; ++c) out[i++] = static_cast<f32>(x.row(r)[c]);
    return {};
  }

  expected<void> kv_copy(const HostKv& from, const HostKv& to, int length) { return host_kv_copy(from, to, length); }
  expected<void> kv_save(const HostKv& kv, int length, std::span<std::byte> out) { return host_kv_save(kv, length, out); }
  expected<void> kv_load(const HostKv& kv, int length, std::span<const std::byte> in) { return host_kv_load(kv, length, in); }

 private:
  struct At {
    const StepSequence<HostKv>& sequence;
    pos_t position;
  };
  At at(int row) const noexcept {
    const StepSequence<HostKv>& s = step_.sequences[static_cast<std::size_t>(row_sequence_[row])];
    return {s, s.position + row - s.first_row};
  }
  f64* angles(int table, int row) const noexcept {
    return angles_ + 2 * static_cast<std::size_t>(pairs_) * (static_cast<std::size_t>(table) * static_cast<std::size_t>(rows_) + static_cast<std::size_t>(row));
  }

  Executor executor_;
  Step<HostKv> step_;
  f64* angles_ = nullptr;
  int* row_sequence_ = nullptr;
  int pairs_ = 0;
  int rows_ = 0;
};

static_assert(Backend<Reference<f32>>);

}  // namespace tmodel::inline v0
