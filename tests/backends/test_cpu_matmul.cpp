// CpuSimd's matrix products: every format against plain code and Reference<f64>, sizes around every border, saturation,
// and that an output's bits depend on nothing but its row of weights and its row of activations.

#include "backends/weights.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"

namespace tmodel::testing {
namespace {

using Cpu = CpuSimd<>;
using Exact = Reference<f64>;

// Errors over the sum of magnitudes of an output's products, so that cancellation does not count.
constexpr f64 float_tolerance = 3e-7;  // f32 sums in 4 or 8 chains of at most some hundred terms
constexpr f64 integer_tolerance =
    6e-7;  // against f64: exact integers, f32 sums; origins of codes may be subtracted in f32
constexpr f64 quantised_nmse = 1e-4;  // against unquantised activations: 8 bits in blocks of 32 give about 3e-5

struct Names {
  template <class Q>
  static std::string GetName(int) {
    return std::string(Q::name);
  }
};

template <class Q>
class CpuMatmul : public ::testing::Test {};
using Every =
    ::testing::Types<F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4>;
TYPED_TEST_SUITE(CpuMatmul, Every, Names);

template <class Q>
std::vector<int> column_counts() {
  if constexpr (Q::block_len == 1)
    return {1, 7, 8, 9, 31, 172, 577, 800, 1577, 2048};  // the last: rows a multiple of 4 KB apart
  else if constexpr (Q::block_len == 32)
    return {32, 96, 224, 256, 288, 352, 576, 864};
  else
    return {256, 512, 768};
}

/// y = x wT in f64 from what the kernel is meant to multiply, and for each output the sum of magnitudes.
template <class Q>
void expect_products(const std::vector<typename Q::Block>& w, int outputs, const Table& x, const std::vector<f32>& bias,
                     const std::vector<f32>& got, const char* what) {
  const auto columns = static_cast<std::size_t>(x.columns), row_blocks = columns / Q::block_len;
  std::vector<f32> weights(columns);
  std::vector<Q8Block> quantised(columns / q8_block_len);
  std::vector<f32> effective = x.values;
  if constexpr (QuantizedFormat<Q>)
    for (int r = 0; r < x.rows; ++r) {
      quantize_row({x.row(r), columns}, quantised.data());
      for (std::size_t i = 0; i < columns; ++i)
        effective[static_cast<std::size_t>(r) * columns + i] =
            quantised[i / 32].d * static_cast<f32>(quantised[i / 32].qs[i % 32]);
    }
  for (int o = 0; o < outputs; ++o) {
    Q::dequantize(w.data() + static_cast<std::size_t>(o) * row_blocks, weights);
    for (int r = 0; r < x.rows; ++r) {
      f64 want = bias.empty() ? 0.0 : static_cast<f64>(bias[static_cast<std::size_t>(o)]),
          magnitude = std::fabs(want) + 1e-30;
      const f32* const xs = effective.data() + static_cast<std::size_t>(r) * columns;
      for (std::size_t i = 0; i < columns; ++i) {
        const f64 product = static_cast<f64>(weights[i]) * static_cast<f64>(xs[i]);
        want += product;
        magnitude += std::fabs(product);
      }
      if constexpr (QuantizedFormat<Q>)
        if constexpr (Q::Integers::has_offsets) {  // code and offset are multiplied apart: their magnitudes count apart
          typename Q::Integers one;
          for (std::size_t b = 0; b < row_blocks; ++b) {
            Q::unpack(w[static_cast<std::size_t>(o) * row_blocks + b], one);
            for (std::size_t i = 0; i < Q::block_len; ++i)
              magnitude += 2 * std::fabs(static_cast<f64>(one.offsets[i / Q::Integers::sub_len]) *
                                         static_cast<f64>(xs[b * Q::block_len + i]));
          }
        }
      const f64 error = std::fabs(
          static_cast<f64>(
              got[static_cast<std::size_t>(r) * static_cast<std::size_t>(outputs) + static_cast<std::size_t>(o)]) -
          want);
      ASSERT_LE(error / magnitude, QuantizedFormat<Q> ? integer_tolerance : float_tolerance)
          << what << ": row " << r << ", output " << o << ", columns " << columns;
    }
  }
}

// Fewer where an instruction costs ten times as much: under sanitizers and emulation.
#if TMODEL_TEST_ALL
constexpr int all_rows[] = {1, 2, 3, 4, 7, 64, 67}, all_outputs[] = {1, 5, 24};
#else
constexpr int all_rows[] = {1, 3, 67}, all_outputs[] = {1, 5};
#endif

TYPED_TEST(CpuMatmul, every_size_is_the_sum_of_its_products) {
  using Q = TypeParam;
  for (const int columns : column_counts<Q>())
    for (const int rows : all_rows)
      for (const int outputs : all_outputs) {
        if (rows == 67 && outputs != 5) continue;
        const auto w = random_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, 5);
        const Table x = normal_table(rows, columns, 6);
        const std::vector<f32> bias = outputs == 5 ? normal_table(1, 5, 7).values : std::vector<f32>{};
        expect_products<Q>(w, outputs, x, bias, run_matmul<Cpu, Q>(w, outputs, x, bias, 2), "random");
        if (this->HasFatalFailure()) return;
      }
}

TYPED_TEST(CpuMatmul, outputs_have_the_bits_of_plain_code) {
  using Q = TypeParam;
  for (const int columns : column_counts<Q>())
    for (const int rows : {1, 2, 8, 9, 13})
      for (const int outputs : {3, 8, 37}) {
        const auto w = random_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, 8);
        const Table x = normal_table(rows, columns, 9);
        expect_ordered_bits<Q>(w, outputs, x, run_matmul<Cpu, Q>(w, outputs, x, {}, 2));
      }
}

