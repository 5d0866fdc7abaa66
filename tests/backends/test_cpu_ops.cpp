// CpuSimd's operations other than matrix products, against Reference<f64>; and that rows and threads leave no trace.

#include "backends/op_cases.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"

namespace tmodel::testing {
namespace {

using Cpu = CpuSimd<>;
using Exact = Reference<f64>;
constexpr int one_thread = 1;

// Largest error over largest value. f32 keeps 6e-8; sums of a few hundred terms in eight lanes lose a few units.
constexpr f64 elementwise_tolerance = 5e-7;
constexpr f64 norm_tolerance = 1e-6;
constexpr f64 attention_tolerance = 3e-6;
constexpr f64 rope_tolerance = 1e-6;

const int widths[] = {1, 3, 8, 24, 172, 576, 577, 1536};

TEST(cpu_ops, norms_of_every_width_and_kind_follow_the_reference) {
  for (const int n : widths)
    for (const bool bias : {false, true})
      for (const f32 mean : {0.f, 3.f}) {
        const Table x = normal_table(5, n, 7, 2.f, mean);
        const f64 rms = largest_error(run_norm<Cpu, NormKind::rms>(x, 1, true, bias, 1e-5f, 2),
                                      run_norm<Exact, NormKind::rms>(x, 1, true, bias, 1e-5f, 1));
        EXPECT_LE(rms, norm_tolerance) << "rms " << n;
        const f64 layer = largest_error(run_norm<Cpu, NormKind::layer>(x, 1, true, bias, 1e-5f, 2),
                                        run_norm<Exact, NormKind::layer>(x, 1, true, bias, 1e-5f, 1));
        EXPECT_LE(layer, n == 1 ? 1 : 2 * norm_tolerance) << "layer " << n;
      }
}

TEST(cpu_ops, norms_of_heads_share_or_split_their_scale) {
  for (const bool whole : {false, true}) {
    const Table x = normal_table(4, 9 * 40, 8);
    const auto got = run_norm<Cpu, NormKind::rms>(x, 9, whole, false, 1e-6f, 2);
    EXPECT_LE(largest_error(got, run_norm<Exact, NormKind::rms>(x, 9, whole, false, 1e-6f, 1)), norm_tolerance);
    EXPECT_GT(largest_error(got, run_norm<Exact, NormKind::rms>(x, 9, !whole, false, 1e-6f, 1)), 0.1);
  }
}

TEST(cpu_ops, sums_and_activations_follow_the_reference) {
  for (const int n : widths)
    for (const f32 scale : {0.1f, 1.f, 30.f}) {  // 30: both tails, where exp overflows or vanishes
      const Table x = normal_table(3, n, 9, scale), y = normal_table(3, n, 10);
      const auto compare = [&](const char* what, auto body) {
        EXPECT_LE(largest_error(on_rows<Cpu>(x, y, 2, body), on_rows<Exact>(x, y, one_thread, body)),
                  elementwise_tolerance)
            << what << " " << n << " " << scale;
      };
      compare("add", [](auto& q, auto a, auto b) { return q.add(a, b, 0.7f), a; });
      compare("silu gate", [](auto& q, auto a, auto b) { return q.template activate_gate<Activation::silu>(a, b), a; });
      compare("gelu_tanh gate",
              [](auto& q, auto a, auto b) { return q.template activate_gate<Activation::gelu_tanh>(a, b), a; });
      compare("gelu_erf gate",
              [](auto& q, auto a, auto b) { return q.template activate_gate<Activation::gelu_erf>(a, b), a; });
      compare("silu", [](auto& q, auto a, auto) { return q.template activate<Activation::silu>(a), a; });
      compare("gelu_tanh", [](auto& q, auto a, auto) { return q.template activate<Activation::gelu_tanh>(a), a; });
      compare("gelu_erf", [](auto& q, auto a, auto) { return q.template activate<Activation::gelu_erf>(a), a; });
      compare("scaled logits", [](auto& q, auto a, auto) { return q.finish_logits(a, 0.125f, 0.f), a; });
      compare("capped logits", [](auto& q, auto a, auto) { return q.finish_logits(a, 1.5f, 30.f), a; });
    }
}

TEST(cpu_ops, the_approximation_of_another_activation_is_outside_the_tolerance) {
  const Table x = normal_table(3, 576, 9), y = normal_table(3, 576, 10);
  const auto tanh_form =
      on_rows<Cpu>(x, y, 1, [](auto& q, auto a, auto) { return q.template activate<Activation::gelu_tanh>(a), a; });
  const auto erf_form =
      on_rows<Exact>(x, y, 1, [](auto& q, auto a, auto) { return q.template activate<Activation::gelu_erf>(a), a; });
  EXPECT_GT(largest_error(tanh_form, erf_form), 10 * elementwise_tolerance);
}

TEST(cpu_ops, the_exponential_is_right_to_two_units_in_the_last_place) {
  using A = cpu::default_arch;
  const auto at = [](f32 x) {
    alignas(32) f32 out[cpu::lanes<A>];
    cpu::store<A>(out, cpu::exp<A>(cpu::Floats<A>(x)));
    return out[0];
  };
  f64 worst = 0;
  for (f32 x = -87.3f; x < 88.3f; x += 0.0137f) {
    const f64 want = std::exp(static_cast<f64>(x));
    worst = std::max(worst, std::fabs(static_cast<f64>(at(x)) - want) / want);
  }
  EXPECT_LE(worst, 2 * 0x1p-23);
  EXPECT_EQ(at(0.f), 1.f);
  EXPECT_EQ(at(-1000.f), 0.f);
  EXPECT_EQ(at(-HUGE_VALF), 0.f);
  EXPECT_EQ(at(1000.f), HUGE_VALF);
  EXPECT_EQ(at(HUGE_VALF), HUGE_VALF);
  EXPECT_TRUE(std::isnan(at(NAN)));
}

TEST(cpu_ops, conversions_of_half_floats_are_exact_for_every_pattern) {
  using A = cpu::default_arch;
  for (unsigned first = 0; first < 65536; first += cpu::lanes<A>) {
    f16 half[cpu::lanes<A>], again[cpu::lanes<A>];
    bf16 brain[cpu::lanes<A>];
    f32 from_half[cpu::lanes<A>], from_brain[cpu::lanes<A>];
    for (unsigned i = 0; i < cpu::lanes<A>; ++i) half[i].bits = brain[i].bits = static_cast<std::uint16_t>(first + i);
    cpu::store<A>(from_half, cpu::widen<A>(half));
    cpu::store<A>(from_brain, cpu::widen<A>(brain));
    cpu::narrow_row<A>(from_half, cpu::lanes<A>, again);
    for (unsigned i = 0; i < cpu::lanes<A>; ++i) {
      const f32 want = to_f32(half[i]);
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(from_half[i]));
        continue;
      }
      ASSERT_EQ(std::bit_cast<std::uint32_t>(from_half[i]), std::bit_cast<std::uint32_t>(want)) << half[i].bits;
      ASSERT_EQ(again[i].bits, half[i].bits);
      if (!std::isnan(to_f32(brain[i]))) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(from_brain[i]), std::bit_cast<std::uint32_t>(to_f32(brain[i])));
      }
    }
  }
}

