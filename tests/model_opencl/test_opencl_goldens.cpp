// Every golden on OpenCl: logits within the bound of float weights, the same greedy tokens, also for quantised weights,
// which meet f32 activations. Formats without a kernel are converted while loading.

#include "backends_opencl/driver_leaks.hpp"

#include "families/golden.hpp"
#include "tmodel/backends/opencl.hpp"

namespace {

using namespace tmodel;

TEST(OpenClGoldens, opencl_equals_transformers) {
  constexpr f64 bound = 1e-4;  // of the largest logit
  const auto goldens = golden::every(TMODEL_TEST_ALL ? 1 : 4);
  ASSERT_FALSE(goldens.empty());
  for (const auto& g : goldens) {
    SCOPED_TRACE(g.folder.filename().string() + ": " + g.note);
    const auto r = golden::compute<OpenCl<f32>>(g, {}, MissingFormat::convert_to_f32);
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_LE(r->worst, bound);
    EXPECT_EQ(r->greedy, g.greedy);
  }
}

}  // namespace
