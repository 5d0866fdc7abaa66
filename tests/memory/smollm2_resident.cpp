// Growth of resident memory from before load to after a prompt that fills the context, against the plan, each in
// a process of its own: they may differ by 3 %.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>

#include "tmodel/backends/reference.hpp"
#include "tmodel/tmodel.hpp"

namespace {

using namespace tmodel;

/// VmRSS of this process in bytes; 0: not to be had.
std::size_t resident() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmRSS:") {
      std::size_t kilobytes = 0;
      status >> kilobytes;
      return kilobytes * 1024;
    }
  return 0;
}

template <class B>
expected<double> grown_over_planned(const char* path) {
  constexpr int context = 64;
  const LoadOptions options{.session = {.context = context}, .text = TextUse::required};
  using Model = Transformer<LlamaTraits, B>;
  const std::size_t before = resident();
  TMODEL_TRY(const MemoryUse plan, Model::plan(path, options));
  TMODEL_TRY(auto model, Model::load(path, options));
  TMODEL_TRY(auto session, model.session());
  std::vector<token_t> prompt(context);
  for (int i = 0; i < context; ++i) prompt[static_cast<std::size_t>(i)] = (i * 7919) % model.config().vocab;
  TMODEL_CHECK(session.append(prompt));
  const std::size_t grown = resident() - before;
  const double ratio = static_cast<double>(grown) / static_cast<double>(plan.total());
  std::printf("%s: planned %.1f MB, grew %.1f MB: %.3f of the plan\n", std::string(B::name).c_str(),
              static_cast<double>(plan.total()) / 1e6, static_cast<double>(grown) / 1e6, ratio);
  return before != 0 ? ratio : 0;
}

template <class B>
void resident_growth_is_the_plan() {
  const auto ratio = grown_over_planned<B>(TMODEL_SMOLLM2);
  ASSERT_TRUE(ratio) << ratio.error().message();
  EXPECT_LE(std::fabs(*ratio - 1), 0.03);
}

TEST(SmolLm2Resident, cpu) { resident_growth_is_the_plan<CpuSimd<f32>>(); }
TEST(SmolLm2Resident, reference) { resident_growth_is_the_plan<Reference<f32>>(); }

}  // namespace
