// SmolLM2-135M: no allocation while text is generated, and resident memory as planned.

#include "io/counted_new.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tmodel/backends/reference.hpp"
#include "tmodel/tmodel.hpp"

namespace {

using namespace tmodel;

std::size_t resident_bytes() {
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

template <class B>
void thousand_steps_allocate_nothing() {
  auto model = Transformer<LlamaTraits, B>::load(TMODEL_SMOLLM2, {.session = {.context = 1100}, .text = TextUse::required});
  ASSERT_TRUE(model) << model.error().message();
  const Tokenizer& tokenizer = model->language()->tokenizer();
  auto session = model->session();
  ASSERT_TRUE(session);
  auto sampler = Sampler::create({.temperature = 0.9f, .top_k = 40, .top_p = 0.95f, .repetition_penalty = 1.1f}, model->config().vocab);
  ASSERT_TRUE(sampler);
  auto stream = StreamDecoder::create(tokenizer);
  ASSERT_TRUE(stream);
  std::size_t bytes = 0;
  token_t id = 1;
  ASSERT_TRUE(session->append(std::span(&id, 1)));
  const long before = tmodel::testing::Allocations::calls;
  for (int i = 0; i < 1000; ++i) {
    id = (*sampler)(session->logits(), session->tokens(), {.seed = 5, .sequence = 0, .position = static_cast<std::uint64_t>(i)});
    bytes += stream->push(id).size();
    if (!session->append(std::span(&id, 1))) break;
  }
  EXPECT_EQ(tmodel::testing::Allocations::calls, before);
  EXPECT_EQ(session->length(), 1001);
  EXPECT_GT(bytes, 1000u);
}

TEST(SteadyState, reference_allocates_nothing_in_a_thousand_steps) { thousand_steps_allocate_nothing<Reference<f32>>(); }
TEST(SteadyState, cpu_allocates_nothing_in_a_thousand_steps) { thousand_steps_allocate_nothing<CpuSimd<f32>>(); }

template <class B>
void resident_memory_is_as_planned(KvType kv) {
  using Model = Transformer<LlamaTraits, B>;
  const LoadOptions options{.session = {.context = 600, .kv = kv}, .text = TextUse::required};
  const auto plan = Model::plan(TMODEL_SMOLLM2, options);
  ASSERT_TRUE(plan) << plan.error().message();
  const std::size_t before = resident_bytes();
  auto model = Model::load(TMODEL_SMOLLM2, options);
  ASSERT_TRUE(model);
  auto session = model->session();
  ASSERT_TRUE(session);
  std::vector<token_t> ids;
  for (int i = 0; i < 600; ++i) ids.push_back(i * 73 % model->config().vocab);
  ASSERT_TRUE(session->append(ids));
  const auto grown = static_cast<double>(resident_bytes() - before), planned = static_cast<double>(plan->total());
  EXPECT_NEAR(grown / planned, 1.0, 0.03) << grown << " bytes grown, " << planned << " planned";
}

TEST(MemoryPlan, reference_grows_by_the_plan) { resident_memory_is_as_planned<Reference<f32>>(KvType::f32); }
TEST(MemoryPlan, cpu_grows_by_the_plan) { resident_memory_is_as_planned<CpuSimd<f32>>(KvType::f16); }

}  // namespace
