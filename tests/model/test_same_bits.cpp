// The promise that results do not depend on how work is cut: one set of bits over threads, chunks, batch neighbours,
// forks and rewinds, on every host backend and for a float, a legacy and a K format.

#include "model/tiny_model.hpp"
#include "tmodel/backends/cpu_simd.hpp"
#include "tmodel/backends/reference.hpp"

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
  tiny::Sizes sizes{.layers = layers, .dim = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .ffn_dim = ffn_dim, .vocab = 101};
  tiny::Data data;
  std::vector<token_t> ids = tiny::prompt(tokens, sizes.vocab);

  std::unique_ptr<Model<B>> model(int threads) {
    return tiny::load<Qwen2Traits, B>(tiny::source<Qwen2Traits, typename C::Format>(sizes, data), {.executor = {}, .threads = threads});
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
      for (const int chunk : all ? std::vector{1, 7, 64, this->tokens} : every_pair ? std::vector{7, 64} : std::vector{7}) {
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
        entries.push_back({&s, std::span(from).subspan(static_cast<std::size_t>(s.length()), static_cast<std::size_t>(rows))});
      }
      tiny::must(batch.step(entries));
      at += n;
      EXPECT_TRUE(this->same(sessions.back().logits(), this->row(want, at - 1))) << neighbours << " neighbours, token " << at - 1;
    }
  }
}

TYPED_TEST(SameBits, fork_rewind_save_and_restore_do_not_change_logits) {
  const auto want = this->expected_logits(KvType::q8_0);
  const auto model = this->model(2);
  auto first = this->session(*model, 16, KvType::q8_0);
  const auto part = [&](int from, int n) { return std::span(this->ids).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(n)); };
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

}  // namespace
