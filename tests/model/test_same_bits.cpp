// The promise that results do not depend on how work is cut: one set of bits over threads, chunks, batch neighbours,
// forks and rewinds, on every host backend and for a float, a legacy and a K format. And that sampled tokens depend on
// nothing but logits and seed.

#include "model/tiny_model.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/text/sampler.hpp"

namespace {

using namespace tmodel;

// Every pair of threads and chunks in the release build; one where an instruction costs ten times as much.
#if TMODEL_TEST_ALL
constexpr bool every_pair = true;
constexpr int layers = 2, ffn_dim = 512;
#else
constexpr bool every_pair = false;
constexpr int layers = 1, ffn_dim = 256;
#endif

template <class B, class Q>
struct Case {
  using Backend = B;
  using Format = Q;
};

template <class C>
class SameBits : public ::testing::Test {
 protected:
  using B = typename C::Backend;
  static constexpr int tokens = 97;
  tiny::Sizes sizes{
      .layers = layers, .dim = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .ffn_dim = ffn_dim, .vocab = 101};
  tiny::Data data;
  std::vector<token_t> ids = tiny::prompt(tokens, sizes.vocab);

  std::unique_ptr<Model<B>> model(int threads) {
    return tiny::load<Qwen2Traits, B>(tiny::source<Qwen2Traits, typename C::Format>(sizes, data),
                                      {.executor = {}, .threads = threads});
  }
  Session<B> session(const Model<B>& model, int chunk, KvType kv) {
    return tiny::must(Session<B>::make(model, {.context = 128, .kv = kv, .chunk = chunk, .all_logits = true}));
  }
  std::vector<f32> expected_logits(KvType kv) {
    const auto m = model(1);
    auto s = session(*m, tokens, kv);
    return tiny::all_logits(s, ids);
  }
  static bool same(std::span<const f32> a, std::span<const f32> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
  }
  std::span<const f32> row(const std::vector<f32>& logits, int i) const {
    const auto v = static_cast<std::size_t>(sizes.vocab);
    return std::span(logits).subspan(static_cast<std::size_t>(i) * v, v);
  }
};

using Cases = ::testing::Types<Case<Reference<f32>, F32>, Case<Reference<f32>, Q8_0>, Case<Reference<f32>, Q4_K>,
                               Case<CpuSimd<f32>, F32>, Case<CpuSimd<f32>, F16>, Case<CpuSimd<f32>, Q8_0>,
                               Case<CpuSimd<f32>, Q4_1>, Case<CpuSimd<f32>, Q4_K>, Case<CpuSimd<f32>, Q6_K>>;
TYPED_TEST_SUITE(SameBits, Cases);

TYPED_TEST(SameBits, threads_and_chunks_do_not_change_logits) {
  for (const KvType kv : {KvType::f16, KvType::f32, KvType::q8_0}) {
    const bool all = every_pair && kv == KvType::f16;  // the other cache types: the corners
    const auto want = this->expected_logits(kv);
    ASSERT_EQ(want.size(), static_cast<std::size_t>(this->tokens * this->sizes.vocab));
    for (const int threads : all ? std::vector{1, 2, 3, 5} : every_pair ? std::vector{1, 3} : std::vector{3}) {
      const auto model = this->model(threads);
      for (const int chunk : all          ? std::vector{1, 7, 64, this->tokens}
                             : every_pair ? std::vector{7, 64}
                                          : std::vector{7}) {
        auto session = this->session(*model, chunk, kv);
        EXPECT_TRUE(this->same(tiny::all_logits(session, this->ids), want)) << threads << " threads, chunk " << chunk;
      }
    }
  }
}

TYPED_TEST(SameBits, neighbours_in_a_batch_do_not_change_logits) {
  const auto want = this->expected_logits(KvType::f16);
  const auto model = this->model(2);
  using B = typename TypeParam::Backend;
  for (const int neighbours : {0, 1, 3}) {
    auto batch = tiny::must(Batch<B>::make(*model, {.sequences = 4, .rows = 128, .context = 128}));
    std::vector<Session<B>> sessions;
    for (int i = 0; i <= neighbours; ++i) sessions.push_back(this->session(*model, 16, KvType::f16));
    const auto other = tiny::prompt(120, this->sizes.vocab, 99);
    for (int at = 0; at < this->tokens;) {  // ragged: 5 tokens, then 1, then 9, neighbours with other lengths
      const int n = std::min(at % 3 == 0 ? 5 : at % 3 == 1 ? 1 : 9, this->tokens - at);
      std::vector<typename Batch<B>::Entry> entries;
      for (int i = 0; i <= neighbours; ++i) {
        const bool mine = i == neighbours;
        const int rows = mine ? n : 1 + (at + i) % 2;
        const auto& from = mine ? this->ids : other;
        auto& s = sessions[static_cast<std::size_t>(i)];
        if (!mine && s.length() + rows > 120) tiny::must(s.rewind(0));
        entries.push_back(
            {&s, std::span(from).subspan(static_cast<std::size_t>(s.length()), static_cast<std::size_t>(rows))});
      }
      tiny::must(batch.step(entries));
      at += n;
      EXPECT_TRUE(this->same(sessions.back().logits(), this->row(want, at - 1)))
          << neighbours << " neighbours, token " << at - 1;
    }
  }
}

TYPED_TEST(SameBits, fork_rewind_save_and_restore_do_not_change_logits) {
  const auto want = this->expected_logits(KvType::q8_0);
  const auto model = this->model(2);
  auto first = this->session(*model, 16, KvType::q8_0);
  const auto part = [&](int from, int n) {
    return std::span(this->ids).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(n));
  };
  tiny::must(first.append(part(0, 40)));

