// stories260K on OpenCl against Reference, the f64 logits and the greedy texts of the data folder, in the four formats
// that OpenCl multiplies; and the promises of a session, which must hold on a device as they do on the host.

#include "backends_opencl/driver_leaks.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tmodel/backends/opencl.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/families/llama.hpp"
#include "tmodel/transformer.hpp"

namespace {

using namespace tmodel;

const std::string folder = std::string(TMODEL_CONFORMANCE_DATA) + "/models/stories260K/derived/";
constexpr std::size_t vocab = 512;

template <class B>
using Stories = Transformer<LlamaTraits, B>;

nlohmann::json read_json(const std::string& name) {
  std::ifstream file(folder + name);
  return nlohmann::json::parse(file, nullptr, false);
}
std::vector<token_t> reference_ids() { return read_json("ref_logits.json")["ids"].get<std::vector<token_t>>(); }

template <class B>
expected<Stories<B>> load(const std::string& format, SessionOptions session = {}) {
  return Stories<B>::load(folder + "stories260K-" + format + ".gguf", {.session = session, .text = TextUse::none});
}

/// Logits [n, vocab] of every id.
template <class B>
std::vector<f32> logits_of(const Stories<B>& model, std::span<const token_t> ids, int chunk, KvType kv = KvType::f32) {
  std::vector<f32> out(ids.size() * vocab);
  SessionOptions options;
  options.context = 128;
  options.kv = kv;
  options.chunk = chunk;
  options.all_logits = true;
  auto session = model.session(options);
  EXPECT_TRUE(session) << session.error().message();
  if (!session) return out;
  const auto each = [&](pos_t position, std::span<const f32> logits) {
    std::copy(logits.begin(), logits.end(),
              out.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(position) * vocab));
  };
  AppendOptions append;
  append.each = each;
  const auto done = session->append(ids, append);
  EXPECT_TRUE(done) << done.error().message();
  return out;
}

f64 relative_difference(const std::vector<f32>& got, const std::vector<f32>& want) {
  f64 difference = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(got[i])) return HUGE_VAL;
    difference = std::max(difference, std::fabs(static_cast<f64>(got[i]) - static_cast<f64>(want[i])));
    largest = std::max(largest, std::fabs(static_cast<f64>(want[i])));
  }
  return difference / largest;
}

