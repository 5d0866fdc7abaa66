// Mutation test: a damaged model is refused with an error, or everything that it promises can be read, and then it is
// loaded and run. Arguments: [COUNT [SEED [FIRST]]].

#include "io/mutation.hpp"
#include "tmodel/any_transformer.hpp"
#include "tmodel/backends/reference.hpp"

int main(int argc, char** argv) {
  using namespace tmodel;
  volatile std::uint64_t sum = 0;
  long ran = 0;
  const auto consume = [&](const testing::MutatedModel& mutated) -> expected<void> {
    TMODEL_TRY(ModelFiles files, mutated.open());
    sum = sum + testing::read_everything(files);
    auto model = AnyTransformer<Reference<f32>>::load(std::move(files), {.session = {.context = 8}}, {.threads = 1});
    if (!model) return {};  // a sound container of no sound model
    TMODEL_TRY(auto session, model->session());
    const token_t ids[] = {0, 1, 2};
    if (session.append(std::span(ids).first(static_cast<std::size_t>(std::min(3, model->config().vocab))))) ++ran;
    return {};
  };
  const int code = testing::run_mutations(argc, argv, consume);
  std::printf("%ld mutated models ran\n", ran);
  return code;
}