AttentionCase attention_case(int heads, int kv_heads, int head_dim, std::vector<Span> spans) {
  AttentionCase c;
  c.shape = {.cache = 1,
             .heads = heads,
             .kv_heads = kv_heads,
             .head_dim = head_dim,
             .rotary_dim = head_dim,
             .scale = 1.f / std::sqrt(static_cast<f32>(head_dim))};
  c.spans = std::move(spans);
  return c;
}

TEST(cpu_ops, attention_follows_the_reference_around_the_borders_of_key_blocks) {
  for (const int length : {1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 200})
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0}) {
      AttentionCase c = attention_case(6, 2, 64, {{1, length - 1}});
      c.type = type;
      EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance)
          << length << " " << static_cast<int>(type);
      c.spans = {{length, 0}};
      EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance)
          << length << " " << static_cast<int>(type);
    }
}

TEST(cpu_ops, attention_follows_the_reference_around_the_borders_of_segments) {
  for (const int length : {511, 512, 513, 1100}) {
    AttentionCase c = attention_case(3, 1, 64, {{1, length - 1}});
    c.type = KvType::f16;
    EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance) << length;
    c.spans = {{5, length - 5}};
    EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance) << length;
  }
}

TEST(cpu_ops, attention_takes_every_head_size_and_group) {
  for (const int head_dim : {4, 7, 8, 12, 24, 33, 48, 64, 80, 96, 128, 256})
    for (const auto& [heads, kv_heads] : {std::pair{4, 4}, {4, 1}, {6, 3}, {7, 1}, {40, 1}}) {
      const AttentionCase c = attention_case(heads, kv_heads, head_dim, {{19, 60}});
      EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance)
          << head_dim << " " << heads << "/" << kv_heads;
    }
  for (const int head_dim : {1023, 1024}) {
    const AttentionCase c = attention_case(2, 1, head_dim, {{3, 20}});
    EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance) << head_dim;
  }
}

