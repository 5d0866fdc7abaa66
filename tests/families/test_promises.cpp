// What every family promises besides its numbers, on its goldens: the same bits however the work is cut, also where a
// window's cache has run round, and exactly the memory that was planned.

#include <cstdlib>
#include <cstring>
#include <functional>

#include "families/golden.hpp"
#include "tmodel/any_transformer.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/model/batch.hpp"

namespace {

using namespace tmodel;

/// One golden of each family and kind of file; on CpuSimd in the release build also every sixth of all, on both
/// backends all in ./test --long (TMODEL_EVERY_GOLDEN=1), which are minutes.
template <class B>
std::vector<golden::Golden> goldens_for_bits() {
  if (std::getenv("TMODEL_EVERY_GOLDEN") != nullptr) return golden::all();
  auto out = golden::one_of_each();
  if (TMODEL_TEST_ALL && !std::is_same_v<B, Reference<f32>>)
    for (auto& g : golden::every(6)) out.push_back(std::move(g));
  return out;
}

template <class B>
class FamilyPromises : public ::testing::Test {};
using HostBackends = ::testing::Types<Reference<f32>, CpuSimd<f32>>;
TYPED_TEST_SUITE(FamilyPromises, HostBackends);

bool same(std::span<const f32> a, std::span<const f32> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// The golden's ids and what follows them.
std::vector<token_t> all_tokens(const golden::Golden& g) {
  std::vector<token_t> ids = g.ids;
  ids.insert(ids.end(), g.greedy.begin(), g.greedy.end());
  return ids;
}

/// Logits [n, V] of every token, in chunks.
template <class B>
expected<std::vector<f32>> all_logits(const Model<B>& model, const golden::Golden& g, std::span<const token_t> ids,
                                      int chunk) {
  TMODEL_TRY(auto session, Session<B>::make(model, golden::session_options(g, chunk)));
  std::vector<f32> out;
  const auto each = [&](pos_t, std::span<const f32> logits) { out.insert(out.end(), logits.begin(), logits.end()); };
  TMODEL_CHECK(session.append(ids, {.each = each}));
  return out;
}

/// Goes back, apart and through bytes, and must find the same last logits each time.
template <class B>
expected<bool> detours_end_alike(const Model<B>& model, const golden::Golden& g, std::span<const token_t> ids,
                                 std::span<const f32> last) {
  TMODEL_TRY(auto session, Session<B>::make(model, golden::session_options(g, 7)));
  TMODEL_CHECK(session.append(ids));
  bool alike = same(session.logits(), last);
  for (const int back : {1, 2, 9, static_cast<int>(ids.size()) - 5}) {  // the last is beyond what a small window keeps
    const auto position = static_cast<std::size_t>(static_cast<int>(ids.size()) - back);
    TMODEL_CHECK(session.rewind(static_cast<pos_t>(position)));
    TMODEL_CHECK(session.append(ids.subspan(position)));
    alike = alike && same(session.logits(), last);
  }
  TMODEL_CHECK(session.rewind(static_cast<pos_t>(ids.size()) - 4));
  TMODEL_TRY(auto fork, session.fork());
  std::vector<std::byte> state(session.state_bytes());
  TMODEL_CHECK(session.save(state));
  TMODEL_TRY(auto restored, Session<B>::make(model, golden::session_options(g, 3)));
  TMODEL_CHECK(restored.append(ids.first(10)));
  TMODEL_CHECK(restored.restore(state));
  for (Session<B>* s : {&session, &fork, &restored}) {
    TMODEL_CHECK(s->append(ids.last(4)));
    alike = alike && same(s->logits(), last);
  }
  TMODEL_CHECK(restored.rewind(6));  // also what came from bytes can be read anew
  TMODEL_CHECK(restored.append(ids.subspan(6)));
  return alike && same(restored.logits(), last);
}

/// Ragged steps beside a session that reads something else.
template <class B>
expected<bool> neighbours_do_not_matter(const Model<B>& model, const golden::Golden& g, std::span<const token_t> ids,
                                        std::span<const f32> last) {
  const auto options = golden::session_options(g, 16);
  TMODEL_TRY(auto batch, Batch<B>::make(model, {.sequences = 2, .rows = 32, .context = options.context}));
  TMODEL_TRY(auto mine, Session<B>::make(model, options));
  TMODEL_TRY(auto other, Session<B>::make(model, options));
  for (std::size_t at = 0; at < ids.size();) {
    const std::size_t n = std::min<std::size_t>(at % 3 == 0 ? 5 : at % 3 == 1 ? 1 : 9, ids.size() - at);
    if (other.length() + 3 > other.capacity()) TMODEL_CHECK(other.rewind(0));
    const typename Batch<B>::Entry entries[] = {{&other, ids.subspan(at % 7, 1 + at % 2)}, {&mine, ids.subspan(at, n)}};
    TMODEL_CHECK(batch.step(entries));
    at += n;
  }
  return same(mine.logits(), last);
}

template <class B>
expected<void> check_bits(const golden::Golden& g) {
  const std::vector<token_t> ids = all_tokens(g);
  TMODEL_TRY(const auto one, golden::open<B>(g, {.executor = {}, .threads = 1}));
  TMODEL_TRY(const auto three, golden::open<B>(g, {.executor = {}, .threads = 3}));
  TMODEL_TRY(const auto want, all_logits(*one, g, ids, static_cast<int>(ids.size())));
  for (const int chunk : {1, 7}) {
    TMODEL_TRY(const auto got, all_logits(*three, g, ids, chunk));
    EXPECT_TRUE(same(got, want)) << "chunks of " << chunk;
  }
  const auto last = std::span(want).last(static_cast<std::size_t>(one->config().vocab));
  TMODEL_TRY(const bool alike, detours_end_alike(*three, g, ids, last));
  EXPECT_TRUE(alike) << "after a rewind, fork or restore";
  TMODEL_TRY(const bool alone, neighbours_do_not_matter(*three, g, ids, last));
  EXPECT_TRUE(alone) << "beside another session";
  return {};
}

TYPED_TEST(FamilyPromises, bits_do_not_depend_on_threads_chunks_neighbours_and_detours) {
  for (const auto& g : goldens_for_bits<TypeParam>()) {
    SCOPED_TRACE(g.folder.filename().string());
    const auto done = check_bits<TypeParam>(g);
    EXPECT_TRUE(done) << done.error().message();
  }
}

/// Of the model, a session and a batch: what was counted before is what is held.
template <class B>
expected<void> check_plan(const golden::Golden& g) {
  TMODEL_TRY(const auto model, golden::open<B>(g, {.executor = {}, .threads = 1}));
  TMODEL_TRY(const SessionOptions settled, Session<B>::settle(model->config(), golden::session_options(g, 9)));
  TMODEL_TRY(const MemoryUse planned, Session<B>::plan(model->config(), model->spec(), settled));
  TMODEL_TRY(auto session, Session<B>::make(*model, settled));
  for (std::size_t i = 0; i < purpose_count; ++i) {
    const auto purpose = static_cast<Purpose>(i);
    EXPECT_EQ(session.use()[purpose], planned[purpose]) << "purpose " << i;
  }
  const auto windowed = [](const LayerPlan& plan) { return plan.window > 0; };
  const bool any = std::any_of(model->config().plans.begin(), model->config().plans.end(), windowed);
  if (any && model->config().window + 9 <
                 settled.context) {  // layers with a window keep the window and a chunk, not the context
    ModelConfig all = model->config();
    for (LayerPlan& plan : all.plans) plan.window = 0;
    TMODEL_TRY(const MemoryUse whole, Session<B>::plan(all, model->spec(), settled));
    EXPECT_LT(planned[Purpose::kv_cache], whole[Purpose::kv_cache]);
  }
  return {};
}

TYPED_TEST(FamilyPromises, the_plan_is_what_is_taken) {
  for (const auto& g : golden::all()) {
    SCOPED_TRACE(g.folder.filename().string());
    const auto done = check_plan<TypeParam>(g);
    EXPECT_TRUE(done) << done.error().message();
  }
}

/// Why a golden's file with other tensors cannot be loaded; "" if it can.
std::string problem_with(const golden::Golden& g, const std::function<void(std::vector<TensorInfo>&)>& change) {
  const auto& families = detail::data_of<AllFamilies>;
  auto files = open_model(g.path);
  if (!files) return files.error().message();
  change(files->source.tensors);
  if (auto sorted = files->source.sort(); !sorted) return sorted.error().message();
  const auto family =
      std::find_if(families.begin(), families.end(), [&](const FamilyData& f) { return f.name == g.family; });
  auto config = read_model_config(*family, files->source);
  if (!config) return config.error().message();
  FamilyFacts<Reference<f32>> facts;
  static_cast<FamilyData&>(facts) = *family;
  const auto plan = Model<Reference<f32>>::plan(facts, files->source, *config, MissingFormat::refuse);
  return plan ? "" : plan.error().message();
}

TEST(FamilyTensors, a_missing_or_further_one_is_named) {
  for (const auto& g : golden::one_of_each()) {
    if (g.path != g.folder) continue;  // in GGUF a bias may be missing
    SCOPED_TRACE(g.folder.filename().string());
    const auto files = open_model(g.path);
    ASSERT_TRUE(files);
    for (std::size_t i = 0; i < files->source.tensors.size(); ++i) {
      const std::string name = files->source.tensors[i].name;
      const std::string said =
          problem_with(g, [&](auto& tensors) { tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i)); });
      if (name == "lm_head.weight")
        EXPECT_EQ(said, "") << "a model without a head is tied";
      else
        EXPECT_NE(said.find(name), said.npos) << name << " is missing: " << said;
    }
    const std::string said = problem_with(g, [](auto& tensors) {
      tensors.push_back(tensors.front());
      tensors.back().name = "model.layers.0.self_attn.sinks";
    });
    EXPECT_NE(said.find("model.layers.0.self_attn.sinks"), said.npos) << said;
    EXPECT_EQ(problem_with(g,
                           [](auto& tensors) {
                             tensors.push_back(tensors.front());
                             tensors.back().name = "model.layers.0.self_attn.rotary_emb.inv_freq";
                           }),
              "");
  }
}

}  // namespace
