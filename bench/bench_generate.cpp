// Prompt and decode speed of a model on CpuSimd, as llama-bench measures them: pp N random tokens with logits of the last
// only, tg N single random tokens from an empty context. Beside them the read bandwidth of the same minute.
//   bench_generate MODEL [threads] [prompt tokens] [decoded tokens]   -> one line of JSON

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "tmodel/any_transformer.hpp"
#include "tmodel/backends/cpu_simd.hpp"

namespace {

using namespace tmodel;
using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// GB/s of all threads reading 512 MiB, best of three.
double read_bandwidth(const Executor& executor, int threads) {
  auto block = Buffer::allocate(std::size_t{512} << 20);
  if (!block) return 0;
  const auto* words = reinterpret_cast<const std::uint64_t*>(block->data());
  const int n = static_cast<int>(block->size() / 4096);
  std::atomic<std::uint64_t> sum{0};
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const auto begin = Clock::now();
    parallel_for(executor, n, n / threads, [&](int from, int to) {
      std::uint64_t s[8] = {};
      for (std::size_t i = static_cast<std::size_t>(from) * 512; i < static_cast<std::size_t>(to) * 512; i += 8)
        for (std::size_t j = 0; j < 8; ++j) s[j] += words[i + j];
      sum += s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
    });
    best = std::max(best, static_cast<double>(block->size()) / seconds(begin) / 1e9);
  }
  return sum == 1 ? 0 : best;
}

int fail_with(const Error& error) { return std::fprintf(stderr, "error: %s\n", error.message().c_str()), 2; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "bench_generate MODEL [threads] [prompt tokens] [decoded tokens]\n"), 1;
  const int threads = argc > 2 ? std::atoi(argv[2]) : 2, prompt = argc > 3 ? std::atoi(argv[3]) : 512, decode = argc > 4 ? std::atoi(argv[4]) : 128;
  auto pool = ThreadPool::create(threads);
  if (!pool) return fail_with(pool.error());
  auto model = AnyTransformer<CpuSimd<f32>>::load(argv[1], {.text = TextUse::none}, {.executor = (*pool)->executor()});
  if (!model) return fail_with(model.error());
  auto session = model->session({.context = std::max(prompt, decode) + 8, .kv = KvType::f16, .chunk = 512});
  if (!session) return fail_with(session.error());
  std::vector<token_t> ids;
  std::uint32_t state = 1;
  for (int i = 0; i < std::max(prompt, decode); ++i) {
    state = state * 1664525u + 1013904223u;
    ids.push_back(static_cast<token_t>(state % static_cast<std::uint32_t>(model->config().vocab)));
  }
  const auto run = [&](int n, int step) -> double {
    if (auto r = session->rewind(0); !r) std::exit(fail_with(r.error()));
    const auto begin = Clock::now();
    for (int i = 0; i < n; i += step)
      if (auto r = session->append(std::span(ids).subspan(static_cast<std::size_t>(i), static_cast<std::size_t>(std::min(step, n - i)))); !r)
        std::exit(fail_with(r.error()));
    return n / seconds(begin);
  };
  run(prompt, prompt);  // warm-up
  run(4, 1);
  const double pp = run(prompt, prompt), tg = run(decode, 1);
  const double weights = static_cast<double>(model->use()[Purpose::weights_mapped] + model->use()[Purpose::weights_copied]);
  std::printf("{\"pp\": %.2f, \"tg\": %.2f, \"decode_gb_per_s\": %.2f, \"read_gb_per_s\": %.2f}\n", pp, tg, weights * tg / 1e9,
              read_bandwidth((*pool)->executor(), threads));
}
