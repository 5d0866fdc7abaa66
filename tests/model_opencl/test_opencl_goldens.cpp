// Every golden on OpenCl: logits within the bound of float weights, the same greedy tokens. Formats without a kernel
// are converted while loading, so that every configuration branch runs; quantised ones are then compared as f32.

#include "backends_opencl/driver_leaks.hpp"

#include "families/golden.hpp"
#include "tmodel/backends/opencl.hpp"

namespace {

using namespace tmodel;

TEST(OpenClGoldens, opencl_equals_transformers) {
  constexpr f64 bound = 1e-4;  // of the largest logit
  const auto goldens = golden::all();
  ASSERT_FALSE(goldens.empty());
  for (const auto& g : goldens) {
    SCOPED_TRACE(g.folder.filename().string() + ": " + g.note);
    const bool own_kernel = g.weights == "f32" || g.weights == "f16" || g.weights == "bf16";
    using Wide = OpenCl<f32, FormatSet<F32>>;  // the others become F32
    const auto r = own_kernel ? golden::compute<OpenCl<f32>>(g, {}, MissingFormat::convert_to_f32)
                              : golden::compute<Wide>(g, {}, MissingFormat::convert_to_f32);
    ASSERT_TRUE(r) << r.error().message();
    EXPECT_LE(r->worst, bound);
    EXPECT_EQ(r->greedy, g.greedy);
  }
}

}  // namespace
