// The product of quantised weights with quantised activations against f64 over the dequantised numbers,
// and proof that the tolerance tells a wrong kernel from a right one.

#include "tmodel/quant/dot_reference.hpp"

#include "blocks.hpp"

namespace tmodel::testing {
namespace {

constexpr std::size_t columns = 1024;
constexpr f64 tolerance = 1e-6;

struct Product {
  f64 value = 0.0;
  f64 size = 0.0;  ///< sum of the magnitudes of what is added: the measure of rounding errors
};

/// In f64, over the values that dequantize gives; `size` also sees what scale * q and the offset cancel.
template <class Q>
Product exact_product(const std::vector<typename Q::Block>& row, const std::vector<Q8Block>& x) {
  const auto w = dequantized<Q>(row);
  Product p;
  typename Q::Integers integers{};
  for (std::size_t i = 0; i < w.size(); ++i) {
    const f64 activation = f64{x[i / 32].d} * x[i / 32].qs[i % 32];
    p.value += w[i] * activation;
    const std::size_t e = i % Q::block_len;
    if (e == 0) Q::unpack(row[i / Q::block_len], integers);
    const std::size_t s = e / Q::Integers::sub_len;
    p.size += std::fabs(f64{integers.scales[s]} * integers.q[e] * activation);
    if constexpr (Q::Integers::has_offsets) p.size += std::fabs(integers.offsets[s] * activation);
  }
  return p;
}

template <class Q>
f64 error_of(const std::vector<typename Q::Block>& row, const std::vector<Q8Block>& x, f32 got) {
  const Product want = exact_product<Q>(row, x);
  return std::fabs(got - want.value) / (want.size > 0.0 ? want.size : 1.0);
}

std::vector<Q8Block> random_activations(unsigned seed) {
  std::vector<Q8Block> x(columns / q8_block_len);
  quantize_row(normal_values(columns, seed, 3.0f), x.data());
  return x;
}

/// Activations of +127 and -127 only; `sign` tells which.
template <class Sign>
std::vector<Q8Block> saturated_activations(Sign sign) {
  std::vector<f32> row(columns);
  for (std::size_t i = 0; i < columns; ++i) row[i] = sign(i) ? 1.0f : -1.0f;
  std::vector<Q8Block> x(columns / q8_block_len);
  quantize_row(row, x.data());
  return x;
}

/// Blocks of one repeated byte, with scales of the given signs: all weights at an end of their range.
template <class Q>
std::vector<typename Q::Block> saturated_weights(unsigned char byte, f32 d, f32 other) {
  std::vector<typename Q::Block> row(columns / Q::block_len);
  for (auto& block : row) {
    unsigned char bytes[sizeof block];
    std::memset(bytes, byte, sizeof bytes);
    std::memcpy(&block, bytes, sizeof block);
    set_scales<Q>(block, d, other);
  }
  return row;
}

template <class Q>
class DotReference : public ::testing::Test {};
TYPED_TEST_SUITE(DotReference, QuantizedList, FormatNames);

TYPED_TEST(DotReference, agrees_with_f64_on_random_blocks) {
  using Q = TypeParam;
  for (unsigned seed = 0; seed < 50; ++seed) {
    const auto row = random_blocks<Q>(columns / Q::block_len, seed);
    const auto x = random_activations(seed + 1000);
    EXPECT_LE(error_of<Q>(row, x, dot_q8<Q>(row.data(), x.data(), columns)), tolerance) << seed;
  }
}

TYPED_TEST(DotReference, agrees_with_f64_at_saturation) {
  using Q = TypeParam;
  const auto always = [](std::size_t) { return true; };
  const auto never = [](std::size_t) { return false; };
  const auto alternating = [](std::size_t i) { return i % 2 == 0; };
  const auto by_blocks = [](std::size_t i) { return i / 32 % 2 == 0; };
  const std::vector<Q8Block> patterns[] = {saturated_activations(always), saturated_activations(never),
                                           saturated_activations(alternating), saturated_activations(by_blocks)};
  for (const auto& x : patterns)
    for (const unsigned byte : {0x00u, 0xFFu, 0x7Fu, 0x80u, 0x0Fu, 0xF0u})
      for (const f32 d : {1.0f, -1.0f, 0.01f})
        for (const f32 other : {0.0f, 1.0f, -3.0f}) {
          const auto row = saturated_weights<Q>(static_cast<unsigned char>(byte), d, other);
          const f32 got = dot_q8<Q>(row.data(), x.data(), columns);
          EXPECT_LE(error_of<Q>(row, x, got), tolerance) << byte << ' ' << d << ' ' << other;
        }
}

TYPED_TEST(DotReference, sees_every_element_once) {
  using Q = TypeParam;
  const auto row = random_blocks<Q>(columns / Q::block_len, 77);
  const auto w = dequantized<Q>(row);
  for (std::size_t i = 0; i < columns; ++i) {
    std::vector<f32> one(columns, 0.0f);
    one[i] = 127.0f;
    std::vector<Q8Block> x(columns / q8_block_len);
    quantize_row(one, x.data());
    const f32 got = dot_q8<Q>(row.data(), x.data(), columns);
    EXPECT_NEAR(got, 127.0 * w[i], 1e-6 * 127.0 * (std::fabs(w[i]) + 1.0)) << i;
  }
}

TYPED_TEST(DotReference, of_zeros_is_zero_and_of_nan_is_nan) {
  using Q = TypeParam;
  const auto row = random_blocks<Q>(columns / Q::block_len, 78);
  std::vector<f32> values(columns, 0.0f);
  std::vector<Q8Block> x(columns / q8_block_len);
  quantize_row(values, x.data());
  EXPECT_EQ(dot_q8<Q>(row.data(), x.data(), columns), 0.0f);
  EXPECT_EQ(dot_q8<Q>(nullptr, nullptr, 0), 0.0f);
  values[columns - 1] = std::nanf("");
  quantize_row(values, x.data());
  EXPECT_TRUE(std::isnan(dot_q8<Q>(row.data(), x.data(), columns)));
}

// Wrong kernels, each with one classic mistake: if the tolerance let one pass, it could not judge a right one.

/// Elements in even and odd pairs instead of halves of 32.
template <class Base>
struct SwappedNibbles : Base {
  static void unpack(const typename Base::Block& block, typename Base::Integers& out) noexcept {
    typename Base::Integers right;
    Base::unpack(block, right);
    out = right;
    for (std::size_t e = 0; e < Base::block_len; ++e) out.q[e] = right.q[e / 32 * 32 + (e % 2) * 16 + e % 32 / 2];
  }
};
/// The offset with the other sign.
template <class Base>
struct WrongOffset : Base {
  static void unpack(const typename Base::Block& block, typename Base::Integers& out) noexcept {
    Base::unpack(block, out);
    for (f32& offset : out.offsets) offset = -offset;
  }
};
/// The scales of two neighbouring sub-blocks exchanged.
template <class Base>
struct WrongScale : Base {
  static void unpack(const typename Base::Block& block, typename Base::Integers& out) noexcept {
    Base::unpack(block, out);
    std::swap(out.scales[2], out.scales[3]);
  }
};
/// Values one too high, as with a forgotten or wrong centre.
template <class Base>
struct WrongCentre : Base {
  static void unpack(const typename Base::Block& block, typename Base::Integers& out) noexcept {
    Base::unpack(block, out);
    for (std::int8_t& q : out.q) q = static_cast<std::int8_t>(q == 127 ? q : q + 1);
  }
};

/// In how many of 20 cases the wrong kernel is off by ten times the tolerance.
template <class Wrong, class Q>
int times_caught() {
  int caught = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    const auto row = random_blocks<Q>(columns / Q::block_len, seed);
    const auto x = random_activations(seed + 1000);
    if (error_of<Q>(row, x, dot_q8<Wrong>(row.data(), x.data(), columns)) > 10 * tolerance) ++caught;
  }
  return caught;
}

TYPED_TEST(DotReference, tells_a_wrong_centre) {
  using Q = TypeParam;
  EXPECT_GE((times_caught<WrongCentre<Q>, Q>()), 17);
}
TYPED_TEST(DotReference, tells_swapped_nibbles) {
  using Q = TypeParam;
  EXPECT_GE((times_caught<SwappedNibbles<Q>, Q>()), 17);
}
TYPED_TEST(DotReference, tells_a_wrong_offset) {
  using Q = TypeParam;
  if constexpr (Q::Integers::has_offsets) {
    EXPECT_GE((times_caught<WrongOffset<Q>, Q>()), 17);
  }
}
TYPED_TEST(DotReference, tells_exchanged_scales) {
  using Q = TypeParam;
  if constexpr (Q::Integers::count > 3) {
    EXPECT_GE((times_caught<WrongScale<Q>, Q>()), 17);
  }
}

TEST(DotReferenceChain, has_pinned_bits) {
  // The order of additions is a promise; these bits hold for every compiler, flag and machine.
  std::vector<std::uint32_t> bits;
  std::mt19937 random(9);
  std::vector<f32> values(columns);
  for (f32& v : values) v = static_cast<f32>(static_cast<int>(random() % 20001u) - 10000) * 0x1p-10f;
  std::vector<Q8Block> x(columns / q8_block_len);
  quantize_row(values, x.data());
  AllFormats::for_each([&]<class Q>() {
    if constexpr (QuantizedFormat<Q>) {
      const auto row = random_blocks<Q>(columns / Q::block_len, 10);
      bits.push_back(std::bit_cast<std::uint32_t>(dot_q8<Q>(row.data(), x.data(), columns)));
    }
  });
  const std::vector<std::uint32_t> want = {1087038258u, 3242113907u, 3222901263u, 3252624724u, 1126059695u,
                                           3257351415u, 3258201785u, 3293464443u, 3291445607u, 1131918325u,
                                           1119933865u, 3289009781u, 1077180503u};
  EXPECT_EQ(bits, want);
}

}  // namespace
}  // namespace tmodel::testing
