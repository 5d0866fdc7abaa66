// What a session promises besides its numbers: errors as values, the plan, cancelling, a full context.

#include <thread>

#include "model/tiny_model.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"

namespace {

using namespace tmodel;

template <class B>
class SessionTest : public ::testing::Test {
 protected:
  tiny::Data data;
  tiny::Sizes sizes;
  std::unique_ptr<Model<B>> model = tiny::load<LlamaTraits, B>(tiny::source<LlamaTraits, F32>(sizes, data), {.executor = {}, .threads = 2});
};
using Backends = ::testing::Types<Reference<f32>, Reference<f64>, CpuSimd<f32>>;
TYPED_TEST_SUITE(SessionTest, Backends);

TYPED_TEST(SessionTest, planned_bytes_are_the_bytes_that_are_taken) {
  using B = TypeParam;
  const auto facts = family_facts<LlamaTraits, B>();
  tiny::Data data;
  const TensorSource source = tiny::source<LlamaTraits, F32>(this->sizes, data);
  ModelConfig config = this->model->config();
  EXPECT_EQ(tiny::must(Model<B>::plan(facts, source, config, MissingFormat::refuse)), this->model->use());
  for (const KvType kv : {KvType::f32, KvType::f16})
    for (const int context : {16, 100}) {
      const auto options =
          tiny::must(Session<B>::settle(this->model->config(), {.context = context, .kv = kv, .chunk = 8}));
      const auto session = tiny::must(Session<B>::make(*this->model, options));
      const MemoryUse plan = tiny::must(Session<B>::plan(this->model->config(), this->model->spec(), options));
      EXPECT_EQ(plan, session.use());
      EXPECT_GE(plan[Purpose::kv_cache], 2u * 2u * 2u * 16u * static_cast<unsigned>(context) * (kv == KvType::f32 ? 4u : 2u));
    }
}

TYPED_TEST(SessionTest, a_token_outside_the_vocabulary_is_refused) {
  auto s = tiny::must(Session<TypeParam>::make(*this->model, {.context = 32}));
  for (const token_t id : {-1, 80, 1 << 30}) {
    const auto r = s.append(std::vector<token_t>{1, id});
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, Errc::bad_argument);
    EXPECT_EQ(s.length(), 0);
  }
}

TYPED_TEST(SessionTest, a_full_context_is_an_error_and_changes_nothing) {
  auto s = tiny::must(Session<TypeParam>::make(*this->model, {.context = 10, .chunk = 4}));
  tiny::must(s.append(tiny::prompt(8, 80)));
  const auto r = s.append(tiny::prompt(3, 80));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::context_full);
  EXPECT_EQ(s.length(), 8);
  tiny::must(s.append(tiny::prompt(2, 80)));
  EXPECT_EQ(s.length(), 10);
}

TYPED_TEST(SessionTest, a_shift_gives_the_state_of_a_fresh_session) {
  auto s = tiny::must(Session<TypeParam>::make(*this->model, {.context = 12, .chunk = 5, .when_full = WhenFull::shift, .keep = 2}));
  const auto ids = tiny::prompt(13, 80);
  tiny::must(s.append(std::span(ids).first(12)));
  tiny::must(s.append(std::span(ids).last(1)));
  std::vector<token_t> kept{ids[0], ids[1]};
  kept.insert(kept.end(), ids.begin() + 7, ids.end());
  EXPECT_EQ(std::vector<token_t>(s.tokens().begin(), s.tokens().end()), kept);
  auto fresh = tiny::must(Session<TypeParam>::make(*this->model, {.context = 12}));
  tiny::must(fresh.append(kept));
  EXPECT_EQ(std::memcmp(s.logits().data(), fresh.logits().data(), s.logits().size_bytes()), 0);
}

