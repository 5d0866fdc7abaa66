// Mutation test: a damaged model is refused with an error, or everything that it promises can be read, and then it is
// loaded and run. TMODEL_FILE_MUTATIONS="COUNT [SEED [FIRST]]" asks for others than the first 2000 of seed 1.

#include <gtest/gtest.h>

#include <cstdlib>

#include "io/mutation.hpp"
#include "tmodel/any_transformer.hpp"
#include "tmodel/backends/reference.hpp"

namespace {

using namespace tmodel;

TEST(CountedMutations, of_files_are_refused_or_run) {
  std::uint64_t asked[] = {2000, 1, 0};
  const char* text = std::getenv("TMODEL_FILE_MUTATIONS");
  for (std::uint64_t& number : asked) {
    char* end = nullptr;
    const std::uint64_t value = text != nullptr ? std::strtoull(text, &end, 10) : 0;
    if (end == text) break;
    number = value;
    text = end;
  }
  volatile std::uint64_t sum = 0;
  long ran = 0;
  const auto consume = [&](const tmodel::testing::MutatedModel& mutated) -> expected<void> {
    TMODEL_TRY(ModelFiles files, mutated.open());
    sum = sum + tmodel::testing::read_everything(files);
    auto model = AnyTransformer<Reference<f32>>::load(std::move(files), {.session = {.context = 8}}, {.threads = 1});
    if (!model) return {};  // a sound container of no sound model
    TMODEL_TRY(auto session, model->session());
    const token_t ids[] = {0, 1, 2};
    if (session.append(std::span(ids).first(static_cast<std::size_t>(std::min(3, model->config().vocab))))) ++ran;
    return {};
  };
  EXPECT_GT(tmodel::testing::Allocations::calls, 0) << "this program does not count its allocations";
  EXPECT_TRUE(tmodel::testing::run_mutations(asked[0], asked[1], asked[2], consume));
  std::printf("%ld mutated models ran\n", ran);
}

}  // namespace
