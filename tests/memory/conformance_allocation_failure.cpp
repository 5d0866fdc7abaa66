// The n-th allocation fails, for every n of loading and of 20 steps: an error value each time, nothing leaks, and the
// next try works.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "io/allocations.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/tmodel.hpp"

namespace {

using namespace tmodel;
using tmodel::testing::Allocations;

/// Everything that a program does with a model, up to the first error.
template <class B>
expected<void> use_model(const std::string& path) {
  TMODEL_TRY(auto model, (Transformer<LlamaTraits, B>::load(path, {.session = {.context = 64, .chunk = 8}, .text = TextUse::required}, {.threads = 2})));
  TMODEL_TRY(const auto ids, model.language()->tokenizer().encode("Once upon a time, there was"));
  TMODEL_TRY(auto session, model.session());
  TMODEL_TRY(Sampler sampler, Sampler::create({}, model.config().vocab));
  std::size_t bytes = 0;
  const auto count = [&](std::string_view text) { return bytes += text.size(), true; };
  TMODEL_TRY(const Generation g, generate(session, model.language()->tokenizer(), sampler, ids, {.max_tokens = 20, .on_text = count}));
  if (g.tokens != 20 || bytes == 0) return fail(Errc::bad_argument, "wrong answer");
  return {};
}

template <class B>
void fail_each_allocation(const std::string& path) {
  const auto whole = use_model<B>(path);  // also warms what the standard library keeps for itself
  ASSERT_TRUE(whole) << whole.error().message();
  long n = 0, survived = 0;
  for (;; ++n) {
    const std::size_t live = Allocations::live;
    Allocations::fail_in = n + 1;
    auto result = use_model<B>(path);
    const bool failed = Allocations::fail_in.exchange(0) == 0;
    if (!failed) {
      ASSERT_TRUE(result) << result.error().message();
      break;
    }
    if (result) {  // the scratch of std::stable_sort: without it the sort is slower and as right
      ++survived;
      continue;
    }
    ASSERT_EQ(result.error().code, Errc::out_of_memory) << "allocation " << n << ": " << result.error().message();
    ASSERT_EQ(Allocations::live, live) << "allocation " << n << " leaks";
  }
#if defined(__cpp_exceptions)
  EXPECT_GT(n, 100);
#else  // only the buffers: vocabulary, weights, caches, scratch
  EXPECT_GT(n, 10);
#endif
  EXPECT_LE(survived, 20);
  ::testing::Test::RecordProperty("allocations", static_cast<int>(n));
  EXPECT_TRUE(use_model<B>(path));
}

const std::string data = std::string(TMODEL_CONFORMANCE_DATA) + "/models/stories260K/derived/";

TEST(ConformanceCountedFailures, reference_from_gguf) {
  fail_each_allocation<Reference<f32>>(data + "stories260K-f32.gguf");
}
TEST(ConformanceCountedFailures, reference_from_a_folder) { fail_each_allocation<Reference<f32>>(data + "hf"); }
TEST(ConformanceCountedFailures, cpu_from_gguf) { fail_each_allocation<CpuSimd<f32>>(data + "stories260K-q8_0.gguf"); }
TEST(ConformanceCountedFailures, cpu_from_a_folder) { fail_each_allocation<CpuSimd<f32>>(data + "hf"); }

}  // namespace
