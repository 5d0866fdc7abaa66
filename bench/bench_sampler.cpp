// Time of one draw over a vocabulary of 150,000 tokens, by truncation and kind of logits: median and least of fifteen
// repetitions of many draws. On a machine that does other work too, read the CPU time.
//   bench_sampler --benchmark_filter=top_p

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tmodel/text/log_probabilities.hpp"
#include "tmodel/text/sampler.hpp"

namespace {

using namespace tmodel;

constexpr std::size_t vocabulary = 150'000;
constexpr std::size_t steps = 8;  // different logits, so that no branch is learned by heart

/// Close to a standard normal deviate.
f32 normal(std::mt19937& random) {
  f32 sum = 0;
  for (int i = 0; i < 12; ++i) sum += static_cast<f32>(random() >> 8) * 0x1p-24f - 0.5f;
  return sum;
}

/// As a language model gives them: a normal body of deviation 3 and a few tokens far above it, the best one about 20
/// over the mean (SmolLM2: deviations of 2.9 to 4.4, the best 16 to 27 over the mean).
std::vector<f32> peaked(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<f32> logits(vocabulary);
  for (f32& l : logits) l = 3.f * normal(random);
  for (int rank = 1; rank <= 64; ++rank)
    logits[random() % vocabulary] = 20 + normal(random) - 1.5f * std::log(static_cast<f32>(rank));
  return logits;
}
/// No token stands out: a nucleus is most of the vocabulary.
std::vector<f32> flat(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<f32> logits(vocabulary);
  for (f32& l : logits) l = normal(random);
  return logits;
}
std::vector<f32> equal(unsigned) { return std::vector<f32>(vocabulary, 1.f); }

void draw(benchmark::State& state, std::vector<f32> (*make)(unsigned), const SamplerOptions& options) {
  std::vector<std::vector<f32>> logits;
  for (unsigned i = 0; i < steps; ++i) logits.push_back(make(i));
  auto sampler = Sampler::create(options, static_cast<int>(vocabulary));
  if (!sampler) return state.SkipWithError("options");
  std::uint64_t position = 0;
  for (auto _ : state) {
    const DrawKey key{.seed = 1, .sequence = 0, .position = position};
    benchmark::DoNotOptimize((*sampler)(logits[position++ % steps], {}, key));
  }
}

void read_log_probabilities(benchmark::State& state) {
  const std::vector<f32> logits = peaked(0);
  auto probabilities = LogProbabilities::create(static_cast<int>(vocabulary), 20);
  for (auto _ : state) {
    probabilities->read(logits);
    benchmark::DoNotOptimize(probabilities->of(7));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::pair<const char*, SamplerOptions> options[] = {
      {"greedy", {}},
      {"temperature", {.temperature = 1}},
      {"top_k=40", {.temperature = 1, .top_k = 40}},
      {"top_k=1000", {.temperature = 1, .top_k = 1000}},
      {"top_k=50000", {.temperature = 1, .top_k = 50'000}},
      {"top_p=0.95", {.temperature = 1, .top_p = 0.95f}},
      {"top_p=0.5", {.temperature = 1, .top_p = 0.5f}},
      {"min_p=0.05", {.temperature = 1, .min_p = 0.05f}},
      {"typical=0.95", {.temperature = 1, .typical_p = 0.95f}},
      {"top_k=40,top_p=0.95,min_p=0.05", {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f}},
      {"top_p=0.95,min_p=0.05", {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f}},
      {"top_p=0.95,min_p=0.05,typical=0.95",
       {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 0.95f}}};
  const std::pair<const char*, std::vector<f32> (*)(unsigned)> kinds[] = {
      {"peaked", peaked}, {"flat", flat}, {"equal", equal}};
  for (const auto& [kind, make] : kinds)
    for (const auto& [name, o] : options)
      benchmark::RegisterBenchmark((std::string(kind) + "/" + name).c_str(), draw, make, o)
          ->Unit(benchmark::kMicrosecond)
          ->MinTime(0.02)
          ->Repetitions(15)
          ->ComputeStatistics("least", [](const auto& times) { return *std::min_element(times.begin(), times.end()); })
          ->ReportAggregatesOnly();
  benchmark::RegisterBenchmark("log_probabilities, 20 alternatives", read_log_probabilities)
      ->Unit(benchmark::kMicrosecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
