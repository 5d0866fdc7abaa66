// Quantisers: the bytes of gguf-py where it has one, bounds on the error of all, and inputs that are not numbers.

#include <limits>

#include "blocks.hpp"

namespace tmodel::testing {
namespace {

using WrittenByGgufPy = ::testing::Types<F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0>;
template <class Q>
class SameAsGgufPy : public ::testing::Test {};
TYPED_TEST_SUITE(SameAsGgufPy, WrittenByGgufPy, FormatNames);

TYPED_TEST(SameAsGgufPy, writes_the_same_bytes) {
  using Q = TypeParam;
  const Vectors v = read_vectors(std::string(Q::name) + ".quantize.bin");
  ASSERT_EQ(v.block_bytes, sizeof(typename Q::Block));
  const auto values = copy_as<f32>(std::string_view(v.body).substr(0, 4 * v.values()));
  const std::string_view want = std::string_view(v.body).substr(4 * v.values());
  std::vector<typename Q::Block> blocks(v.blocks);
  Q::quantize(values, blocks.data());
  int different = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b)
    if (std::memcmp(&blocks[b], want.data() + b * sizeof blocks[b], sizeof blocks[b]) != 0 && ++different <= 3)
      ADD_FAILURE() << "block " << b;
  EXPECT_EQ(different, 0);
}

/// Bounds on |error|^2 / |value|^2 of normal values: those of the docstrings, or 1.1 times what was measured.
template <class Q>
constexpr f64 bound_of() {
  if (Q::name == "Q4_0") return 0.0081;
  if (Q::name == "Q4_1") return 0.0067;
  if (Q::name == "Q5_0") return 0.0020;
  if (Q::name == "Q5_1") return 0.0016;
  if (Q::name == "Q8_0") return 3.3e-5;
  if (Q::name == "Q2_K") return 0.079;
  if (Q::name == "Q3_K") return 0.023;
  if (Q::name == "Q4_K") return 0.0056;
  if (Q::name == "Q5_K") return 0.00143;
  if (Q::name == "Q6_K") return 0.00033;
  return 0.0;
}

using WrittenInBlocks = ::testing::Types<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K>;
template <class Q>
class Quantizer : public ::testing::Test {};
TYPED_TEST_SUITE(Quantizer, WrittenInBlocks, FormatNames);

TYPED_TEST(Quantizer, keeps_normal_values_within_its_bound) {
  using Q = TypeParam;
  for (const f32 scale : {1.0f, 0.02f, 0.001f, 300.0f}) {
    const auto values = normal_values(256 * 64, 11, scale);
    const f64 error = relative_error(round_trip<Q>(values), values);
    EXPECT_LE(error, bound_of<Q>()) << scale;
    EXPECT_GE(error, bound_of<Q>() / 2) << "the bound says nothing";
  }
}

TYPED_TEST(Quantizer, keeps_values_with_outliers_of_one_sign) {
  using Q = TypeParam;
  auto values = normal_values(256 * 32, 12, 0.1f);
  for (std::size_t i = 5; i < values.size(); i += 97) values[i] = i % 2 ? 3.0f : -2.0f;
  EXPECT_LE(relative_error(round_trip<Q>(values), values), 8 * bound_of<Q>());
}

TYPED_TEST(Quantizer, finds_values_again_that_the_format_can_say) {
  using Q = TypeParam;
  // Dequantised blocks with all scales alike lie on a grid that the quantiser has to find.
  std::vector<f32> values(256 * 4);
  std::mt19937 bits(13);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<f32>(static_cast<int>(i % 16 == 3 ? 0u : i % 16 == 9 ? 3u : bits() % 4u) - 2) * 0.5f;
  EXPECT_LE(relative_error(round_trip<Q>(values), values), bound_of<Q>() / 4 + 2e-5);
}

TYPED_TEST(Quantizer, keeps_zeros) {
  using Q = TypeParam;
  const std::vector<f32> zeros(512, 0.0f);
  for (const f32 v : round_trip<Q>(zeros)) EXPECT_EQ(v, 0.0f);
}

TYPED_TEST(Quantizer, keeps_constants_of_either_sign) {
  using Q = TypeParam;
  for (const f32 constant : {0.75f, -0.75f, 1e-3f, -40.0f}) {
    const std::vector<f32> values(512, constant);
    EXPECT_LE(relative_error(round_trip<Q>(values), values), 1e-4) << constant;
  }
}

TYPED_TEST(Quantizer, treats_values_too_small_for_its_scale_as_zero) {
  using Q = TypeParam;
  for (const f32 scale : {1e-12f, 1e-30f, 1e-38f, 1e-41f, std::numeric_limits<f32>::denorm_min()}) {
    auto values = normal_values(512, 14);
    for (f32& v : values) v *= scale;
    for (const f32 v : round_trip<Q>(values)) EXPECT_LE(std::fabs(v), 1e-7f);
  }
}

TYPED_TEST(Quantizer, shows_what_is_not_finite_in_that_block_only) {
  using Q = TypeParam;
  const f32 infinity = std::numeric_limits<f32>::infinity();
  for (const f32 bad : {std::numeric_limits<f32>::quiet_NaN(), infinity, -infinity})
    for (const std::size_t at : {0u, 17u, 31u}) {
      auto values = normal_values(768, 15);
      values[256 + at] = bad;
      const auto out = round_trip<Q>(values);
      std::size_t broken = 0;
      for (std::size_t i = 0; i < out.size(); ++i) {
        if (std::isfinite(out[i])) continue;
        ++broken;
        EXPECT_TRUE(i >= 256 && i < 256 + Q::block_len) << i;
      }
      EXPECT_GE(broken, Q::block_len / 2) << bad << " at " << at;
    }
}

TYPED_TEST(Quantizer, takes_values_beyond_its_scale_without_hiding_them) {
  using Q = TypeParam;
  for (const f32 scale : {1e33f, 3e37f}) {
    const auto values = normal_values(256, 16, scale);
    std::size_t broken = 0;
    for (const f32 v : round_trip<Q>(values)) broken += !std::isfinite(v);
    EXPECT_GE(broken, values.size() / 2);
  }
}

TYPED_TEST(Quantizer, gives_the_same_bytes_for_a_block_wherever_it_stands) {
  using Q = TypeParam;
  const auto values = normal_values(256 * 3, 17);
  std::vector<typename Q::Block> together(values.size() / Q::block_len);
  Q::quantize(values, together.data());
  for (std::size_t b = 0; b < together.size(); ++b) {
    typename Q::Block alone;
    Q::quantize(std::span(values).subspan(b * Q::block_len, Q::block_len), &alone);
    EXPECT_EQ(std::memcmp(&alone, &together[b], sizeof alone), 0) << b;
  }
}

// The same on every compiler and for all flags: the sums that choose scales are exact or explicitly fused.
TEST(QuantizerOfKFormats, has_pinned_bytes) {
  const auto hash_of = []<class Q>() {
    std::mt19937 bits(18);
    std::vector<f32> values(256 * 16);
    for (f32& v : values) v = static_cast<f32>(static_cast<int>(bits() % 20001u) - 10000) * 0x1p-12f * 0.37f;
    std::vector<typename Q::Block> blocks(16);
    Q::quantize(values, blocks.data());
    std::uint64_t hash = 14695981039346656037ull;  // FNV-1a
    for (const char c : std::string_view(reinterpret_cast<const char*>(blocks.data()), 16 * sizeof blocks[0]))
      hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    return hash;
  };
  EXPECT_EQ(hash_of.template operator()<Q2_K>(), 13529143925005839027u);
  EXPECT_EQ(hash_of.template operator()<Q3_K>(), 14561616914891439520u);
  EXPECT_EQ(hash_of.template operator()<Q4_K>(), 5067260180672535866u);
  EXPECT_EQ(hash_of.template operator()<Q5_K>(), 8068901391169258029u);
  EXPECT_EQ(hash_of.template operator()<Q6_K>(), 11724810673945818567u);
}

}  // namespace
}  // namespace tmodel::testing