class ConformanceOpenClStories : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, ConformanceOpenClStories, ::testing::Values("f32", "f16", "q8_0", "q4_0"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_P(ConformanceOpenClStories, logits_match_reference_on_the_same_file) {
  const auto ids = reference_ids();
  const auto device = load<OpenCl<f32>>(GetParam());
  const auto host = load<Reference<f32>>(GetParam());
  ASSERT_TRUE(device) << device.error().message();
  ASSERT_TRUE(host) << host.error().message();
  for (const KvType kv : {KvType::f32, KvType::f16}) {
    const f64 difference = relative_difference(logits_of(*device, ids, 64, kv), logits_of(*host, ids, 64, kv));
    RecordProperty("difference", std::to_string(difference));
    // An f16 cache may round a value to its other neighbour, 2^-11 of it away.
    EXPECT_LE(difference, kv == KvType::f32 ? 2e-5 : 1e-3);
  }
}

TEST_P(ConformanceOpenClStories, greedy_text_is_the_expected_one) {
  const auto model = load<OpenCl<f32>>(GetParam());
  ASSERT_TRUE(model) << model.error().message();
  SessionOptions options;
  options.context = 128;
  options.kv = KvType::f32;
  auto session = model->session(options);
  ASSERT_TRUE(session) << session.error().message();
  std::vector<token_t> ids{1};
  for (std::size_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(session->append(std::span(ids).last(1)));
    const std::span<const f32> logits = session->logits();
    ids.push_back(static_cast<token_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  EXPECT_EQ(ids, read_json("expected_by_quant.json")[GetParam()]["greedy_100_ids"].get<std::vector<token_t>>());
}

TEST(ConformanceOpenClStoriesF32, logits_match_the_f64_reference) {
  const auto ids = reference_ids();
  const auto model = load<OpenCl<f32>>("f32");
  ASSERT_TRUE(model) << model.error().message();
  std::vector<f32> want(ids.size() * vocab);
  std::ifstream file(folder + "ref_logits_64x512_f32.bin", std::ios::binary);
  file.read(reinterpret_cast<char*>(want.data()), static_cast<std::streamsize>(want.size() * sizeof(f32)));
  ASSERT_TRUE(file);
  EXPECT_LE(relative_difference(logits_of(*model, ids, 64), want), 1e-5);
}

TEST_P(ConformanceOpenClStories, bits_do_not_depend_on_the_chunk) {
  const auto ids = reference_ids();
  const auto model = load<OpenCl<f32>>(GetParam());
  ASSERT_TRUE(model) << model.error().message();
  const auto whole = logits_of(*model, ids, 64, KvType::f16);
  for (const int chunk : {1, 2, 7, 33})
    EXPECT_EQ(whole, logits_of(*model, ids, chunk, KvType::f16)) << "chunk " << chunk;
}

TEST_P(ConformanceOpenClStories, bits_do_not_depend_on_neighbours_in_a_batch_forks_rewinds_or_saved_states) {
  const auto ids = reference_ids();
  SessionOptions options;
  options.context = 100;
  const auto model = load<OpenCl<f32>>(GetParam(), options);
  ASSERT_TRUE(model) << model.error().message();
  const auto all = std::span<const token_t>(ids);
  auto alone = model->session();
  ASSERT_TRUE(alone) << alone.error().message();
  ASSERT_TRUE(alone->append(all.first(40)));
  const std::vector<f32> want(alone->logits().begin(), alone->logits().end());

  auto first = model->session(), second = model->session();
  ASSERT_TRUE(first && second);
  ASSERT_TRUE(first->append(all.first(20)));
  auto batch = model->batch({.sequences = 2, .rows = 64, .context = 100});
  ASSERT_TRUE(batch) << batch.error().message();
  const Batch<OpenCl<f32>>::Entry entries[2] = {{&*second, all.subspan(30, 33)}, {&*first, all.subspan(20, 20)}};
  ASSERT_TRUE(batch->step(entries));
  EXPECT_TRUE(std::equal(want.begin(), want.end(), first->logits().begin()));

  auto fork = first->fork();
  ASSERT_TRUE(fork) << fork.error().message();
  ASSERT_TRUE(first->append(all.subspan(50, 10)));
  ASSERT_TRUE(first->rewind(11));
  ASSERT_TRUE(first->append(all.subspan(11, 29)));
  EXPECT_TRUE(std::equal(want.begin(), want.end(), first->logits().begin()));

  std::vector<std::byte> state(fork->state_bytes());
  ASSERT_TRUE(fork->save(state));
  auto restored = model->session();
  ASSERT_TRUE(restored);
  ASSERT_TRUE(restored->restore(state));
  ASSERT_TRUE(restored->append(all.subspan(40, 5)));
  ASSERT_TRUE(alone->append(all.subspan(40, 5)));
  ASSERT_TRUE(fork->append(all.subspan(40, 5)));
  EXPECT_TRUE(std::equal(alone->logits().begin(), alone->logits().end(), restored->logits().begin()));
  EXPECT_TRUE(std::equal(alone->logits().begin(), alone->logits().end(), fork->logits().begin()));
}

TEST_P(ConformanceOpenClStories, plan_is_what_model_and_session_take) {
  SessionOptions options;
  options.context = 100;
  const std::string path = folder + "stories260K-" + GetParam() + ".gguf";
  const LoadOptions load_options{.session = options, .text = TextUse::none};
  const auto plan = Stories<OpenCl<f32>>::plan(path, load_options);
  ASSERT_TRUE(plan) << plan.error().message();
  const auto model = Stories<OpenCl<f32>>::load(path, load_options);
  ASSERT_TRUE(model) << model.error().message();
  const auto session = model->session();
  ASSERT_TRUE(session);
  MemoryUse use = model->use();
  use += session->use();
  EXPECT_EQ(*plan, use);
  EXPECT_EQ((*plan)[Purpose::weights_mapped], 0u);
}

TEST(ConformanceOpenClStoriesF32, cancelled_step_is_an_error_and_the_session_goes_on) {
  const auto ids = reference_ids();
  const auto model = load<OpenCl<f32>>("f32");
  ASSERT_TRUE(model) << model.error().message();
  auto session = model->session();
  ASSERT_TRUE(session);
  const std::atomic<bool> cancel{true};
  AppendOptions options;
  options.cancel = &cancel;
  const auto cancelled = session->append(ids, options);
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Errc::cancelled);
  EXPECT_EQ(session->length(), 0);
  ASSERT_TRUE(session->append(ids));
  auto fresh = model->session();
  ASSERT_TRUE(fresh);
  ASSERT_TRUE(fresh->append(ids));
  EXPECT_TRUE(std::equal(fresh->logits().begin(), fresh->logits().end(), session->logits().begin()));
}

TEST(ConformanceOpenClStoriesF32, sessions_of_one_model_run_in_threads_of_their_own) {
  const auto ids = reference_ids();
  const auto model = load<OpenCl<f32>>("f32");
  ASSERT_TRUE(model) << model.error().message();
  const auto want = logits_of(*model, ids, 16);
  std::vector<std::vector<f32>> got(4);
  std::vector<std::thread> threads;
  for (auto& logits : got) threads.emplace_back([&] { logits = logits_of(*model, ids, 16); });
  for (auto& thread : threads) thread.join();
  for (const auto& logits : got) EXPECT_EQ(logits, want);
}

}  // namespace
