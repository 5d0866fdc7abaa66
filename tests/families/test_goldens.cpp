// Logits and greedy tokens of both host backends against transformers, in every configuration branch.

#include "families/golden.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"

namespace {

using namespace tmodel;

// Of the largest logit. The reference computed in f32, so its own rounding is in the first bound; CpuSimd adds f32
// sums.
constexpr f64 reference_bound = 2e-5;
constexpr f64 cpu_float_bound = 1e-4;
// 8-bit activations: about 0.4 % noise per product, averaged over the row. Text is not compared then.
constexpr f64 cpu_quantised_bound = 6e-2;

// All of them in the release build; where an instruction costs ten times as much, every fourth.
constexpr std::size_t golden_part = TMODEL_TEST_ALL ? 1 : 4;

// Bits do not depend on threads (test_same_bits.cpp), and two of them spend most of a tiny model's time waiting.
constexpr int golden_threads = 1;

TEST(Goldens, cover_every_family_and_branch) {
  const auto goldens = golden::all();
  EXPECT_GE(goldens.size(), 400u);
  AllFamilies::for_each([&]<class F>() {
    EXPECT_TRUE(std::any_of(goldens.begin(), goldens.end(), [](const auto& g) { return g.family == F::name; }))
        << F::name;
  });
  for (const char* needle : {"tied", "mqa", "bias", "llama3", "linear", "dynamic", "yarn", "head_dim", "window",
                             "sharded", "gguf", "q4_k"}) {
    const auto has = [&](const golden::Golden& g) {
      std::string text = g.note + " " + g.folder.filename().string() + " " + g.weights + " " + g.path;
      std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
      return text.find(needle) != std::string::npos;
    };
    EXPECT_TRUE(std::any_of(goldens.begin(), goldens.end(), has)) << "no golden for " << needle;
  }
}

TEST(Goldens, reference_equals_transformers) {
  for (const auto& g : golden::every(golden_part)) {
    SCOPED_TRACE(g.folder.filename().string() + ": " + g.note);
    const auto r = golden::compute<Reference<f32>>(g, {.executor = {}, .threads = golden_threads});
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_LE(r->worst, reference_bound);
    EXPECT_EQ(r->greedy, g.greedy);
  }
}

TEST(Goldens, cpu_equals_transformers) {
  for (const auto& g : golden::every(golden_part)) {
    SCOPED_TRACE(g.folder.filename().string() + ": " + g.note);
    const auto r = golden::compute<CpuSimd<f32>>(g, {.executor = {}, .threads = golden_threads});
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_LE(r->worst, g.quantised() ? cpu_quantised_bound : cpu_float_bound);
    if (!g.quantised()) {
      EXPECT_EQ(r->greedy, g.greedy);
    }
  }
}

}  // namespace