TEST(cpu_ops, what_is_infinite_in_a_key_or_value_shows_in_the_rows_that_see_it_only) {
  for (const KvType type : {KvType::f32, KvType::f16})
    for (const pos_t bad : {80, 90, 91}) {
      AttentionCase c = attention_case(3, 1, 64, {{40, 60}, {5, 0}});
      c.type = type;
      const auto without = run_attention<Cpu>(c, 2);
      c.infinite = bad;
      const auto with = run_attention<Cpu>(c, 2);
      for (int r = 0; r < 45; ++r)
        for (std::size_t i = static_cast<std::size_t>(r) * 192; i < static_cast<std::size_t>(r + 1) * 192; ++i)
          if (r < 40 && 60 + r >= bad)
            ASSERT_FALSE(std::isfinite(with[i])) << r;
          else
            ASSERT_EQ(std::bit_cast<std::uint32_t>(with[i]), std::bit_cast<std::uint32_t>(without[i])) << r;
    }
}

TEST(cpu_ops, attention_windows_soft_caps_and_large_scores) {
  for (const int window : {1, 3, 8, 63, 64, 65, 100})
    for (const f32 cap : {0.f, 5.f})
      for (const f32 scale : {1.f, 40.f}) {
        AttentionCase c = attention_case(4, 2, 32, {{1, 149}});
        c.shape.window = window;
        c.shape.softcap = cap;
        c.score_scale = scale;
        // A score of 40 times the scale carries 40 times the rounding error into the exponent.
        const f64 tolerance = attention_tolerance * static_cast<f64>(scale);
        EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), tolerance)
            << window << " " << cap << " " << scale;
        c.spans = {{150, 0}};
        EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), tolerance)
            << window << " " << cap << " " << scale;
      }
}

TEST(cpu_ops, attention_windows_that_begin_and_end_in_any_segment) {
  for (const int window : {500, 513, 1030})
    for (const int length : {512, 1025, 1300}) {
      AttentionCase c = attention_case(2, 1, 32, {{1, length - 1}});
      c.shape.window = window;
      EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance)
          << window << " " << length;
      c.spans = {{20, length - 20}};  // rows of one tile whose windows begin in different segments
      EXPECT_LE(largest_error(run_attention<Cpu>(c, 2), run_attention<Exact>(c, 1)), attention_tolerance)
          << window << " " << length;
    }
}

TEST(cpu_ops, windows_that_leave_blocks_to_some_rows_of_a_tile) {
  for (const int heads : {1, 3})
    for (const int window : {7, 25}) {
      AttentionCase c = attention_case(heads, 1, 32, {{32, 64}});
      c.shape.window = window;
      EXPECT_LE(largest_error(run_attention<Cpu>(c, 1), run_attention<Exact>(c, 1)), attention_tolerance) << window;
    }
}

TEST(cpu_ops, a_key_too_many_in_the_window_is_outside_the_tolerance) {
  AttentionCase c = attention_case(4, 2, 32, {{1, 149}});
  c.shape.window = 65;
  const auto got = run_attention<Cpu>(c, 2);
  c.shape.window = 66;
  EXPECT_GT(largest_error(got, run_attention<Exact>(c, 1)), 100 * attention_tolerance);
}

TEST(cpu_ops, rotation_in_both_pairings_and_parts_of_a_head) {
  for (const auto pairing : {RopePairing::halves, RopePairing::interleaved})
    for (const int rotary : {8, 20, 64})
      for (const pos_t position : {0, 5, 1000}) {
        AttentionCase c = attention_case(4, 2, 64, {{3, position}});
        c.rotate = true;
        c.shape.rotary_dim = rotary;
        c.shape.pairing = pairing;
        RopeParams params;
        params.theta = 10000;
        c.frequencies = *rope_frequencies(params, rotary, 2048);
        c.frequencies.magnitude = 1.1;
        const auto got = run_attention<Cpu>(c, 2);
        EXPECT_LE(largest_error(got, run_attention<Exact>(c, 1)), attention_tolerance + rope_tolerance)
            << rotary << " " << position;
        if (rotary > 8 && position > 5) {
          c.shape.pairing = pairing == RopePairing::halves ? RopePairing::interleaved : RopePairing::halves;
          EXPECT_GT(largest_error(got, run_attention<Exact>(c, 1)), 0.01);
        }
      }
}