TYPED_TEST(SessionTest, a_set_cancel_flag_stops_and_leaves_finished_chunks) {
  auto s = tiny::must(Session<TypeParam>::make(*this->model, {.context = 64, .chunk = 8}));
  std::atomic<bool> cancel{false};
  const auto progress = [&](int done, int) { cancel = done >= 16; };
  const auto r = s.append(tiny::prompt(40, 80), {.cancel = &cancel, .progress = progress, .each = {}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::cancelled);
  EXPECT_EQ(s.length(), 16);
  EXPECT_TRUE(s.logits().empty());
  tiny::must(s.append(std::span<const token_t>(tiny::prompt(40, 80)).subspan(16)));
  auto whole = tiny::must(Session<TypeParam>::make(*this->model, {.context = 64}));
  tiny::must(whole.append(tiny::prompt(40, 80)));
  EXPECT_EQ(std::memcmp(s.logits().data(), whole.logits().data(), s.logits().size_bytes()), 0);
}

TYPED_TEST(SessionTest, a_damaged_state_is_refused) {
  auto s = tiny::must(Session<TypeParam>::make(*this->model, {.context = 32}));
  tiny::must(s.append(tiny::prompt(9, 80)));
  std::vector<std::byte> state(s.state_bytes());
  tiny::must(s.save(state));
  EXPECT_EQ(s.restore(std::span(state).first(20)).error().code, Errc::bad_file);
  EXPECT_EQ(s.restore(std::span(state).first(state.size() - 1)).error().code, Errc::bad_file);
  auto broken = state;
  broken[0] = std::byte{0};
  EXPECT_EQ(s.restore(broken).error().code, Errc::bad_file);
  EXPECT_EQ(s.length(), 9);
  broken = state;
  std::memset(broken.data() + 44, 0x7F, 4);  // the first token
  EXPECT_EQ(s.restore(broken).error().code, Errc::bad_file);
  EXPECT_EQ(s.length(), 0);
  auto small = tiny::must(Session<TypeParam>::make(*this->model, {.context = 4}));
  EXPECT_EQ(small.restore(state).error().code, Errc::context_full);
}

TYPED_TEST(SessionTest, bad_options_are_errors) {
  for (const SessionOptions& o : {SessionOptions{.context = -1}, SessionOptions{.context = 1 << 30}, SessionOptions{.chunk = 0},
                                  SessionOptions{.rope_length = -5}, SessionOptions{.keep = -1}}) {
    const auto s = Session<TypeParam>::make(*this->model, o);
    ASSERT_FALSE(s);
    EXPECT_EQ(s.error().code, Errc::bad_argument);
  }
  EXPECT_EQ(Session<TypeParam>::make(*this->model, {.kv = KvType::q8_0}).error().code, Errc::unsupported);  // head_dim 16
}

TYPED_TEST(SessionTest, sessions_of_one_model_run_on_several_threads) {
  const auto ids = tiny::prompt(30, 80);
  auto alone = tiny::must(Session<TypeParam>::make(*this->model, {.context = 32, .chunk = 7}));
  tiny::must(alone.append(ids));
  std::vector<std::thread> threads;
  std::atomic<int> equal{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto s = Session<TypeParam>::make(*this->model, {.context = 32, .chunk = 1 + t});
      if (s && s->append(ids) && std::memcmp(s->logits().data(), alone.logits().data(), alone.logits().size_bytes()) == 0) ++equal;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(equal, 4);
}

struct HalfOnly : FormatSet<F16> {};

TEST(ConvertedWeights, products_have_what_the_converted_weights_read) {
  using B = CpuSimd<f32, cpu::default_arch, HalfOnly>;
  tiny::Data data;
  const tiny::Sizes sizes;
  const auto model =
      tiny::load<LlamaTraits, B>(tiny::source<LlamaTraits, Q8_0>(sizes, data), {}, MissingFormat::convert_to_f16);
  EXPECT_EQ(model->config().acts, Acts::floats);
  const auto ids = tiny::prompt(12, sizes.vocab);
  auto whole = tiny::must(Session<B>::make(*model, {.context = 16, .chunk = 12, .all_logits = true}));
  auto single = tiny::must(Session<B>::make(*model, {.context = 16, .chunk = 1, .all_logits = true}));
  EXPECT_EQ(tiny::all_logits(whole, ids), tiny::all_logits(single, ids));
}

TYPED_TEST(SessionTest, batch_refuses_what_it_cannot_step) {
  using B = TypeParam;
  auto batch = tiny::must(Batch<B>::make(*this->model, {.sequences = 2, .rows = 4, .context = 32}));
  auto s = tiny::must(Session<B>::make(*this->model, {.context = 32}));
  auto t = tiny::must(Session<B>::make(*this->model, {.context = 32}));
  const auto ids = tiny::prompt(5, 80);
  using Entry = typename Batch<B>::Entry;
  const auto code = [&](std::vector<Entry> entries) { return batch.step(entries).error().code; };
  EXPECT_EQ(code({Entry{&s, ids}}), Errc::bad_argument);                                             // too many rows
  EXPECT_EQ(code({Entry{&s, std::span(ids).first(1)}, Entry{&s, std::span(ids).first(1)}}), Errc::bad_argument);
  EXPECT_EQ(code({Entry{nullptr, std::span(ids).first(1)}}), Errc::bad_argument);
  EXPECT_EQ(code({Entry{&s, {}}}), Errc::bad_argument);
  tiny::must(t.append(tiny::prompt(32, 80)));
  EXPECT_EQ(code({Entry{&s, std::span(ids).first(1)}, Entry{&t, std::span(ids).first(1)}}), Errc::context_full);
  EXPECT_EQ(s.length(), 0);
}

}  // namespace
