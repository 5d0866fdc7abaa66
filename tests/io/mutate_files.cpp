// Mutation test of the readers: a damaged file is refused with an error, or everything that it promises can be read.
// Arguments: [COUNT [SEED [FIRST]]].

#include "io/mutation.hpp"

int main(int argc, char** argv) {
  using namespace tmodel::testing;
  volatile std::uint64_t sum = 0;
  const auto consume = [&](const MutatedModel& mutated) -> tmodel::expected<void> {
    TMODEL_TRY(const tmodel::ModelFiles model, mutated.open());
    sum = sum + read_everything(model);
    return {};
  };
  return run_mutations(argc, argv, consume);
}
