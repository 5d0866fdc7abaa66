#pragma once
// The operations of a backend as functions from numbers to numbers, so that any backend is compared with Reference.
// Only what the Backend concept has is used: rows go in through embed() of an F32 matrix and out through download().

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tmodel/core/concepts.hpp"
#include "tmodel/core/parallel.hpp"
#include "tmodel/quant/all.hpp"

namespace tmodel::testing {

/// Rows of numbers, contiguous.
struct Table {
  int rows = 0;
  int columns = 0;
  std::vector<f32> values;
  const f32* row(int r) const {
    return values.data() + static_cast<std::size_t>(r) * static_cast<std::size_t>(columns);
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(values)); }
};

/// Normally distributed numbers; the distribution is ours because the library's differs between platforms.
inline Table normal_table(int rows, int columns, unsigned seed, f32 scale = 1.f, f32 mean = 0.f) {
  std::mt19937 bits(seed);
  const auto uniform = [&] { return (static_cast<f64>(bits()) + 0.5) / 4294967296.0; };
  Table t{rows, columns, std::vector<f32>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns))};
  for (f32& v : t.values) {
    const f64 radius = std::sqrt(-2.0 * std::log(uniform())), angle = 6.283185307179586 * uniform();
    v = mean + scale * static_cast<f32>(radius * std::cos(angle));
  }
  return t;
}

/// Largest difference over the largest magnitude wanted; infinity if anything is not finite or sizes differ.
inline f64 largest_error(const std::vector<f32>& got, const std::vector<f32>& want) {
  if (got.size() != want.size()) return HUGE_VAL;
  f64 error = 0, scale = 1e-30;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) return HUGE_VAL;
    error = std::max(error, std::fabs(static_cast<f64>(got[i]) - static_cast<f64>(want[i])));
    scale = std::max(scale, std::fabs(static_cast<f64>(want[i])));
  }
  return error / scale;
}

/// Mean squared error over mean square.
inline f64 normalised_squared_error(const std::vector<f32>& got, const std::vector<f32>& want) {
  f64 error = 0, square = 1e-60;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const f64 d = static_cast<f64>(got[i]) - static_cast<f64>(want[i]);
    error += d * d;
    square += static_cast<f64>(want[i]) * static_cast<f64>(want[i]);
  }
  return error / square;
}

/// A backend with a queue and handles, laid out as the library does: counted first, then allocated.
template <class B>
class Rig {
 public:
  Rig(int threads, const QueueLimits& limits) : limits_(limits) {
    if (threads > 0) {  // more threads than processors, too
      pool_ = std::move(*ThreadPool::create(threads));
      typename B::Options options{};
      options.executor = pool_->executor();
      backend_.emplace_back(std::move(*B::open(options)));
    } else {
      backend_.emplace_back(std::move(*B::open({})));
    }
  }

  /// lay(arena) makes handles, twice; body(queue, handles) uses the second ones.
  template <class Lay, class Body>
  void run(Lay lay, Body body) {
    auto counting = B::Arena::counting();
    lay(counting);
    ASSERT_TRUE(B::Queue::make(nullptr, counting, limits_));
    ASSERT_TRUE(counting.finish());
    auto arena = B::Arena::allocating(backend_[0], counting.use());
    ASSERT_TRUE(arena);
    auto handles = lay(*arena);
    auto queue = B::Queue::make(&backend_[0], *arena, limits_);
    ASSERT_TRUE(queue);
    ASSERT_TRUE(arena->finish());
    EXPECT_EQ(arena->use(), counting.use()) << "the plan is not exact";
    body(*queue, handles);
  }

 private:
  QueueLimits limits_;
  std::unique_ptr<ThreadPool> pool_;
  std::vector<B> backend_;
};

