// Activations as 8-bit integers: rounding, sums, and rows that are zero, tiny or not numbers.

#include "tmodel/quant/activations.hpp"

#include <limits>

#include "blocks.hpp"

namespace tmodel::testing {
namespace {

std::vector<Q8Block> quantized(const std::vector<f32>& row) {
  std::vector<Q8Block> blocks(row.size() / q8_block_len);
  quantize_row(row, blocks.data());
  return blocks;
}

TEST(Activations, have_their_widest_value_at_127_and_never_minus_128) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    const auto row = normal_values(256, seed, std::ldexp(1.0f, static_cast<int>(seed) - 90));
    const auto blocks = quantized(row);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      int widest = 0;
      for (const int q : blocks[b].qs) {
        EXPECT_GE(q, -127);
        widest = std::max(widest, std::abs(q));
      }
      EXPECT_EQ(widest, 127);
    }
  }
}

TEST(Activations, are_off_by_half_a_step_at_most) {
  const auto row = normal_values(4096, 3, 5.0f);
  const auto blocks = quantized(row);
  for (std::size_t i = 0; i < row.size(); ++i) {
    const Q8Block& block = blocks[i / 32];
    EXPECT_LE(std::fabs(row[i] - f64{block.d} * block.qs[i % 32]), 0.50002 * block.d) << i;
  }
}

TEST(Activations, round_halves_to_even) {
  std::vector<f32> row(32, 0.0f);
  row[0] = 127.0f;  // scale 1
  const f32 halves[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f};
  const int want[] = {0, 2, 2, 0, -2, -2, 126, -126};
  for (std::size_t i = 0; i < 8; ++i) row[i + 1] = halves[i];
  const auto blocks = quantized(row);
  EXPECT_EQ(blocks[0].d, 1.0f);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(blocks[0].qs[i + 1], want[i]) << halves[i];
}

TEST(Activations, carry_the_exact_sums_of_their_halves) {
  auto row = normal_values(1024, 4);
  for (std::size_t i = 0; i < 32; ++i) row[i] = 2.0f;  // the largest sums there can be
  for (std::size_t i = 32; i < 64; ++i) row[i] = -2.0f;
  const auto blocks = quantized(row);
  EXPECT_EQ(blocks[0].sums[0], 127 * 16);
  EXPECT_EQ(blocks[1].sums[1], -127 * 16);
  for (const Q8Block& block : blocks)
    for (std::size_t half = 0; half < 2; ++half) {
      int sum = 0;
      for (std::size_t i = 0; i < 16; ++i) sum += block.qs[16 * half + i];
      EXPECT_EQ(block.sums[half], sum);
    }
}

TEST(Activations, of_zeros_and_of_vanishing_values_are_zero) {
  for (const f32 value : {0.0f, -0.0f, std::numeric_limits<f32>::denorm_min(), 1e-40f, -1e-38f, 0x1p-101f}) {
    const auto blocks = quantized(std::vector<f32>(32, value));
    EXPECT_EQ(blocks[0].d, 0.0f);
    EXPECT_EQ(blocks[0].sums[0], 0);
    for (const int q : blocks[0].qs) EXPECT_EQ(q, 0);
  }
  EXPECT_EQ(quantized(std::vector<f32>(32, q8_smallest))[0].qs[0], 127);
}

TEST(Activations, of_the_largest_values_stay_finite) {
  std::vector<f32> row(32, std::numeric_limits<f32>::max());
  row[1] = -row[1];
  const auto blocks = quantized(row);
  EXPECT_TRUE(std::isfinite(blocks[0].d));
  EXPECT_EQ(blocks[0].qs[0], 127);
  EXPECT_EQ(blocks[0].qs[1], -127);
}

TEST(Activations, that_are_not_finite_make_the_scale_nan_in_their_block_only) {
  const f32 nan = std::numeric_limits<f32>::quiet_NaN(), infinity = std::numeric_limits<f32>::infinity();
  for (const f32 bad : {nan, -nan, infinity, -infinity})
    for (const std::size_t at : {32u, 45u, 63u}) {
      auto row = normal_values(96, 5);
      row[at] = bad;
      const auto blocks = quantized(row);
      EXPECT_TRUE(std::isfinite(blocks[0].d) && std::isfinite(blocks[2].d));
      EXPECT_TRUE(std::isnan(blocks[1].d));
      for (const int q : blocks[1].qs) EXPECT_EQ(q, 0);
      EXPECT_EQ(blocks[1].sums[0], 0);
    }
}

TEST(Activations, of_no_columns_are_no_blocks) { quantize_row({}, nullptr); }

// The bits are a definition: vector versions have to give the same ones, on every machine.
TEST(Activations, have_pinned_bytes) {
  std::mt19937 bits(6);
  std::vector<f32> row(32 * 64);
  for (f32& v : row) v = static_cast<f32>(static_cast<int>(bits() % 2000001u) - 1000000) * 0x1p-17f;
  std::uint64_t hash = 14695981039346656037ull;  // FNV-1a
  const auto blocks = quantized(row);
  for (const char c : std::string_view(reinterpret_cast<const char*>(blocks.data()), blocks.size() * sizeof blocks[0]))
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  EXPECT_EQ(hash, 2855955552128937009u);
}

}  // namespace
}  // namespace tmodel::testing
