#pragma once
// Weights and activations for products, and their bits in plain code.

#include "backends/op_cases.hpp"
#include "tmodel/backends/cpu/arch.hpp"
#include "tmodel/quant/dot_reference.hpp"

namespace tmodel::testing {

/// Arbitrary codes with usable scales.
template <class Q>
std::vector<typename Q::Block> random_weights(std::size_t blocks, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<typename Q::Block> w(blocks);
  if constexpr (Q::block_len == 1) {
    const Table values = normal_table(1, static_cast<int>(blocks), seed, 0.05f);
    Q::quantize(values.values, w.data());
  } else {
    for (auto& block : w) {
      unsigned char bytes[sizeof block];
      for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(bits() >> 13);
      std::memcpy(&block, bytes, sizeof block);
      const auto put_scale = [&]<class T>(T& to) {
        const f32 scale = static_cast<f32>(100u + bits() % 1000u) * (bits() % 2 ? 1e-5f : -1e-5f);
        if constexpr (std::is_same_v<T, f32>)  // in formats that HACKING's recipe adds
          to = scale;
        else
          to = to_f16(scale);
      };
      if constexpr (std::is_same_v<Q, MXFP4>)
        block.e = static_cast<std::uint8_t>(115 + bits() % 9);
      else
        put_scale(block.d);
      if constexpr (requires { block.m; }) put_scale(block.m);
      if constexpr (requires { block.dmin; }) put_scale(block.dmin);
    }
  }
  return w;
}

/// The same scales with every other byte of the blocks `codes`.
template <class Q>
std::vector<typename Q::Block> extreme_weights(std::size_t blocks, int codes) {
  auto w = random_weights<Q>(blocks, 5);
  if constexpr (Q::block_len > 1)
    for (auto& block : w) {
      const auto kept = block;
      std::memset(&block, codes, sizeof block);
      if constexpr (requires { block.d; }) block.d = kept.d;
      if constexpr (requires { block.e; }) block.e = kept.e;
      if constexpr (requires { block.m; }) block.m = kept.m;
      if constexpr (requires { block.dmin; }) block.dmin = kept.dmin;
    }
  return w;
}

/// Rows of 1 and -1 only: every activation is as far from 0 as it gets.
inline Table extreme_table(int rows, int columns) {
  Table x{rows, columns, {}};
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < columns; ++i)
      x.values.push_back(r % 4 == 0   ? 1.f
                         : r % 4 == 1 ? -1.f
                         : r % 4 == 2 ? (i % 2 ? 1.f : -1.f)
                                      : (i / 2 % 2 ? 1.f : -1.f));
  return x;
}

inline f32 rounded_twice(f32 a, f32 b, f32 c) noexcept {
  const volatile f32 product = a * b;  // as SSE2 does it, whatever this is compiled for
  return product + c;
}

/// The fused addition of A.
template <class A>
inline constexpr auto fused_of = std::is_same_v<A, cpu::sse2> ? rounded_twice : detail::fused;

/// What a row of activations is multiplied with: in blocks of 8 bits for quantised weights, themselves otherwise.
template <class Q>
auto activations_for(const f32* x, std::size_t columns) {
  if constexpr (QuantizedFormat<Q>) {
    std::vector<Q8Block> quantised(columns / q8_block_len);
    quantize_row({x, columns}, quantised.data());
    return quantised;
  } else {
    return std::vector<f32>(x, x + columns);
  }
}

/// The order of additions of quantised weights: dot_q8's.
template <class Q, class A>
f32 ordered_product(const typename Q::Block* w, const std::vector<Q8Block>& x, std::size_t columns) {
  return dot_q8<Q>(w, x.data(), columns, fused_of<A>);
}

/// That of floats, as backends/cpu/matmul_dense.hpp describes it.
template <class Q, class A>
f32 ordered_product(const typename Q::Block* w, const std::vector<f32>& x, std::size_t columns) {
  constexpr std::size_t lanes = cpu::lanes<A>;
  std::vector<f32> weights(columns);
  Q::dequantize(w, weights);
  const std::size_t steps = (columns + 767) / 768, step = ((columns + steps - 1) / steps + 31) / 32 * 32;
  f32 total = 0;
  for (std::size_t from = 0; from < columns; from += step) {
    f32 lane[8] = {};
    for (std::size_t i = from; i < std::min(from + step, columns); ++i)
      lane[(i - from) % lanes] = fused_of<A>(weights[i], x[i], lane[(i - from) % lanes]);
    f32 sum = (lane[0] + lane[2]) + (lane[1] + lane[3]);
    if (lanes == 8) sum += (lane[4] + lane[6]) + (lane[5] + lane[7]);
    total = from == 0 ? sum : total + sum;
  }
  return total;
}

/// Every output has the bits that plain code gives.
template <class Q, class A = cpu::default_arch>
void expect_ordered_bits(const std::vector<typename Q::Block>& w, int outputs, const Table& x,
                         const std::vector<f32>& got) {
  const auto columns = static_cast<std::size_t>(x.columns);
  for (int r = 0; r < x.rows; ++r) {
    const auto activations = activations_for<Q>(x.row(r), columns);
    for (int o = 0; o < outputs; ++o)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[static_cast<std::size_t>(r * outputs + o)]),
                std::bit_cast<std::uint32_t>(ordered_product<Q, A>(
                    w.data() + static_cast<std::size_t>(o) * (columns / Q::block_len), activations, columns)))
          << columns << " columns, row " << r << " of " << x.rows << ", output " << o << " of " << outputs;
  }
}

}  // namespace tmodel::testing
