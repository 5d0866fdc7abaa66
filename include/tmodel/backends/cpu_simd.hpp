#pragma once
// CpuSimd<T, Arch, Formats>: the backend for processors, with vector instructions. Kernels are in backends/cpu/.
// Quantised weights are multiplied as stored, with activations quantised once per input; nothing is repacked.

#include <array>

#include "tmodel/backends/cpu/attention.hpp"
#include "tmodel/backends/cpu/elementwise.hpp"
#include "tmodel/backends/cpu/matmul_dense.hpp"
#include "tmodel/backends/cpu/matmul_quantized.hpp"
#include "tmodel/quant/all.hpp"

namespace tmodel::inline v0 {

/// Arch: an instruction set of backends/cpu/arch.hpp; by default the best that this translation unit's flags allow.
///
/// Results have the same bits for any number of threads, rows in a step and neighbours in a batch, on one Arch.
template <class T = f32, class Arch = cpu::default_arch, class FormatList = AllFormats>
class CpuSimd {
  static_assert(std::is_same_v<T, f32>, "tmodel: CpuSimd computes in f32, its first parameter");
  static_assert(cpu::known<Arch>,
                "tmodel: CpuSimd<T, Arch> runs on cpu::sse2, cpu::avx2, cpu::avx2_vnni, cpu::avx512_vnni (x86-64), "
                "cpu::neon64 and cpu::neon64_dotprod (aarch64)");
  static_assert(cpu::compiled_for<Arch> || !std::is_same_v<Arch, cpu::avx2>,
                "tmodel: CpuSimd<..., avx2> needs this file to be compiled with -mavx2 -mfma -mf16c (or a -march "
                "that has them)");
  static_assert(cpu::compiled_for<Arch> || !std::is_same_v<Arch, cpu::avx2_vnni>,
                "tmodel: CpuSimd<..., avx2_vnni> needs this file to be compiled with -mavx2 -mfma -mf16c -mavxvnni (or "
                "a -march that has them)");
  static_assert(cpu::compiled_for<Arch> || !std::is_same_v<Arch, cpu::avx512_vnni>,
                "tmodel: CpuSimd<..., avx512_vnni> needs this file to be compiled with a -march that has AVX-512 F, "
                "BW, VL and VNNI, such as icelake-server or znver4");
  static_assert(cpu::compiled_for<Arch> || !std::is_same_v<Arch, cpu::neon64_dotprod>,
                "tmodel: CpuSimd<..., neon64_dotprod> needs this file to be compiled with -march=armv8.2-a+dotprod (or "
                "more)");
  static_assert(cpu::compiled_for<Arch> || !(std::is_same_v<Arch, cpu::sse2> || std::is_same_v<Arch, cpu::neon64>),
                "tmodel: CpuSimd<..., Arch> names an instruction set of another processor family");
  // After a failed assertion above, members compile for what there is: one mistake, one message.
  using A = std::conditional_t<cpu::compiled_for<Arch>, Arch, cpu::default_arch>;

 public:
  static constexpr std::string_view name = "cpu";
  using Options = HostOptions;
  using Formats = FormatList;
  using Ops = AllOps;
  using Rows = HostRows<f32>;
  using Vec = HostVec;
  using Kv = HostKv;
  using Routes = HostRoutes;
  using Arena = HostArena<f32>;
  template <class Q>
  using Matrix = HostMatrix<Q>;
  template <class Q>
  using Experts = HostExperts<Q>;
  class Queue;

  /// Activations of one product's input, valid until the next prepare().
  struct Prepared {
    Rows rows;
    cpu::Q8Chunk* chunks = nullptr;  ///< null: not asked for
    f32* lanes = nullptr;            ///< null: not asked for, or few rows

    /// Rows [first, first + n).
    Prepared range(int first, int n) const noexcept {
      const auto at = [&](auto* rows_of, int size) {
        return rows_of == nullptr ? nullptr
                                  : rows_of + static_cast<std::size_t>(first) * static_cast<std::size_t>(size);
      };
      return {{rows.row(first), n, rows.columns},
              at(chunks, cpu::chunks_of(rows.columns)),
              at(lanes, cpu::lane_row_size<A>(rows.columns))};
    }
  };