/// Rows of one step that have no history: enough for every operation but rope and attention.
template <class B>
struct PlainStep {
  explicit PlainStep(int rows) : tokens(static_cast<std::size_t>(rows)), logit_rows(1, rows - 1) {
    for (int i = 0; i < rows; ++i) tokens[static_cast<std::size_t>(i)] = i;
    sequence = {.kv = nullptr, .rope = &rope, .first_row = 0, .rows = rows, .position = 0};
  }
  Step<typename B::Kv> get() { return {.tokens = tokens, .sequences = {&sequence, 1}, .logit_rows = logit_rows}; }
  std::vector<token_t> tokens;
  std::vector<int> logit_rows;
  std::vector<RopeFrequencies> rope;
  StepSequence<typename B::Kv> sequence;
};

inline QueueLimits limits_of(int rows, int widest) {
  return {.rows = rows,
          .sequences = 1,
          .context = rows,
          .widest_input = widest,
          .rotary_pairs = 0,
          .rope_tables = 1,
          .heads = 1,
          .head_dim = 8};
}

template <class Q>
std::vector<f32> download(Q& queue, auto rows) {
  std::vector<f32> out(static_cast<std::size_t>(rows.n) * static_cast<std::size_t>(rows.columns));
  const auto done = queue.download(rows, out);
  EXPECT_TRUE(done);
  return out;
}

template <class B, class Body>
std::vector<f32> on_rows(const Table& x, const Table& y, int threads, Body body) {
  struct Handles {
    typename B::template Matrix<F32> from_x, from_y;
    typename B::Rows x, y;
  };
  std::vector<f32> out;
  PlainStep<B> step(x.rows);
  Rig<B> rig(threads, limits_of(x.rows, std::max(x.columns, y.columns)));
  rig.run(
      [&](auto& arena) {
        return Handles{arena.template matrix<F32>(x.bytes(), x.rows, x.columns),
                       arena.template matrix<F32>(y.bytes(), y.rows, y.columns), arena.rows(x.rows, x.columns),
                       arena.rows(y.rows, y.columns)};
      },
      [&](auto& queue, Handles& h) {
        queue.begin(step.get());
        queue.embed(h.from_x, h.x, 1.f);
        queue.embed(h.from_y, h.y, 1.f);
        out = download(queue, body(queue, h.x, h.y));
      });
  return out;
}

/// y = x wT + bias; w are the blocks of `outputs` rows; an empty bias is left out.
template <class B, class Q>
std::vector<f32> run_matmul(const std::vector<typename Q::Block>& w, int outputs, const Table& x,
                            const std::vector<f32>& bias, int threads) {
  struct Handles {
    typename B::template Matrix<F32> from_x;
    typename B::template Matrix<Q> w;
    typename B::Rows x, y;
    typename B::Vec bias;
  };
  std::vector<f32> out;
  PlainStep<B> step(x.rows);
  Rig<B> rig(threads, limits_of(x.rows, x.columns));
  rig.run(
      [&](auto& arena) {
        return Handles{arena.template matrix<F32>(x.bytes(), x.rows, x.columns),
                       arena.template matrix<Q>(std::as_bytes(std::span(w)), outputs, x.columns),
                       arena.rows(x.rows, x.columns), arena.rows(x.rows, outputs),
                       bias.empty() ? typename B::Vec{} : arena.vec(outputs, [&](std::span<f32> v) {
                         std::copy(bias.begin(), bias.end(), v.begin());
                       })};
      },
      [&](auto& queue, Handles& h) {
        queue.begin(step.get());
        queue.embed(h.from_x, h.x, 1.f);
        queue.matmul(h.w, queue.prepare(h.x, Q::acts), h.y, h.bias);
        out = download(queue, h.y);
      });
  return out;
}

