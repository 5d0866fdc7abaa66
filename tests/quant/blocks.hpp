#pragma once
// What the tests of weight formats share: seeded values and blocks, committed vectors, bit comparison.

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "tmodel/quant/all.hpp"

namespace tmodel::testing {

using QuantizedList =
    ::testing::Types<Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4>;

struct FormatNames {
  template <class Q>
  static std::string GetName(int) {
    return std::string(Q::name);
  }
};

inline std::vector<f32> normal_values(std::size_t n, unsigned seed, f32 scale = 1.0f) {
  std::mt19937 bits(seed);  // the distribution is ours: std::normal_distribution differs between libraries
  const auto uniform = [&] { return (static_cast<f64>(bits()) + 0.5) / 4294967296.0; };
  std::vector<f32> values(n);
  for (f32& v : values) {
    const f64 radius = std::sqrt(-2.0 * std::log(uniform()));
    v = scale * static_cast<f32>(radius * std::cos(6.283185307179586 * uniform()));
  }
  return values;
}

/// Sets the scales of a block of arbitrary bytes to usable numbers.
template <class Q>
void set_scales(typename Q::Block& block, f32 d, f32 other) {
  if constexpr (std::is_same_v<Q, MXFP4>)
    block.e = static_cast<std::uint8_t>(127 + std::ilogb(d));
  else
    block.d = to_f16(d);
  if constexpr (requires { block.m; }) block.m = to_f16(other);
  if constexpr (requires { block.dmin; }) block.dmin = to_f16(other);
}

template <class Q>
std::vector<typename Q::Block> random_blocks(std::size_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<typename Q::Block> blocks(n);
  for (auto& block : blocks) {
    unsigned char bytes[sizeof block];
    for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(bits() >> 13);
    std::memcpy(&block, bytes, sizeof block);
    const auto scale = [&] { return static_cast<f32>(100u + bits() % 1000u) * 1e-5f; };
    const f32 d = scale(), other = scale();
    const std::uint32_t signs = static_cast<std::uint32_t>(bits());
    set_scales<Q>(block, signs & 256u ? d : -d, signs & 512u ? other : -other);
  }
  return blocks;
}

/// A file of tests/goldens/formats: three numbers, then two parts whose order depends on the file.
struct Vectors {
  std::uint32_t blocks = 0, block_bytes = 0, block_len = 0;
  std::string body;

  std::size_t bytes_of_blocks() const { return std::size_t{blocks} * block_bytes; }
  std::size_t values() const { return std::size_t{blocks} * block_len; }
};

inline Vectors read_vectors(const std::string& name) {
  std::ifstream file(std::string(TMODEL_GOLDENS) + "/formats/" + name, std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  Vectors v;
  if (all.size() < 12) {
    ADD_FAILURE() << "cannot read " << name;
    return v;
  }
  std::memcpy(&v.blocks, all.data(), 4);
  std::memcpy(&v.block_bytes, all.data() + 4, 4);
  std::memcpy(&v.block_len, all.data() + 8, 4);
  v.body = all.substr(12);
  EXPECT_EQ(v.body.size(), v.bytes_of_blocks() + 4 * v.values()) << name;
  return v;
}

template <class T>
std::vector<T> copy_as(std::string_view bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

/// Number of elements that differ in any bit; the first few are reported.
inline int count_differing_bits(const std::vector<f32>& got, const std::vector<f32>& want) {
  EXPECT_EQ(got.size(), want.size());
  int count = 0;
  for (std::size_t i = 0; i < got.size() && i < want.size(); ++i)
    if (std::bit_cast<std::uint32_t>(got[i]) != std::bit_cast<std::uint32_t>(want[i]) && ++count <= 3)
      ADD_FAILURE() << "element " << i << ": got " << got[i] << ", want " << want[i];
  return count;
}

/// Squared error over squared values.
inline f64 relative_error(const std::vector<f32>& got, const std::vector<f32>& want) {
  f64 error = 0.0, total = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (f64{got[i]} - want[i]) * (f64{got[i]} - want[i]);
    total += f64{want[i]} * want[i];
  }
  return error / total;
}

template <class Q>
std::vector<f32> dequantized(const std::vector<typename Q::Block>& blocks) {
  std::vector<f32> values(blocks.size() * Q::block_len);
  Q::dequantize(blocks.data(), values);
  return values;
}

template <class Q>
std::vector<f32> round_trip(const std::vector<f32>& values) {
  std::vector<typename Q::Block> blocks(values.size() / Q::block_len);
  Q::quantize(values, blocks.data());
  return dequantized<Q>(blocks);
}

}  // namespace tmodel::testing