  /// Errors: unsupported_cpu, and those of ThreadPool::create.
  static expected<CpuSimd> open(const Options& options) {
    if (const std::string_view missing = cpu::InstructionSet<A>::missing(); !missing.empty())
      return fail(Errc::unsupported_cpu, "this program was compiled for instructions that this machine lacks", {},
                  arch(), missing, "compile for this machine, with -march=native or without -march and -m flags");
    CpuSimd backend;
    TMODEL_TRY(backend.threads_, HostThreads::open(options));
    return backend;
  }

  /// Instruction set of the kernels: "avx2+vnni", "neon" and so on.
  static constexpr std::string_view arch() noexcept { return cpu::InstructionSet<A>::name; }

 private:
  HostThreads threads_;
};

template <class T, class Arch, class FormatList>
class CpuSimd<T, Arch, FormatList>::Queue {
 public:
  /// Without a backend only the arena counts.
  static expected<Queue> make(const CpuSimd* backend, Arena& arena, const QueueLimits& limits) {
    if (limits.head_dim > cpu::max_head_dim)
      return fail(Errc::unsupported, "head dimension", {}, "at most " + std::to_string(cpu::max_head_dim),
                  std::to_string(limits.head_dim));
    Queue q;
    if (backend != nullptr) q.executor_ = backend->threads_.executor();
    const auto rows = static_cast<std::size_t>(limits.rows);
    q.pairs_ = limits.rotary_pairs;
    q.rows_ = limits.rows;
    q.angles_ = arena.template scratch<f32>(2 * static_cast<std::size_t>(limits.rope_tables) * rows *
                                            static_cast<std::size_t>(limits.rotary_pairs));
    q.row_sequence_ = arena.template scratch<int>(rows);
    const auto partials = static_cast<std::size_t>(cpu::Segments::most(limits.context) * limits.heads);
    q.partials_ = arena.template scratch<f32>(partials * static_cast<std::size_t>(limits.head_dim));
    q.states_ = arena.template scratch<cpu::SoftmaxState>(partials);
    const auto most = [&](auto of_row) {
      const auto all = [&](int n, int columns) {
        return static_cast<std::size_t>(n) * static_cast<std::size_t>(of_row(columns));
      };
      return std::max(all(limits.rows, limits.widest_input), all(limits.expert_rows, limits.expert_input));
    };
    if (has(limits.acts, Acts::q8)) q.chunks_ = arena.template scratch<cpu::Q8Chunk>(most(cpu::chunks_of));
    if (has(limits.acts, Acts::floats)) q.lanes_ = arena.template scratch<f32>(most(cpu::lane_row_size<A>));
    return q;
  }

  void begin(const Step<HostKv>& step) {
    step_ = step;
    for (std::size_t s = 0; s < step.sequences.size(); ++s) {
      const StepSequence<HostKv>& sequence = step.sequences[s];
      for (int i = 0; i < sequence.rows; ++i) {
        row_sequence_[sequence.first_row + i] = static_cast<int>(s);
        for (std::size_t table = 0; table < sequence.rope->size(); ++table)
          fill_angles((*sequence.rope)[table], sequence.origin + sequence.position + i,
                      angles(static_cast<int>(table), sequence.first_row + i));
      }
    }
  }

  template <class Q>
  void embed(const HostMatrix<Q>& m, Rows x, f32 scale) {
    for_rows(x, [&](int r) {
      const std::span<f32> row(x.row(r), static_cast<std::size_t>(x.columns));
      Q::dequantize(m.row(step_.tokens[static_cast<std::size_t>(r)]), row);
      if (scale != 1.f) cpu::scale_and_cap_row<A>(row.data(), x.columns, scale, 0.f);
    });
  }

  template <NormKind kind>
  void norm(Rows x, const NormWeights<HostVec>& w, Rows y) {
    norm_heads<kind>(x, 1, w, y);
  }
  /// Each row as `groups` pieces that are normalised alone. A scale shorter than the row is shared by the pieces.
  template <NormKind kind>
  void norm_heads(Rows x, int groups, const NormWeights<HostVec>& w, Rows y) {
    multiply_waiting();
    const int n = x.columns / groups;
    for_rows(x, [&](int r) {
      for (int g = 0; g < groups; ++g) {
        const int own = w.scale.size > n ? g * n : 0;
        cpu::norm_row<A, kind>(x.row(r) + g * n, n, w.scale.data + own, w.bias.empty() ? nullptr : w.bias.data + own,
                               w.eps, y.row(r) + g * n);
      }
    });
  }

