// Every operation of OpenCl against Reference, on sizes around the work-groups' and blocks' edges.

#include "lab.hpp"

namespace {

using namespace lab;

// f32 sums of a few hundred terms against f64, on values of order one.
constexpr f64 rounding = 4e-6;

template <class L>
using KvOf = typename std::remove_reference_t<L>::Kv;

const char* describe(const std::string& text) {
  static std::string kept;
  kept = text;
  return kept.c_str();
}

template <class Q>
class OpenClFormat : public ::testing::Test {
 protected:
  static std::vector<int> widths() {
    return Q::block_len == 1 ? std::vector{1, 7, 8, 9, 63, 64, 65, 200} : std::vector{32, 64, 256, 288, 320};
  }
};
using Formats = ::testing::Types<F32, F16, Q8_0, Q4_0>;
TYPED_TEST_SUITE(OpenClFormat, Formats);

TYPED_TEST(OpenClFormat, embedding_rows_are_the_reference_bits) {
  for (const int columns : this->widths()) {
    const auto bytes = stored<TypeParam>(random_floats(5 * static_cast<std::size_t>(columns), 1));
    const std::vector<token_t> ids{4, 0, 2};
    expect_close(
        {.rows = 3}, 0,
        [&](auto& lab) {
          const auto m = lab.template matrix<TypeParam>(bytes, 5, columns);
          const auto x = lab.empty_rows(3, columns);
          if (lab.real()) {
            lab.queue().begin(step<KvOf<decltype(lab)>>(ids));
            lab.queue().embed(m, x, 2.5f);
          }
          return lab.read(x);
        },
        describe("columns " + std::to_string(columns)));
  }
}

TYPED_TEST(OpenClFormat, matrix_product_matches_reference) {
  for (const int columns : this->widths())
    for (const int outputs : {1, 7, 8, 9, 33})
      for (const int rows : {1, 2, 4, 5}) {
        const auto k = static_cast<std::size_t>(columns);
        const auto bytes = stored<TypeParam>(random_floats(static_cast<std::size_t>(outputs) * k, 2));
        const auto x_values = random_floats(static_cast<std::size_t>(rows) * k, 3);
        const auto bias_values = random_floats(static_cast<std::size_t>(outputs), 4);
        expect_close(
            {.rows = rows}, rounding,
            [&](auto& lab) {
              const auto m = lab.template matrix<TypeParam>(bytes, outputs, columns);
              const auto x = lab.rows(rows, x_values);
              const auto bias = lab.vec(bias_values);
              const auto y = lab.empty_rows(rows, outputs);
              if (lab.real())
                lab.queue().matmul(m, lab.queue().prepare(x, TypeParam::acts), y, rows == 2 ? decltype(bias){} : bias);
              return lab.read(y);
            },
            describe(std::to_string(rows) + " rows, " + std::to_string(columns) + " -> " + std::to_string(outputs)));
      }
}

TYPED_TEST(OpenClFormat, matrix_product_gives_a_row_the_same_bits_alone_and_among_others) {
  const int columns = this->widths().back(), outputs = 19, rows = 7;
  const auto k = static_cast<std::size_t>(columns);
  const auto bytes = stored<TypeParam>(random_floats(static_cast<std::size_t>(outputs) * k, 5));
  const auto values = random_floats(rows * k, 6);
  const auto product = [&](int first, int n) {
    const std::vector<f32> part(values.begin() + static_cast<std::ptrdiff_t>(first * columns),
                                values.begin() + static_cast<std::ptrdiff_t>((first + n) * columns));
    return perform<OpenCl<f32>>({.rows = n}, [&](auto& lab) {
      const auto m = lab.template matrix<TypeParam>(bytes, outputs, columns);
      const auto x = lab.rows(n, part);
      const auto y = lab.empty_rows(n, outputs);
      if (lab.real()) lab.queue().matmul(m, x, y, {});
      return lab.read(y);
    });
  };
  const std::vector<f32> together = product(0, rows);
  std::vector<f32> alone;
  for (int r = 0; r < rows; ++r)
    for (const f32 v : product(r, 1)) alone.push_back(v);
  EXPECT_EQ(together, alone);
}

TYPED_TEST(OpenClFormat, converted_matrix_equals_the_stored_one) {
  const int columns = this->widths().back(), outputs = 3000;  // several uploads
  const auto bytes =
      stored<TypeParam>(random_floats(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(columns), 7));
  const std::size_t row_bytes = bytes.size() / static_cast<std::size_t>(outputs);
  std::vector<token_t> ids{0, 1, 1499, 2998, 2999};
  const auto rows_of = [&](bool converted) {
    return perform<OpenCl<f32>>({.rows = 5}, [&](auto& lab) {
      const auto fill = [&](int row, typename TypeParam::Block* out) {
        std::memcpy(out, bytes.data() + static_cast<std::size_t>(row) * row_bytes, row_bytes);
      };
      const auto m = converted ? lab.template converted<TypeParam>(outputs, columns, fill)
                               : lab.template matrix<TypeParam>(bytes, outputs, columns);
      const auto x = lab.empty_rows(5, columns);
      if (lab.real()) {
        lab.queue().begin(step<KvOf<decltype(lab)>>(ids));
        lab.queue().embed(m, x, 1.f);
      }
      return lab.read(x);
    });
  };
  EXPECT_EQ(rows_of(true), rows_of(false));
}

template <NormKind kind>
void check_norm(int n, int pieces, bool own_scale, bool bias) {
  const int rows = 3;
  const auto width = static_cast<std::size_t>(n) * static_cast<std::size_t>(pieces);
  auto values = random_floats(rows * width, 8);
  for (f32& v : values) v += 0.25f;  // a mean that matters
  const auto scales = random_floats(own_scale ? width : static_cast<std::size_t>(n), 9),
             biases = random_floats(scales.size(), 10);
  expect_close(
      {.rows = rows}, n < 3 ? 1e-4 : rounding,
      [&](auto& lab) {  // a variance of one or two elements cancels
        const auto x = lab.rows(rows, values);
        const auto scale = lab.vec(scales), b = lab.vec(biases);
        if (lab.real()) {
          const NormWeights<std::remove_const_t<decltype(scale)>> w{scale, bias ? b : decltype(b){}, 1e-5f};
          if (pieces == 1)
            lab.queue().template norm<kind>(x, w, x);
          else
            lab.queue().template norm_heads<kind>(x, pieces, w, x);
        }
        return lab.read(x);
      },
      describe("n " + std::to_string(n) + " pieces " + std::to_string(pieces)));
}

TEST(OpenClOps, norms_match_reference) {
  for (const int n : {1, 5, 63, 64, 65, 300})
    for (const int pieces : {1, 3})
      for (const bool own : {false, true})
        for (const bool bias : {false, true}) {
          check_norm<NormKind::rms>(n, pieces, own, bias);
          check_norm<NormKind::layer>(n, pieces, own, bias);
        }
}

TEST(OpenClOps, norm_writes_to_another_buffer_too) {
  const auto values = random_floats(2 * 70, 11), scales = random_floats(70, 12);
  expect_close({.rows = 2}, rounding, [&](auto& lab) {
    const auto x = lab.rows(2, values);
    const auto y = lab.empty_rows(2, 70);
    const auto scale = lab.vec(scales);
    if (lab.real()) lab.queue().template norm<NormKind::rms>(x, {scale, {}, 1e-6f}, y);
    auto out = lab.read(x);
    for (const f32 v : lab.read(y)) out.push_back(v);
    return out;
  });
}

/// Frequencies of two tables that differ.
std::vector<RopeFrequencies> frequencies(int rotary_dim) {
  std::vector<RopeFrequencies> tables;
  for (const f64 theta : {1e4, 5e5}) {
    RopeParams p;
    p.theta = theta;
    tables.push_back(*rope_frequencies(p, rotary_dim, 1000));
  }
  tables[1].magnitude = 1.5;
  return tables;
}

TEST(OpenClOps, rotation_matches_reference) {
  struct Case {
    int heads, head_dim, rotary_dim, table;
    RopePairing pairing;
  };
  for (const Case& c : {Case{1, 2, 2, 0, RopePairing::halves}, Case{3, 64, 64, 0, RopePairing::halves},
                        Case{3, 64, 64, 1, RopePairing::interleaved}, Case{2, 80, 32, 1, RopePairing::halves},
                        Case{2, 80, 32, 0, RopePairing::interleaved}, Case{2, 256, 256, 1, RopePairing::interleaved}}) {
    const auto tables = frequencies(c.rotary_dim);
    const int n = 5;
    const auto values = random_floats(static_cast<std::size_t>(n) * static_cast<std::size_t>(c.heads * c.head_dim), 13);
    const std::vector<token_t> ids(static_cast<std::size_t>(n), 0);
    const QueueLimits limits{
        .rows = 6, .sequences = 2, .rotary_pairs = c.rotary_dim / 2, .rope_tables = 2, .head_dim = c.head_dim};
    expect_close(
        limits, rounding,
        [&](auto& lab) {
          using Kv = typename std::remove_reference_t<decltype(lab)>::Kv;
          const auto x = lab.rows(n, values);
          const StepSequence<Kv> sequences[2] = {{.rope = &tables, .first_row = 0, .rows = 2, .position = 30000},
                                                 {.rope = &tables, .first_row = 2, .rows = 3, .position = 0}};
          if (lab.real()) {
            lab.queue().begin(step<KvOf<decltype(lab)>>(ids, sequences));
            lab.queue().rope(
                x, c.heads,
                {.head_dim = c.head_dim, .rotary_dim = c.rotary_dim, .rope_table = c.table, .pairing = c.pairing});
          }
          return lab.read(x);
        },
        describe("head " + std::to_string(c.head_dim)));
  }
}

template <Activation act>
void check_activation() {
  auto gates = random_floats(3 * 67, 14), ups = random_floats(3 * 67, 15);
  for (f32& g : gates) g *= 8.f;
  gates[0] = 0.f, gates[1] = 100.f, gates[2] = -100.f, gates[3] = 1e-30f, gates[4] = NAN;
  expect_close(
      {.rows = 3}, rounding,
      [&](auto& lab) {
        const auto gate = lab.rows(3, gates), up = lab.rows(3, ups), alone = lab.rows(3, gates);
        if (lab.real()) {
          lab.queue().template activate_gate<act>(gate, up);
          lab.queue().template activate<act>(alone);
        }
        auto out = lab.read(gate);
        for (const f32 v : lab.read(alone)) out.push_back(v);
        return out;
      },
      describe("activation " + std::to_string(static_cast<int>(act))));
}

TEST(OpenClOps, activations_match_reference) {
  check_activation<Activation::silu>();
  check_activation<Activation::gelu_tanh>();
  check_activation<Activation::gelu_erf>();
}

TEST(OpenClOps, sum_selection_and_logits_match_reference) {
  const auto a = random_floats(4 * 67, 16), b = random_floats(4 * 67, 17);
  const std::vector<token_t> ids(4, 0);
  const std::vector<int> wanted{1, 3};
  for (const f32 softcap : {0.f, 0.5f})
    expect_close({.rows = 4}, rounding, [&](auto& lab) {
      const auto x = lab.rows(4, a), y = lab.rows(4, b);
      const auto last = lab.empty_rows(4, 67).first(2);
      if (lab.real()) {
        lab.queue().begin(step<KvOf<decltype(lab)>>(ids, {}, wanted));
        lab.queue().add(x, y, -0.75f);
        lab.queue().select(x, last);
        lab.queue().finish_logits(last, 0.3f, softcap);
      }
      return lab.read(last);
    });
}

struct AttentionCase {
  KvType type;
  int heads, kv_heads, head_dim, window;
  f32 softcap;
};

/// A cache that holds `before` positions, then one step of two sequences. All rows that attend sees are random.
template <class L>
std::vector<f32> attention(L& lab, const AttentionCase& c, std::vector<std::pair<int, int>> before_and_rows) {
  const int q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  const std::vector<RopeFrequencies> tables(1);
  const AttentionShape shape{.cache = 1,
                             .heads = c.heads,
                             .kv_heads = c.kv_heads,
                             .head_dim = c.head_dim,
                             .window = c.window,
                             .scale = 0.7f,
                             .softcap = c.softcap};
  int total = 0;
  std::vector<typename L::Kv*> kvs;
  for (const auto& [before, rows] : before_and_rows) {
    const bool windowed = c.window > 0;
    kvs.push_back(lab.kv({.layers = windowed ? 0 : 2,
                          .windowed_layers = windowed ? 2 : 0,
                          .kv_heads = c.kv_heads,
                          .head_dim = c.head_dim,
                          .capacity = before + rows + 1,
                          .ring = before + rows + 1,
                          .window = c.window,
                          .type = c.type}));
    if (before > 0) {  // one step per session: what was there
      const auto k = lab.rows(
          before, random_floats(static_cast<std::size_t>(before * kv_width), 18 + static_cast<unsigned>(total)));
      const auto v = lab.rows(
          before, random_floats(static_cast<std::size_t>(before * kv_width), 19 + static_cast<unsigned>(total)));
      const StepSequence<typename L::Kv> sequence{.kv = kvs.back(), .rope = &tables, .rows = before};
      const std::vector<token_t> ids(static_cast<std::size_t>(before), 0);
      if (lab.real()) {
        lab.queue().begin(step<KvOf<decltype(lab)>>(ids, {&sequence, 1}));
        lab.queue().kv_store(shape, k, v);
        lab.read(k);
      }
    }
    total += rows;
  }
  const auto n = static_cast<std::size_t>(total);
  const auto q = lab.rows(total, random_floats(n * static_cast<std::size_t>(q_width), 20));
  const auto k = lab.rows(total, random_floats(n * static_cast<std::size_t>(kv_width), 21));
  const auto v = lab.rows(total, random_floats(n * static_cast<std::size_t>(kv_width), 22));
  const auto o = lab.empty_rows(total, q_width);
  std::vector<StepSequence<typename L::Kv>> sequences;
  int row = 0;
  for (std::size_t s = 0; s < kvs.size(); ++s) {
    sequences.push_back({.kv = kvs[s],
                         .rope = &tables,
                         .first_row = row,
                         .rows = before_and_rows[s].second,
                         .position = before_and_rows[s].first});
    row += before_and_rows[s].second;
  }
  const std::vector<token_t> ids(n, 0);
  if (lab.real()) {
    lab.queue().begin(step<KvOf<decltype(lab)>>(ids, sequences));
    lab.queue().kv_store(shape, k, v);
    lab.queue().attend(shape, q, o);
  }
  return lab.read(o);
}

QueueLimits attention_limits(const AttentionCase& c) {
  return {.rows = 256, .sequences = 2, .heads = c.heads, .head_dim = c.head_dim};
}

TEST(OpenClOps, attention_matches_reference_for_types_windows_heads_and_several_sessions) {
  for (const AttentionCase& c :
       {AttentionCase{KvType::f32, 1, 1, 1, 0, 0}, AttentionCase{KvType::f32, 4, 2, 8, 0, 0},
        AttentionCase{KvType::f32, 3, 3, 20, 3, 0}, AttentionCase{KvType::f16, 3, 1, 33, 0, 0},
        AttentionCase{KvType::f16, 2, 1, 64, 64, 0}, AttentionCase{KvType::f16, 2, 2, 128, 65, 30.f},
        AttentionCase{KvType::q8_0, 4, 2, 32, 0, 0}, AttentionCase{KvType::q8_0, 2, 1, 96, 70, 1.f},
        AttentionCase{KvType::f32, 1, 1, 256, 1, 0}, AttentionCase{KvType::q8_0, 1, 1, 1024, 0, 0}})
    for (const auto& rows : {std::vector<std::pair<int, int>>{{0, 1}}, std::vector<std::pair<int, int>>{{63, 3}},
                             std::vector<std::pair<int, int>>{{130, 2}, {0, 5}}})
      expect_close(
          attention_limits(c), 1e-5, [&](auto& lab) { return attention(lab, c, rows); },
          describe("head " + std::to_string(c.head_dim) + " type " + std::to_string(static_cast<int>(c.type)) +
                   " window " + std::to_string(c.window)));
}

TEST(OpenClOps, attention_shows_a_nan_in_the_query) {
  const AttentionCase c{KvType::f32, 1, 1, 8, 0, 0};
  auto q_values = random_floats(8, 23);
  q_values[3] = NAN;
  const auto out = perform<OpenCl<f32>>(attention_limits(c), [&](auto& lab) {
    const std::vector<RopeFrequencies> tables(1);
    auto* kv = lab.kv({.layers = 1, .kv_heads = 1, .head_dim = 8, .capacity = 1, .type = KvType::f32});
    const auto q = lab.rows(1, q_values), k = lab.rows(1, random_floats(8, 24));
    const StepSequence<opencl::Kv> sequence{.kv = kv, .rope = &tables, .rows = 1};
    const std::vector<token_t> ids(1, 0);
    const AttentionShape shape{.heads = 1, .kv_heads = 1, .head_dim = 8};
    if (lab.real()) {
      lab.queue().begin(step<KvOf<decltype(lab)>>(ids, {&sequence, 1}));
      lab.queue().kv_store(shape, k, k);
      lab.queue().attend(shape, q, q);
    }
    return lab.read(q);
  });
  for (const f32 v : out) EXPECT_TRUE(std::isnan(v));
}

TEST(OpenClOps, a_row_attends_with_the_same_bits_whatever_stands_beside_it) {
  // The rows of the step are random in the order of the step: rows 0.. of the first session are the same in all.
  const AttentionCase c{KvType::f16, 2, 1, 64, 100, 0};
  const auto row = [&](std::vector<std::pair<int, int>> rows) {
    auto out = perform<OpenCl<f32>>(attention_limits(c), [&](auto& lab) { return attention(lab, c, rows); });
    out.resize(128);
    return out;
  };
  const auto alone = row({{130, 1}});
  EXPECT_EQ(alone, row({{130, 4}}));
  EXPECT_EQ(alone, row({{130, 3}, {7, 2}}));
}

}  // namespace
