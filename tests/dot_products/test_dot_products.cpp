// Kernels for instructions that most machines lack, against those that every machine has: the same bits. On x86-64 the
// instructions are plain code here, so that the kernels around them run anywhere; where the flags allow the real ones,
// those run too.

#include "backends/weights.hpp"
#include "tmodel/backends/cpu_simd.hpp"

#if TMODEL_CPU_AVX2

namespace tmodel::testing {

struct Emulated8 {};   // as avx2_vnni
struct Emulated16 {};  // as avx512_vnni

/// Operations of cpu::x86::EightSums, on n sums. Not inlined: a tile has hundreds of them.
template <int n>
struct PlainSums {
  struct Ints {
    std::int32_t v[n];
  };
  struct Floats {
    f32 v[n];
  };
  static constexpr int rows = n;

  template <class V>
  static V each(auto fn) noexcept {
    V out;
    for (int i = 0; i < n; ++i) out.v[i] = fn(i);
    return out;
  }
  /// What vpdpbusd does.
  static std::int32_t four(std::int32_t sum, std::uint32_t codes, std::uint32_t x) noexcept {
    for (int b = 0; b < 32; b += 8)
      sum += static_cast<std::uint8_t>(codes >> b) * static_cast<std::int8_t>(static_cast<std::uint8_t>(x >> b));
    return sum;
  }
  TMODEL_NOINLINE static Ints dot(Ints sum, Ints codes, Ints x) noexcept {
    return each<Ints>([&](int i) {
      return four(sum.v[i], static_cast<std::uint32_t>(codes.v[i]), static_cast<std::uint32_t>(x.v[i]));
    });
  }
  static Ints zero() noexcept { return {}; }
  TMODEL_NOINLINE static Ints codes(const std::int8_t* p) noexcept { return load_unaligned<Ints>(p); }
  TMODEL_NOINLINE static Ints broadcast4(const void* p) noexcept {
    return each<Ints>([&](int) { return load_unaligned<std::int32_t>(p); });
  }
  TMODEL_NOINLINE static Ints madd(Ints words, int by) noexcept {
    const auto low = [](int v) { return static_cast<std::int16_t>(v & 0xFFFF); };
    const auto high = [](int v) { return static_cast<std::int16_t>(v >> 16); };
    return each<Ints>([&](int i) { return low(words.v[i]) * low(by) + high(words.v[i]) * high(by); });
  }
  TMODEL_NOINLINE static Floats load(const f32* p) noexcept { return load_unaligned<Floats>(p); }
  TMODEL_NOINLINE static void store(f32* p, Floats v) noexcept { std::memcpy(p, &v, sizeof v); }
  TMODEL_NOINLINE static Floats all(f32 v) noexcept {
    return each<Floats>([&](int) { return v; });
  }
  TMODEL_NOINLINE static Floats times(Floats a, Floats b) noexcept {
    return each<Floats>([&](int i) { return a.v[i] * b.v[i]; });
  }
  TMODEL_NOINLINE static Floats fused(Floats a, Floats b, Floats c) noexcept {
    return each<Floats>([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
  }
  TMODEL_NOINLINE static Floats floats(Ints v) noexcept {
    return each<Floats>([&](int i) { return static_cast<f32>(v.v[i]); });
  }
};

struct PlainEight {
  TMODEL_NOINLINE static __m256i dot(__m256i sum, __m256i codes, __m256i x) noexcept {
    using Plain = PlainSums<8>;
    const auto ints = [](__m256i v) { return std::bit_cast<Plain::Ints>(v); };
    return std::bit_cast<__m256i>(Plain::dot(ints(sum), ints(codes), ints(x)));
  }
};

}  // namespace tmodel::testing

namespace tmodel::inline v0::cpu {

template <>
struct InstructionSet<testing::Emulated8> : InstructionSet<avx2> {};
template <>
struct InstructionSet<testing::Emulated16> : InstructionSet<avx2> {};

namespace x86 {
template <>
struct Vnni<testing::Emulated8> {
  using Eight = testing::PlainEight;
  using Tile = testing::PlainSums<8>;
};
template <>
struct Vnni<testing::Emulated16> {
  using Eight = testing::PlainEight;
  using Tile = testing::PlainSums<16>;
};
}  // namespace x86

}  // namespace tmodel::inline v0::cpu

#endif

namespace tmodel::testing {
namespace {

template <class... A>
struct Archs {};
#if TMODEL_CPU_AVX2
using Plain = CpuSimd<f32, cpu::avx2>;
using Emulated = Archs<Emulated8, Emulated16>;
#else
using Plain = CpuSimd<f32, cpu::neon64>;
using Emulated = Archs<>;
#endif
using Real = Archs<cpu::avx2_vnni, cpu::avx512_vnni, cpu::neon64_dotprod>;  // those that the flags allow

/// Offsets, two scales in 32, codes of 8 bits, no Codes: the generic kernel.
struct Own {
  struct Block {
    f16 d, m;
    std::int8_t q[32];
  };
  using Integers = IntegerBlock<32, 16, true>;
  static constexpr std::string_view name = "Own";
  static constexpr std::size_t block_len = 32;
  static constexpr std::uint32_t gguf_id = 9998;
  static constexpr Acts acts = Acts::q8;
  static void unpack(const Block& block, Integers& out) noexcept {
    std::memcpy(out.q, block.q, 32);
    out.scales[0] = to_f32(block.d), out.scales[1] = 2 * out.scales[0];
    out.offsets[0] = to_f32(block.m), out.offsets[1] = -out.offsets[0];
  }
  static void dequantize(const Block* blocks, std::span<f32> out) noexcept { dequantize_blocks<Own>(blocks, out); }
};

struct Names {
  template <class Q>
  static std::string GetName(int) {
    return std::string(Q::name);
  }
};
template <class Q>
class DotProducts : public ::testing::Test {
 public:
  /// dot_q8's bits and Plain's, of every arch that runs here.
  static void expect_bits(const std::vector<typename Q::Block>& w, int outputs, const Table& x) {
    const std::vector<f32> bias = normal_table(1, outputs, 7).values;
    const auto plain = run_matmul<Plain, Q>(w, outputs, x, bias, 1);
    const auto one = [&]<class A>() {
      if constexpr (cpu::compiled_for<A>) {
        if (!cpu::InstructionSet<A>::missing().empty()) return;
        using Cpu = CpuSimd<f32, A>;
        expect_ordered_bits<Q>(w, outputs, x, run_matmul<Cpu, Q>(w, outputs, x, {}, 1));
        EXPECT_EQ(std::memcmp(run_matmul<Cpu, Q>(w, outputs, x, bias, 2).data(), plain.data(), plain.size() * 4), 0);
      }
    };
    const auto each = [&]<class... A>(Archs<A...>) { (one.template operator()<A>(), ...); };
    each(Emulated());
    each(Real());
  }
};
// One of each coding that kernels tell apart, and codes with a sign in blocks of 256.
using Quantised = ::testing::Types<Q4_0, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q6_K, IQ4_XS, Own>;
TYPED_TEST_SUITE(DotProducts, Quantised, Names);

TYPED_TEST(DotProducts, of_every_size_have_the_bits_of_plain_code) {
  using Q = TypeParam;
  const std::vector<int> sizes =
      Q::block_len == 32 ? std::vector{32, 224, 288, 576, 1056} : std::vector{256, 768, 1280};
  for (const int columns : sizes)
    for (const int rows : {1, 2, 8, 9, 13, 19})
      for (const int outputs : {3, 8, 16, 37}) {
        const auto w = random_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, 8);
        this->expect_bits(w, outputs, normal_table(rows, columns, 9));
        if (this->HasFailure()) return;
      }
}

TYPED_TEST(DotProducts, of_extreme_codes_and_activations_have_the_bits_of_plain_code) {
  using Q = TypeParam;
  const int columns = 512, outputs = 21;
  for (const int codes : {0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0})
    for (const int rows : {4, 12}) {
      const auto w = extreme_weights<Q>(static_cast<std::size_t>(outputs * columns) / Q::block_len, codes);
      this->expect_bits(w, outputs, extreme_table(rows, columns));
      if (this->HasFailure()) return;
    }
}

}  // namespace
}  // namespace tmodel::testing