/// `groups` pieces a row; one scale (and bias) of a whole row if `whole`, else of a piece.
template <class B, NormKind kind>
std::vector<f32> run_norm(const Table& x, int groups, bool whole, bool with_bias, f32 eps, int threads) {
  struct Handles {
    typename B::template Matrix<F32> from;
    typename B::Rows x, y;
    NormWeights<typename B::Vec> w;
  };
  const int n = whole ? x.columns : x.columns / groups;
  const Table scale = normal_table(1, n, 91, 0.3f, 1.f), bias = normal_table(1, n, 92);
  std::vector<f32> out;
  PlainStep<B> step(x.rows);
  Rig<B> rig(threads, limits_of(x.rows, x.columns));
  rig.run(
      [&](auto& arena) {
        const auto vec = [&](const Table& t) {
          return arena.vec(n, [&](std::span<f32> v) { std::copy(t.values.begin(), t.values.end(), v.begin()); });
        };
        Handles h{arena.template matrix<F32>(x.bytes(), x.rows, x.columns),
                  arena.rows(x.rows, x.columns),
                  arena.rows(x.rows, x.columns),
                  {}};
        h.w.scale = vec(scale);
        if (with_bias) h.w.bias = vec(bias);
        h.w.eps = eps;
        return h;
      },
      [&](auto& queue, Handles& h) {
        queue.begin(step.get());
        queue.embed(h.from, h.x, 1.f);
        if (groups == 1)
          queue.template norm<kind>(h.x, h.w, h.y);
        else
          queue.template norm_heads<kind>(h.x, groups, h.w, h.y);
        out = download(queue, h.y);
      });
  return out;
}

/// One session inside an attention case.
struct Span {
  int rows = 1;
  pos_t position = 0;  ///< of its first row; everything before is cached
};

struct AttentionCase {
  AttentionShape shape;
  KvType type = KvType::f32;
  std::vector<Span> spans;
  bool rotate = false;
  RopeFrequencies frequencies;
  f32 score_scale = 1.f;  ///< of the queries
  pos_t infinite = -1;    ///< a position of the first session whose key and value are not finite
};

