// SmolLM2-135M: no allocation while text is generated.

#include <gtest/gtest.h>

#include <cstdlib>

#include "io/allocations.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/tmodel.hpp"

namespace {

using namespace tmodel;

template <class B>
void steps_allocate_nothing(int steps) {
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
  ASSERT_GT(before, 0) << "this program does not count its allocations";
  for (int i = 0; i < steps; ++i) {
    id = (*sampler)(session->logits(), session->tokens(), {.seed = 5, .sequence = 0, .position = static_cast<std::uint64_t>(i)});
    bytes += stream->push(id).size();
    if (!session->append(std::span(&id, 1))) break;
  }
  EXPECT_EQ(tmodel::testing::Allocations::calls, before);
  EXPECT_EQ(session->length(), steps + 1);
  EXPECT_GT(bytes, static_cast<std::size_t>(steps));
}

TEST(SmolLm2Counted, cpu_allocates_nothing_in_a_thousand_steps) { steps_allocate_nothing<CpuSimd<f32>>(1000); }
/// Reference takes a third of a second for a step: ./test --long asks for the thousand.
TEST(SmolLm2Counted, reference_allocates_nothing) {
  const char* asked = std::getenv("TMODEL_REFERENCE_STEPS");
  steps_allocate_nothing<Reference<f32>>(asked != nullptr ? std::atoi(asked) : 20);
}

}  // namespace