TYPED_TEST(CpuMatmul, extreme_codes_and_activations_do_not_saturate) {
  using Q = TypeParam;
  const int columns = 512, outputs = 6;
  for (const int codes : {0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0}) {
    const auto w = extreme_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, codes);
    const Table x = extreme_table(4, columns);
    expect_products<Q>(w, outputs, x, {}, run_matmul<Cpu, Q>(w, outputs, x, {}, 1), "extreme");
    if (this->HasFatalFailure()) return;
  }
}

TYPED_TEST(CpuMatmul, products_are_near_those_of_unquantised_activations) {
  using Q = TypeParam;
  const auto w = random_weights<Q>(24 * 512 / Q::block_len, 15);
  const Table x = normal_table(7, 512, 16);
  EXPECT_LE(normalised_squared_error(run_matmul<Cpu, Q>(w, 24, x, {}, 2), run_matmul<Exact, Q>(w, 24, x, {}, 1)),
            quantised_nmse);
}

TYPED_TEST(CpuMatmul, a_kernel_that_drops_or_swaps_a_little_is_outside_the_tolerances) {
  using Q = TypeParam;
  const int columns = 512;
  const auto w = random_weights<Q>(24 * 512 / Q::block_len, 15);
  const Table x = normal_table(7, columns, 16);
  const auto want = run_matmul<Exact, Q>(w, 24, x, {}, 1);
  Table dropped = x, swapped = x;
  for (int r = 0; r < 7; ++r) {
    for (int i = 480; i < 512; ++i)
      dropped.values[static_cast<std::size_t>(r * columns + i)] = 0.f;  // the last block of 32
    for (int i = 0; i < columns; i += 64)  // high and low nibbles exchanged in one block of two
      std::swap_ranges(swapped.values.begin() + r * columns + i, swapped.values.begin() + r * columns + i + 16,
                       swapped.values.begin() + r * columns + i + 16);
  }
  EXPECT_GT(normalised_squared_error(run_matmul<Cpu, Q>(w, 24, dropped, {}, 1), want), 10 * quantised_nmse);
  EXPECT_GT(normalised_squared_error(run_matmul<Cpu, Q>(w, 24, swapped, {}, 1), want), 10 * quantised_nmse);
}