/// Query, key and value of a position of a session depend on nothing else: cases that cut sessions differently agree.
template <class B>
std::vector<f32> run_attention(const AttentionCase& c, int threads) {
  const int q_columns = c.shape.heads * c.shape.head_dim, kv_columns = c.shape.kv_heads * c.shape.head_dim;
  int rows = 0, longest = 0, total = 0;
  for (const Span& s : c.spans) {
    longest = std::max(longest, s.position + s.rows);
    total += s.rows;
  }
  rows = std::max(longest, total);
  struct Handles {
    std::vector<typename B::template Matrix<F32>> q, k, v;  // [longest, columns] of each session
    typename B::Rows q_rows, k_rows, v_rows, out;
    std::vector<typename B::Kv> kv;
    typename B::template Matrix<F32> now_q, now_k, now_v;
  };
  std::vector<Table> qs, ks, vs;
  Table now[3] = {{total, q_columns, {}}, {total, kv_columns, {}}, {total, kv_columns, {}}};
  for (std::size_t s = 0; s < c.spans.size(); ++s) {
    const auto seed = static_cast<unsigned>(s);
    qs.push_back(normal_table(longest, q_columns, 100 + seed, c.score_scale));
    ks.push_back(normal_table(longest, kv_columns, 200 + seed));
    vs.push_back(normal_table(longest, kv_columns, 300 + seed));
    if (s == 0 && c.infinite >= 0) {
      const auto at = static_cast<std::ptrdiff_t>(c.infinite) * kv_columns;
      std::fill_n(ks[0].values.begin() + at, kv_columns, HUGE_VALF);
      std::fill_n(vs[0].values.begin() + at, kv_columns, -HUGE_VALF);
    }
    const Table* all[3] = {&qs.back(), &ks.back(), &vs.back()};
    for (int i = 0; i < 3; ++i)
      now[i].values.insert(now[i].values.end(), all[i]->row(c.spans[s].position),
                           all[i]->row(c.spans[s].position) + c.spans[s].rows * all[i]->columns);
  }
  std::vector<RopeFrequencies> rope;
  if (c.rotate) rope.push_back(c.frequencies);
  QueueLimits limits = limits_of(rows, std::max(q_columns, kv_columns));
  limits.sequences = static_cast<int>(c.spans.size());
  limits.context = longest;
  limits.heads = c.shape.heads;
  limits.head_dim = c.shape.head_dim;
  limits.rotary_pairs = c.shape.rotary_dim / 2;

  std::vector<f32> out;
  Rig<B> rig(threads, limits);
  rig.run(
      [&](auto& arena) {
        Handles h;
        for (std::size_t s = 0; s < c.spans.size(); ++s) {
          h.q.push_back(arena.template matrix<F32>(qs[s].bytes(), longest, q_columns));
          h.k.push_back(arena.template matrix<F32>(ks[s].bytes(), longest, kv_columns));
          h.v.push_back(arena.template matrix<F32>(vs[s].bytes(), longest, kv_columns));
          const int capacity = c.spans[s].position + c.spans[s].rows, layers = c.shape.cache + 1;
          const bool windowed = c.shape.window > 0;
          h.kv.push_back(arena.kv({.layers = windowed ? 1 : layers,
                                   .windowed_layers = windowed ? layers : 1,
                                   .kv_heads = c.shape.kv_heads,
                                   .head_dim = c.shape.head_dim,
                                   .capacity = capacity,
                                   .ring = std::min(capacity, std::max(c.shape.window, 1) - 1 + c.spans[s].rows),
                                   .window = std::max(c.shape.window, 1),
                                   .type = c.type}));
        }
        h.q_rows = arena.rows(rows, q_columns);
        h.k_rows = arena.rows(rows, kv_columns);
        h.v_rows = arena.rows(rows, kv_columns);
        h.out = arena.rows(rows, q_columns);
        h.now_q = arena.template matrix<F32>(now[0].bytes(), total, q_columns);
        h.now_k = arena.template matrix<F32>(now[1].bytes(), total, kv_columns);
        h.now_v = arena.template matrix<F32>(now[2].bytes(), total, kv_columns);
        return h;
      },
      [&](auto& queue, Handles& h) {
        std::vector<token_t> tokens(static_cast<std::size_t>(rows));
        for (int i = 0; i < rows; ++i) tokens[static_cast<std::size_t>(i)] = i;
        const int last = 0;
        for (std::size_t s = 0; s < c.spans.size(); ++s) {  // what is cached before this step
          const int before = c.spans[s].position;
          const int most = c.shape.window > 0 ? c.spans[s].rows : before;  // a ring has room for that many rows
          for (int at = 0; at < before; at += most) {
            const int n = std::min(most, before - at);
            const StepSequence<typename B::Kv> sequence{
                .kv = &h.kv[s], .rope = &rope, .first_row = 0, .rows = n, .position = at};
            queue.begin({.tokens = {tokens.data() + at, static_cast<std::size_t>(n)},
                         .sequences = {&sequence, 1},
                         .logit_rows = {&last, 1}});
            queue.embed(h.k[s], h.k_rows.first(n), 1.f);
            queue.embed(h.v[s], h.v_rows.first(n), 1.f);
            if (c.rotate) queue.rope(h.k_rows.first(n), c.shape.kv_heads, c.shape);
            queue.kv_store(c.shape, h.k_rows.first(n), h.v_rows.first(n));
            download(queue, h.k_rows.first(n));  // the step's spans live until a download
          }
        }
        std::vector<StepSequence<typename B::Kv>> sequences;
        int first = 0;
        for (std::size_t s = 0; s < c.spans.size(); ++s) {
          sequences.push_back({.kv = &h.kv[s],
                               .rope = &rope,
                               .first_row = first,
                               .rows = c.spans[s].rows,
                               .position = c.spans[s].position});
          first += c.spans[s].rows;
        }
        const auto q = h.q_rows.first(total), k = h.k_rows.first(total), v = h.v_rows.first(total),
                   o = h.out.first(total);
        queue.begin({.tokens = {tokens.data(), static_cast<std::size_t>(total)},
                     .sequences = sequences,
                     .logit_rows = {&last, 1}});
        queue.embed(h.now_q, q, 1.f);
        queue.embed(h.now_k, k, 1.f);
        queue.embed(h.now_v, v, 1.f);
        if (c.rotate) {
          queue.rope(q, c.shape.heads, c.shape);
          queue.rope(k, c.shape.kv_heads, c.shape);
        }
        queue.kv_store(c.shape, k, v);
        queue.attend(c.shape, q, o);
        out = download(queue, o);
      });
  return out;
}

}  // namespace tmodel::testing