  Prepared prepare(Rows x, Acts acts) {
    multiply_waiting();
    const bool q8 = has(acts, Acts::q8), by_lanes = has(acts, Acts::floats) && x.n >= cpu::worth_panels;
    const Prepared all{x, q8 ? chunks_ : nullptr, by_lanes ? lanes_ : nullptr};
    if (q8 || by_lanes)
      for_rows(x, [&](int r) {
        const Prepared row = all.range(r, 1);
        if (q8) cpu::quantize_chunks<A>(x.row(r), x.columns, row.chunks);
        if (by_lanes) cpu::arrange_lanes<A>(x.row(r), x.columns, row.lanes);
      });
    return all;
  }

  /// Waits for others of the same input, which then share the threads' time: the next operation of another kind begins
  /// them all.
  template <class Q>
  void matmul(const HostMatrix<Q>& m, const Prepared& x, Rows y, HostVec bias) {
    if (waiting_ == products_.size() || (waiting_ > 0 && products_[0].y.n != y.n)) multiply_waiting();
    products_[waiting_++] = {
        m.data,
        m.rows,
        m.columns,
        x,
        y,
        bias.empty() ? nullptr : bias.data,
        [](const Product& p, int begin, int end) noexcept {
          const HostMatrix<Q> weights{static_cast<const typename Q::Block*>(p.weights), p.rows, p.columns};
          multiply(weights, p.x, p.y, p.bias, begin, end);
        }};
  }

  /// The weights of a row's experts are the softmax over all of them, or over the chosen ones.
  void route(Rows scores, bool normalize, const HostRoutes& routes) {
    multiply_waiting();
    for (int r = 0; r < scores.n; ++r) {
      f32* const row = scores.row(r);
      int* const chosen = routes.slot + r * routes.used;
      f32* const weight = routes.weight + r * routes.used;
      best_experts(row, routes.experts, routes.used, chosen);
      for (int i = 0; i < routes.used; ++i) weight[i] = row[chosen[i]];
      const f32 largest = weight[0];
      const f32 total =
          normalize ? cpu::exp_sum<A>(weight, routes.used, largest) : cpu::exp_sum<A>(row, routes.experts, largest);
      for (int i = 0; i < routes.used; ++i) weight[i] = (normalize ? weight[i] : row[chosen[i]]) / total;
    }
    sort_by_expert(routes, scores.n);
  }
  void gather(Rows x, const HostRoutes& routes, Rows y) {
    multiply_waiting();
    for_rows(y, [&](int i) { std::copy_n(x.row(routes.row[i]), x.columns, y.row(i)); });
  }
  /// Outputs of all experts count through, so that few rows of many experts still keep all threads busy.
  template <class Q>
  void expert_matmul(const HostExperts<Q>& m, const Prepared& x, const HostRoutes& routes, Rows y) {
    multiply_waiting();
    int active = 0;
    for (int e = 0; e < routes.experts; ++e) active += routes.first[e + 1] > routes.first[e] ? 1 : 0;
    const long long work = static_cast<long long>(m.columns) * std::max(1, y.n / std::max(active, 1));
    for_pieces(active * m.rows, 16, work, [&](int begin, int end) {
      for (int e = 0, at = 0; e < routes.experts && at < end; ++e) {
        const int first = routes.first[e], n = routes.first[e + 1] - first;
        if (n == 0) continue;
        const int from = std::max(begin - at, 0), to = std::min(end - at, m.rows);
        if (from < to) multiply(m[e], x.range(first, n), Rows{y.row(first), n, y.columns}, nullptr, from, to);
        at += m.rows;
      }
    });
  }
  void combine(Rows x, const HostRoutes& routes, Rows y) {
    multiply_waiting();
    for_rows(y, [&](int r) {
      std::fill_n(y.row(r), y.columns, 0.f);
      for (int j = r * routes.used; j < (r + 1) * routes.used; ++j)
        cpu::add_row<A>(y.row(r), x.row(routes.slot[j]), y.columns, routes.weight[j]);
    });
  }

  void rope(Rows x, int heads, const AttentionShape& shape) {
    multiply_waiting();
    for_rows(x, [&](int r) {
      cpu::rope_row<A>(x.row(r), heads, shape.head_dim, shape.rotary_dim / 2, shape.pairing,
                       angles(shape.rope_table, r));
    });
  }