  auto fork = tiny::must(first.fork());
  tiny::must(first.append(part(3, 17)));  // goes another way
  tiny::must(fork.append(part(40, 57)));
  EXPECT_TRUE(this->same(fork.logits(), this->row(want, 96)));

  tiny::must(first.rewind(25));
  tiny::must(first.append(part(25, 35)));
  EXPECT_TRUE(this->same(first.logits(), this->row(want, 59)));

  std::vector<std::byte> state(first.state_bytes());
  tiny::must(first.save(state));
  auto other = this->session(*model, 5, KvType::q8_0);
  tiny::must(other.append(part(50, 30)));
  tiny::must(other.restore(state));
  EXPECT_TRUE(this->same(other.logits(), this->row(want, 59)));
  tiny::must(other.append(part(60, 37)));
  EXPECT_TRUE(this->same(other.logits(), this->row(want, 96)));
}

const SamplerOptions sampling_cases[] = {
    {.temperature = 0.8f},
    {.temperature = 0.8f, .top_k = 40},
    {.temperature = 0.8f, .top_p = 0.95f},
    {.temperature = 1.5f, .min_p = 0.05f},
    {.temperature = 0.8f, .typical_p = 0.9f},
    {.temperature = 1.1f,
     .top_k = 100,
     .top_p = 0.9f,
     .min_p = 0.05f,
     .repetition_penalty = 1.1f,
     .frequency_penalty = 0.3f},
    {.temperature = 1.3f, .top_k = 60, .top_p = 0.95f, .min_p = 0.01f, .typical_p = 0.9f, .presence_penalty = 0.5f}};

TEST(SampledTokens, do_not_depend_on_threads_chunks_and_neighbours) {
  using B = CpuSimd<f32>;
  const tiny::Sizes sizes{.vocab = 300};
  tiny::Data data;
  const auto prompt = tiny::prompt(33, sizes.vocab);
  const auto model_of = [&](int threads) {
    return tiny::load<LlamaTraits, B>(tiny::source<LlamaTraits, Q8_0>(sizes, data),
                                      {.executor = {}, .threads = threads});
  };
  constexpr int answer = 12;
  const auto next = [](Session<B>& session, Sampler& sampler) {
    return sampler(session.logits(), session.tokens(),
                   {.seed = 7, .sequence = 1, .position = static_cast<std::uint64_t>(session.length())});
  };
  const auto alone = [&](const Model<B>& model, int chunk, const SamplerOptions& how) {
    auto session = tiny::must(Session<B>::make(model, {.context = 64, .chunk = chunk}));
    auto sampler = tiny::must(Sampler::create(how, sizes.vocab));
    tiny::must(session.append(prompt));
    for (int i = 0; i < answer; ++i) tiny::must(session.append(std::vector{next(session, sampler)}));
    return std::vector<token_t>(session.tokens().begin(), session.tokens().end());
  };
  const auto in_batch = [&](const Model<B>& model, const SamplerOptions& how) {
    auto batch = tiny::must(Batch<B>::make(model, {.sequences = 2, .rows = 64, .context = 64}));
    auto session = tiny::must(Session<B>::make(model, {.context = 64})),
         other = tiny::must(Session<B>::make(model, {.context = 64}));
    auto sampler = tiny::must(Sampler::create(how, sizes.vocab));
    const auto others = tiny::prompt(60, sizes.vocab, 5);
    std::vector<token_t> mine = prompt;
    for (int i = 0; i < answer; ++i) {
      const std::vector<typename Batch<B>::Entry> entries = {
          {&other, std::span(others).subspan(static_cast<std::size_t>(2 * i), 1 + static_cast<std::size_t>(i % 2))},
          {&session, mine}};
      tiny::must(other.rewind(0));
      tiny::must(batch.step(entries));
      mine = {next(session, sampler)};
    }
    tiny::must(session.append(mine));
    return std::vector<token_t>(session.tokens().begin(), session.tokens().end());
  };
  const auto one = model_of(1), three = model_of(3);
  std::vector<std::vector<token_t>> all;
  for (const SamplerOptions& how : sampling_cases) {
    const auto want = alone(*one, 64, how);
    EXPECT_EQ(alone(*three, 7, how), want);
    EXPECT_EQ(in_batch(*three, how), want);
    all.push_back(want);
  }
  EXPECT_NE(all[0], all[1]);  // the cases do differ
}

TEST(SampledTokens, are_these_for_these_logits_everywhere) {
  tiny::Random random(3);
  std::vector<f32> logits(32000);
  for (f32& l : logits) l = 4 * (random.number() + random.number() + random.number());
  for (int i = 0; i < 50; ++i) logits[static_cast<std::size_t>(random.below(32000))] += 6;
  std::uint64_t hash = 0;
  for (const SamplerOptions& how : sampling_cases) {
    auto sampler = tiny::must(Sampler::create(how, 32000));
    std::vector<token_t> history;
    for (std::uint64_t i = 0; i < 60; ++i) {
      std::vector<f32> copy = logits;
      history.push_back(sampler(copy, history, {.seed = 1, .sequence = 2, .position = i}));
      hash = hash * 1000003 + static_cast<std::uint64_t>(history.back());
    }
  }
  EXPECT_EQ(hash, std::uint64_t{6150319136801830187u});
  hash = 0;
  for (std::int32_t octaves = 0; octaves < vanishing_octaves; octaves += 99991) hash = hash * 31 + exp2_weight(octaves);
  EXPECT_EQ(hash, std::uint64_t{6581249689920909129u});
}

}  // namespace
