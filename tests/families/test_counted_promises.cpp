// Memory of every family on its goldens: no allocation once a session has begun, and an error value for each allocation
// that fails before.

#include "families/golden.hpp"
#include "io/allocations.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"

namespace {

using namespace tmodel;
using tmodel::testing::Allocations;

template <class B>
class CountedFamilies : public ::testing::Test {};
using CountedBackends = ::testing::Types<Reference<f32>, CpuSimd<f32>>;
TYPED_TEST_SUITE(CountedFamilies, CountedBackends);

template <class B>
expected<long> allocations_of_steps(const golden::Golden& g) {
  TMODEL_TRY(const auto model, golden::open<B>(g, {.executor = {}, .threads = 2}));
  TMODEL_TRY(auto session, Session<B>::make(*model, golden::session_options(g, 8)));
  TMODEL_CHECK(session.append(std::span(g.ids).first(1)));
  const long before = Allocations::calls;
  TMODEL_CHECK(session.append(std::span(g.ids).subspan(1)));
  for (const token_t id : g.greedy) TMODEL_CHECK(session.append(std::span(&id, 1)));
  return Allocations::calls - before;
}

TYPED_TEST(CountedFamilies, steps_allocate_nothing) {
  ASSERT_GT(Allocations::calls, 0) << "this program does not count its allocations";
  for (const auto& g : golden::all()) {
    const auto n = allocations_of_steps<TypeParam>(g);
    ASSERT_TRUE(n) << n.error().message();
    EXPECT_EQ(*n, 0) << g.folder.filename().string();
  }
}

template <class B>
expected<void> use(const golden::Golden& g) {
  return guard([&]() -> expected<void> {
    TMODEL_TRY(const auto model, golden::open<B>(g, {.executor = {}, .threads = 2}));
    TMODEL_TRY(auto session, Session<B>::make(*model, golden::session_options(g, 8)));
    return session.append(g.ids);
  });
}

TYPED_TEST(CountedFamilies, each_failing_allocation_is_an_error_value) {
  for (const auto& g : golden::one_of_each()) {
    SCOPED_TRACE(g.folder.filename().string());
    ASSERT_TRUE(use<TypeParam>(g));  // also warms what the standard library keeps for itself
    long n = 0, survived = 0;
    for (bool failed = true; failed; ++n) {
      const std::size_t live = Allocations::live;
      Allocations::fail_in = n + 1;
      auto result = use<TypeParam>(g);
      failed = Allocations::fail_in.exchange(0) == 0;
      if (!result && failed) {
        ASSERT_EQ(result.error().code, Errc::out_of_memory) << "allocation " << n << ": " << result.error().message();
        ASSERT_EQ(Allocations::live, live) << "allocation " << n << " leaks";
      }
      survived += result && failed ? 1 : 0;  // the scratch of std::sort's relatives
      ASSERT_TRUE(result || failed) << result.error().message();
    }
#if defined(__cpp_exceptions)
    EXPECT_GT(n, 100);
#else
    EXPECT_GT(n, 5);
#endif
    EXPECT_LE(survived, 20);
  }
}

}  // namespace
