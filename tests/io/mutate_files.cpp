// Mutation test: a damaged model of any family is refused with an error, or everything that it promises can be read,
// and then it is loaded and run. TMODEL_FILE_MUTATIONS="COUNT [SEED [FIRST]]" asks for others than the first 2000 of
// seed 1.

#include <gtest/gtest.h>

#include <cstdlib>

#include "families/golden.hpp"
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
  tmodel::testing::Mutator mutator;
  for (const auto& g : golden::one_of_each()) {
    std::vector<std::pair<std::string, std::string>> files;
    for (const auto& entry : std::filesystem::directory_iterator(g.folder))
      if (const auto name = entry.path().filename().string(); name.starts_with("model") || name == "config.json")
        files.emplace_back(name, golden::read_text(entry.path()));
    if (files.size() == 1 && files[0].first == "model.gguf")
      mutator.add_gguf(std::move(files[0].second));
    else
      mutator.add_folder(std::move(files));
  }
  EXPECT_TRUE(tmodel::testing::run_mutations(mutator, asked[0], asked[1], asked[2], consume));
  std::printf("%ld mutated models ran\n", ran);
}

}  // namespace