TYPED_TEST(CpuMatmul, outputs_keep_their_bits_alone_in_a_batch_and_on_any_threads) {
  using Q = TypeParam;
  for (const int columns : {Q::block_len == 1 ? 177 : Q::block_len == 32 ? 352 : 768, Q::block_len == 1 ? 2048 : 512}) {
    const int outputs = 83, rows = 67;
    const auto w = random_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, 25);
    const Table x = normal_table(rows, columns, 26);
    const std::vector<f32> bias = normal_table(1, outputs, 27).values;
    const auto all = run_matmul<Cpu, Q>(w, outputs, x, bias, 1);
    for (const int threads : {2, 3, 5}) ASSERT_EQ((run_matmul<Cpu, Q>(w, outputs, x, bias, threads)), all) << threads;
    for (int first = 0, n = 1; first < rows; first += n, n = n % 5 + 1) {
      const int count = std::min(n, rows - first);
      const Table some{count, columns, {x.row(first), x.row(first) + count * columns}};
      const auto part = run_matmul<Cpu, Q>(w, outputs, some, bias, 2);
      ASSERT_EQ(std::memcmp(part.data(), all.data() + first * outputs, part.size() * sizeof(f32)), 0)
          << first << " + " << count;
    }
    for (const int output : {0, 1, 40, 82}) {  // alone among the weights, too
      const auto row_blocks = static_cast<std::size_t>(columns) / Q::block_len;
      const std::vector<typename Q::Block> one(
          w.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(output) * row_blocks),
          w.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(output + 1) * row_blocks));
      const auto part = run_matmul<Cpu, Q>(one, 1, x, {bias[static_cast<std::size_t>(output)]}, 1);
      for (int r = 0; r < rows; ++r)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(part[static_cast<std::size_t>(r)]),
                  std::bit_cast<std::uint32_t>(all[static_cast<std::size_t>(r * outputs + output)]));
    }
  }
}

TEST(cpu_matmul, a_sum_that_underflows_keeps_its_sign_in_every_kernel) {
  for (const int columns : {8, 100}) {
    const std::vector<F32::Block> w(static_cast<std::size_t>(columns), -1e-30f);
    for (const int rows : {1, 3, 4, 9}) {
      const Table x{rows, columns, std::vector<f32>(static_cast<std::size_t>(rows * columns), 1e-30f)};
      for (const f32 y : run_matmul<Cpu, F32>(w, 1, x, {}, 1))
        EXPECT_EQ(std::signbit(y),
                  std::signbit(run_matmul<Cpu, F32>(w, 1, {1, columns, {x.row(0), x.row(1)}}, {}, 1)[0]))
            << rows << " rows of " << columns;
    }
  }
}

TYPED_TEST(CpuMatmul, what_is_not_a_number_shows_in_its_row_only) {
  using Q = TypeParam;
  const auto w = random_weights<Q>(5 * 256 / Q::block_len, 35);
  for (const int rows : {3, 11})
    for (const f32 bad : {NAN, HUGE_VALF}) {
      Table x = normal_table(rows, 256, 36);
      x.values[256 + 100] = bad;
      const auto got = run_matmul<Cpu, Q>(w, 5, x, {}, 1);
      for (int i = 0; i < 5 * rows; ++i)
        EXPECT_EQ(std::isfinite(got[static_cast<std::size_t>(i)]), i / 5 != 1) << rows << " rows, output " << i;
    }
}

#if defined(__SSE2__)
template <class Q>
class NarrowMatmul : public ::testing::Test {};
#if TMODEL_TEST_ALL
using EveryNarrow = Every;
#else  // each costs seconds of compiling
using EveryNarrow = ::testing::Types<F16, Q8_0, Q6_K>;
#endif
TYPED_TEST_SUITE(NarrowMatmul, EveryNarrow, Names);