  void kv_store(const AttentionShape& shape, Rows k, Rows v) {
    multiply_waiting();
    for_rows(k, [&](int r) {
      const StepSequence<HostKv>& s = step_.sequences[static_cast<std::size_t>(row_sequence_[r])];
      const pos_t position = s.position + r - s.first_row;
      cpu::kv_write_row<A>(*s.kv, s.kv->keys, shape, position, k.row(r));
      cpu::kv_write_row<A>(*s.kv, s.kv->values, shape, position, v.row(r));
    });
  }

  void attend(const AttentionShape& shape, Rows q, Rows out) {
    multiply_waiting();
    const cpu::AttentionTiles tiles(shape, step_.sequences);
    const auto tile = [&](int i) { return tiles.tile(i, q, out); };
    const auto kv = [&](const cpu::AttentionTile& t) -> const HostKv& { return *step_.sequences[t.sequence].kv; };
    if (q.n == 1 && tiles.count() < 4 * executor_.lanes) return attend_in_segments(shape, kv(tile(0)), tiles, q, out);
    for_pieces(tiles.count(), 1, 1 << 14, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const cpu::AttentionTile t = tile(i);
        cpu::attend_tile<A>(kv(t), shape, t);
      }
    });
  }

  template <Activation act>
  void activate_gate(Rows gate, Rows up) {
    multiply_waiting();
    for_rows(gate, [&](int r) { cpu::gate_row<A, act>(gate.row(r), up.row(r), gate.columns); });
  }
  template <Activation act>
  void activate(Rows x) {
    multiply_waiting();
    for_rows(x, [&](int r) { cpu::activate_row<A, act>(x.row(r), x.columns); });
  }

  void add(Rows x, Rows y, f32 scale) {
    multiply_waiting();
    for_rows(x, [&](int r) { cpu::add_row<A>(x.row(r), y.row(r), x.columns, scale); });
  }

  void select(Rows x, Rows y) {
    multiply_waiting();
    for (int i = 0; i < y.n; ++i)
      std::copy_n(x.row(step_.logit_rows[static_cast<std::size_t>(i)]), x.columns, y.row(i));
  }

  void finish_logits(Rows x, f32 scale, f32 softcap) {
    multiply_waiting();
    if (scale == 1.f && softcap == 0.f) return;
    for_rows(x, [&](int r) { cpu::scale_and_cap_row<A>(x.row(r), x.columns, scale, softcap); });
  }

  bool end_layer() {
    multiply_waiting();
    return step_.cancel == nullptr || !step_.cancel->load(std::memory_order_relaxed);
  }

  expected<void> download(Rows x, std::span<f32> out) {
    multiply_waiting();
    std::copy_n(x.data, static_cast<std::size_t>(x.n) * static_cast<std::size_t>(x.columns), out.data());
    return {};
  }

  expected<void> kv_copy(const HostKv& from, const HostKv& to, int length) { return host_kv_copy(from, to, length); }
  expected<void> kv_save(const HostKv& kv, int length, std::span<std::byte> out) {
    return host_kv_save(kv, length, out);
  }
  expected<void> kv_load(const HostKv& kv, int length, std::span<const std::byte> in) {
    return host_kv_load(kv, length, in);
  }

 private:
  struct Product {
    const void* weights;
    int rows, columns;
    Prepared x;
    Rows y;
    const f32* bias;
    void (*multiply)(const Product&, int begin, int end) noexcept;
  };

  /// One row: what a few heads would not divide among the threads is divided along the keys, at the places where
  /// attend_tile() merges too.
  void attend_in_segments(const AttentionShape& shape, const HostKv& kv, const cpu::AttentionTiles& tiles, Rows q,
                          Rows out) {
    const int d = shape.head_dim;
    const cpu::Segments segments(shape, tiles.tile(0, q, out));
    const auto heads = static_cast<std::size_t>(shape.heads);
    const auto partial = [&](int segment, int head) {
      return partials_ +
             (static_cast<std::size_t>(segment) * heads + static_cast<std::size_t>(head)) * static_cast<std::size_t>(d);
    };
    const auto state = [&](int segment, int head) {
      return states_ + static_cast<std::size_t>(segment) * heads + static_cast<std::size_t>(head);
    };
    for_pieces(tiles.count() * segments.count, 1, 1 << 14, [&](int begin, int end) {
      for (int i = begin; i < end; ++i) {
        const int segment = i / tiles.count();
        const cpu::AttentionTile t = tiles.tile(i % tiles.count(), q, out);
        cpu::attend_segment<A>(kv, shape, t, segments.begin(segment), partial(segment, t.head), 0,
                               state(segment, t.head));
      }
    });
    for (int h = 0; h < shape.heads; ++h) {
      f32* const to = out.data + h * d;
      std::copy_n(partial(0, h), d, to);
      cpu::SoftmaxState sum = *state(0, h);
      for (int s = 1; s < segments.count; ++s) cpu::merge<A>(sum, to, *state(s, h), partial(s, h), d);
      cpu::scale_vector<A>(to, d, 1.f / sum.total);
    }
  }

  void multiply_waiting() {
    if (waiting_ == 0) return;
    const std::span<const Product> all(products_.data(), std::exchange(waiting_, 0));
    const int n = all[0].y.n, grain = n == 1 ? 16 : cpu::panel_rows;
    const auto units_of = [&](const Product& p) { return (p.rows + grain - 1) / grain; };
    int units = 0;
    long long work = 0;
    for (const Product& p : all) units += units_of(p), work += static_cast<long long>(p.rows) * p.columns * p.y.n;
    for_pieces(units, 1, work / units, [&](int begin, int end) {
      int at = 0;
      for (const Product& p : all) {
        const int from = std::max(begin - at, 0), to = std::min(end - at, units_of(p));
        if (from < to) p.multiply(p, from * grain, std::min(to * grain, p.rows));
        at += units_of(p);
      }
    });
  }

  /// Output columns [begin, end) of all rows.
  template <class Q>
  static void multiply(const HostMatrix<Q>& m, const Prepared& x, Rows y, const f32* bias, int begin,
                       int end) noexcept {
    if constexpr (QuantizedFormat<Q>)
      cpu::multiply_quantized<A, Q>(m, x.chunks, cpu::chunks_of(m.columns), y, bias, begin, end);
    else if constexpr (Q::block_len == 1 && requires(const typename Q::Block* w) { cpu::widen<A>(w); })
      cpu::multiply_dense<A, Q>(m, x.rows, x.lanes, y, bias, begin, end);
    else
      cpu::multiply_dequantized<A, Q>(m, x.rows, y, bias, begin, end);
  }

  /// As parallel_for, but on the calling thread if the pieces are worth less than waking the others.
  void for_pieces(int count, int grain, long long work_per_item, FunctionRef<void(int, int)> body) const {
    constexpr long long worth_waking = 1 << 14;  // element operations: a few microseconds
    if (count * work_per_item >= worth_waking)
      parallel_for(executor_, count, grain, body);
    else if (count > 0)
      body(0, count);
  }
  template <class Body>
  void for_rows(const Rows& x, Body&& body) const {
    for_pieces(x.n, 1, x.columns, [&](int begin, int end) {
      for (int r = begin; r < end; ++r) body(r);
    });
  }

  void fill_angles(const RopeFrequencies& f, pos_t position, f32* out) const noexcept {
    const std::size_t pairs = f.inverse.size();
    for (std::size_t p = 0; p < pairs; ++p) {
      f64 cosine, sine;
      cos_sin(position * f.inverse[p], cosine, sine);
      out[p] = static_cast<f32>(cosine * f.magnitude);
      out[pairs + p] = static_cast<f32>(sine * f.magnitude);
    }
  }
  f32* angles(int table, int row) const noexcept {
    return angles_ +
           2 * static_cast<std::size_t>(pairs_) *
               (static_cast<std::size_t>(table) * static_cast<std::size_t>(rows_) + static_cast<std::size_t>(row));
  }

  Executor executor_;
  Step<HostKv> step_;
  f32* angles_ = nullptr;
  int* row_sequence_ = nullptr;
  cpu::Q8Chunk* chunks_ = nullptr;
  f32* lanes_ = nullptr;
  f32* partials_ = nullptr;              ///< [segments, heads, D], of one row's attention
  cpu::SoftmaxState* states_ = nullptr;  ///< [segments, heads]
  int pairs_ = 0;
  int rows_ = 0;
  std::array<Product, 3> products_{};  ///< the first waiting_ of them
  std::size_t waiting_ = 0;
};

#if defined(__SSE2__) || defined(__aarch64__)
static_assert(Backend<CpuSimd<>>);
#endif

}  // namespace tmodel::inline v0