TEST(cpu_ops, rows_of_attention_keep_their_bits_alone_in_a_batch_and_on_any_threads) {
  for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0})
    for (const int window : {0, 70})
      for (const int head_dim : {32, 96}) {
        AttentionCase c = attention_case(6, 2, head_dim, {{130, 0}, {1, 99}, {7, 60}});
        c.type = type;
        c.shape.window = window;
        const auto all = run_attention<Cpu>(c, 1);
        for (const int threads : {2, 3, 5}) EXPECT_EQ(run_attention<Cpu>(c, threads), all) << threads;
        const auto columns = static_cast<std::size_t>(6 * head_dim);
        for (const int r : {0, 1, 31, 63, 64, 65, 100, 129}) {  // rows of the first session, each alone
          AttentionCase alone = c;
          alone.spans = {{1, r}};
          alone.spans[0].position = r;
          // The numbers of a position do not depend on how long the session's table is.
          const auto one = run_attention<Cpu>(alone, 2);
          EXPECT_EQ(std::memcmp(one.data(), all.data() + static_cast<std::size_t>(r) * columns, columns * sizeof(f32)),
                    0)
              << r;
        }
      }
}

TEST(cpu_ops, a_row_has_the_bits_of_its_prompt_when_its_keys_are_divided_among_threads) {
  for (const int window : {0, 600})
    for (const pos_t position : {505, 1017, 1290}) {
      AttentionCase c = attention_case(3, 1, 64, {{12, position}});
      c.type = KvType::f16;
      c.shape.window = window;
      const auto all = run_attention<Cpu>(c, 2);
      for (const int r : {0, 6, 7, 11})
        for (const int threads : {1, 2, 5}) {
          AttentionCase alone = c;
          alone.spans = {{1, position + r}};
          const auto one = run_attention<Cpu>(alone, threads);
          EXPECT_EQ(std::memcmp(one.data(), all.data() + static_cast<std::size_t>(r) * 192, 192 * sizeof(f32)), 0)
              << position << " + " << r;
        }
    }
}

TEST(cpu_ops, rows_keep_their_bits_whatever_stands_beside_them) {
  const Table x = normal_table(64, 577, 3, 2.f), y = normal_table(64, 577, 4);
  const auto check = [&](auto body) {
    const auto all = on_rows<Cpu>(x, y, 1, body);
    for (const int threads : {2, 3, 5}) EXPECT_EQ(on_rows<Cpu>(x, y, threads, body), all);
    for (const int r : {0, 17, 63}) {
      const Table one_x{1, 577, {x.row(r), x.row(r) + 577}}, one_y{1, 577, {y.row(r), y.row(r) + 577}};
      const auto one = on_rows<Cpu>(one_x, one_y, 2, body);
      EXPECT_EQ(std::memcmp(one.data(), all.data() + static_cast<std::size_t>(r) * 577, 577 * sizeof(f32)), 0);
    }
  };
  check([](auto& q, auto a, auto b) { return q.template activate_gate<Activation::silu>(a, b), a; });
  check([](auto& q, auto a, auto b) { return q.template activate_gate<Activation::gelu_erf>(a, b), a; });
  check([](auto& q, auto a, auto b) { return q.add(a, b, 0.3f), a; });
}

TEST(cpu_ops, the_rows_whose_logits_are_wanted_are_selected) {
  const Table x = normal_table(4, 24, 5);
  const auto got = on_rows<Cpu>(x, x, 1, [](auto& q, auto a, auto b) { return q.select(a, b.first(1)), b.first(1); });
  EXPECT_EQ(got, std::vector<f32>(x.row(3), x.row(3) + 24));
}

TEST(cpu_ops, a_set_cancel_flag_ends_the_step_after_a_layer) {
  const Table x = normal_table(1, 8, 5);
  on_rows<Cpu>(x, x, 1, [](auto& q, auto a, auto) {
    std::atomic<bool> cancel{false};
    PlainStep<Cpu> plain(1);
    auto step = plain.get();
    step.cancel = &cancel;
    q.begin(step);
    EXPECT_TRUE(q.end_layer());
    cancel = true;
    EXPECT_FALSE(q.end_layer());
    return a;
  });
}

TEST(cpu_ops, head_dimensions_that_do_not_fit_are_an_error_value) {
  auto arena = Cpu::Arena::counting();
  QueueLimits limits = limits_of(1, 32);
  limits.head_dim = cpu::max_head_dim + 1;
  const auto queue = Cpu::Queue::make(nullptr, arena, limits);
  ASSERT_FALSE(queue);
  EXPECT_EQ(queue.error().code, Errc::unsupported);
}

}  // namespace
}  // namespace tmodel::testing
