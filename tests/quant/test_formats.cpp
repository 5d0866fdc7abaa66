// Weight formats: sizes, lists, names, and every dequantised value against the vectors of gguf-py.

#include "blocks.hpp"

namespace tmodel::testing {
namespace {

template <class... Qs>
::testing::Types<Qs...> types_of(FormatSet<Qs...>);
using AllList = decltype(types_of(AllFormats{}));

static_assert(AllFormats::size == 16 && DenseFormats::size == 3);
static_assert(AllFormats::contains<Q5_0> && !DenseFormats::contains<Q5_0>);
static_assert(QuantizableFormat<F32> && QuantizableFormat<BF16> && QuantizableFormat<Q4_1> && QuantizableFormat<Q6_K>);
static_assert(WeightFormat<IQ4_NL> && !QuantizableFormat<IQ4_NL> && !QuantizableFormat<IQ4_XS> &&
              !QuantizableFormat<MXFP4>);
static_assert(QuantizedFormat<Q8_0> && !QuantizedFormat<F16>);
static_assert(find_format(12)->name == "Q4_K" && find_format(77) == nullptr);

template <class Q>
class EveryFormat : public ::testing::Test {};
TYPED_TEST_SUITE(EveryFormat, AllList, FormatNames);

TYPED_TEST(EveryFormat, dequantises_to_the_bits_of_gguf_py) {
  using Q = TypeParam;
  const Vectors v = read_vectors(std::string(Q::name) + ".bin");
  ASSERT_EQ(v.block_bytes, sizeof(typename Q::Block));
  ASSERT_EQ(v.block_len, Q::block_len);
  ASSERT_GE(v.blocks, 15u);
  const auto blocks = copy_as<typename Q::Block>(std::string_view(v.body).substr(0, v.bytes_of_blocks()));
  const auto want = copy_as<f32>(std::string_view(v.body).substr(v.bytes_of_blocks()));
  EXPECT_EQ(count_differing_bits(dequantized<Q>(blocks), want), 0);
}

TYPED_TEST(EveryFormat, is_found_by_its_number) {
  using Q = TypeParam;
  const FormatTraits* traits = find_format(Q::gguf_id);
  ASSERT_NE(traits, nullptr);
  EXPECT_EQ(traits->gguf_id, Q::gguf_id);
  EXPECT_EQ(traits->name, Q::name);
  EXPECT_EQ(traits->block_len, Q::block_len);
  EXPECT_EQ(traits->block_bytes, sizeof(typename Q::Block));
  bool visited = false;
  EXPECT_TRUE(AllFormats::visit(Q::gguf_id, [&]<class Found>() { visited = std::is_same_v<Found, Q>; }));
  EXPECT_TRUE(visited);
}

TYPED_TEST(EveryFormat, dequantises_nothing_from_nothing) { TypeParam::dequantize(nullptr, {}); }

TYPED_TEST(EveryFormat, reads_only_the_blocks_of_the_span) {
  using Q = TypeParam;
  typename Q::Block blocks[3] = {};
  std::vector<f32> out(3 * Q::block_len, 7.0f);
  Q::dequantize(blocks, std::span(out).first(2 * Q::block_len));
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i] == 7.0f, i >= 2 * Q::block_len) << i;
}

template <class Q>
class EveryQuantizedFormat : public ::testing::Test {};
TYPED_TEST_SUITE(EveryQuantizedFormat, QuantizedList, FormatNames);

// What keeps results free of the compiler's contraction: see IntegerBlock.
TYPED_TEST(EveryQuantizedFormat, products_of_scale_and_value_are_exact_in_f32) {
  using Q = TypeParam;
  auto blocks = random_blocks<Q>(200, 5);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const f32 odd = std::ldexp(2047.0f, static_cast<int>(i % 12) - 16);  // all 11 bits of an f16 used
    set_scales<Q>(blocks[i], std::is_same_v<Q, MXFP4> ? 1.0f : odd, -odd);
    typename Q::Integers w;
    Q::unpack(blocks[i], w);
    for (std::size_t e = 0; e < Q::block_len; ++e) {
      const f32 scale = w.scales[e / w.sub_len];
      ASSERT_EQ(f64{scale} * w.q[e], f64{static_cast<f32>(scale * static_cast<f32>(w.q[e]))});
    }
  }
}

TYPED_TEST(EveryQuantizedFormat, does_not_hide_a_scale_that_is_not_a_number) {
  using Q = TypeParam;
  if constexpr (!std::is_same_v<Q, MXFP4>) {  // its scales are always finite
    auto blocks = random_blocks<Q>(1, 6);
    blocks[0].d = f16{0x7E01};
    for (const f32 v : dequantized<Q>(blocks)) EXPECT_TRUE(std::isnan(v));
  }
}

TEST(FormatNames, only_supported_numbers_are_visited) {
  int supported = 0;
  for (std::uint32_t id = 0; id < 512; ++id) {
    const bool visited = AllFormats::visit(id, []<class Q>() {});
    EXPECT_EQ(visited, find_format(id) != nullptr) << id;
    supported += visited;
  }
  EXPECT_EQ(supported, 16);
}

}  // namespace
}  // namespace tmodel::testing