TYPED_TEST(NarrowMatmul, of_sse2_has_the_bits_of_plain_code_in_wider_builds_too) {
  using Q = TypeParam;
  using Narrow = CpuSimd<f32, cpu::sse2>;
  const auto check = [](const std::vector<typename Q::Block>& w, int outputs, const Table& x) {
    expect_ordered_bits<Q, cpu::sse2>(w, outputs, x, run_matmul<Narrow, Q>(w, outputs, x, {}, 2));
  };
  for (const int columns : column_counts<Q>())
    for (const int rows : {1, 3, 11})
      for (const int outputs : {3, 9, 37}) {
        check(random_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, 5), outputs,
              normal_table(rows, columns, 6));
        if (this->HasFatalFailure()) return;
      }
  for (const int codes : {0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0})
    for (const int rows : {4, 12})
      check(extreme_weights<Q>(6 * 512 / Q::block_len, codes), 6, extreme_table(rows, 512));
}
#endif

TEST(cpu_matmul, quantised_activations_are_the_numbers_of_quantize_row) {
  for (const int columns : {32, 224, 256, 576}) {
    Table x = normal_table(1, columns, 46, 3.f);
    for (int i = 0; i < columns; i += 5) x.values[static_cast<std::size_t>(i)] *= 0x1p-20f;
    for (int i = 0; i < 32; ++i)
      x.values[static_cast<std::size_t>(columns - 32 + i)] =
          static_cast<f32>(i % 2 ? 127 : i) + 0.5f * static_cast<f32>(i % 3);
    if (columns > 200) {
      x.values[40] = NAN;
      for (int i = 64; i < 96; ++i) x.values[static_cast<std::size_t>(i)] = 1e-35f;
      for (int i = 96; i < 128; ++i) x.values[static_cast<std::size_t>(i)] = 0.f;
      x.values[130] = -HUGE_VALF;
    }
    std::vector<Q8Block> want(static_cast<std::size_t>(columns) / 32);
    quantize_row(x.values, want.data());
    std::vector<cpu::Q8Chunk> got(static_cast<std::size_t>(cpu::chunks_of(columns)));
    std::memset(got.data(), 0x55, got.size() * sizeof got[0]);
    cpu::quantize_chunks<cpu::default_arch>(x.values.data(), columns, got.data());
    for (std::size_t p = 0; p < got.size() * 8; ++p) {
      const cpu::Q8Chunk& chunk = got[p / 8];
      const Q8Block block = p < want.size() ? want[p] : Q8Block{};
      EXPECT_EQ(std::memcmp(chunk.qs + 32 * (p % 8), block.qs, 32), 0) << p;
      EXPECT_EQ(std::bit_cast<std::uint32_t>(chunk.d[p % 8]), std::bit_cast<std::uint32_t>(block.d)) << p;
      if (std::isnan(block.d))
        EXPECT_TRUE(std::isnan(chunk.weighted[p % 8]));
      else
        EXPECT_EQ(chunk.weighted[p % 8], block.d * static_cast<f32>(block.sums[0] + block.sums[1])) << p;
      EXPECT_EQ(std::memcmp(chunk.sums + p % 8 * 2, block.sums, sizeof block.sums), 0) << p;
    }
  }
}

struct Ternary {  // somebody's own format: 5 values a block
  struct Block {
    std::int8_t v[5];
    std::uint8_t shift;
  };
  static constexpr std::string_view name = "T5";
  static constexpr std::size_t block_len = 5;
  static constexpr std::uint32_t gguf_id = 9999;
  static constexpr Acts acts = Acts::floats;
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = std::ldexp(static_cast<f32>(blocks[i / 5].v[i % 5]), -blocks[i / 5].shift);
  }
};

TEST(cpu_matmul, other_formats_are_dequantised_a_piece_at_a_time) {
  std::mt19937 bits(3);
  std::vector<Ternary::Block> w(7 * 120);
  for (auto& b : w) {
    for (auto& v : b.v) v = static_cast<std::int8_t>(bits() % 3) - 1;
    b.shift = static_cast<std::uint8_t>(bits() % 4);
  }
  const Table x = normal_table(66, 600, 4);
  expect_products<Ternary>(w, 7, x, {}, run_matmul<Cpu, Ternary>(w, 7, x, {}, 2), "own format");
}

}  // namespace
}  // namespace tmodel::testing
