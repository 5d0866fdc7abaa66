// Matrix products of the CPU backend: GB/s of weights read per format while decoding, Gop/s of prompts of 64 rows.
// A multiply-add is two operations. `read` is what this machine's memory gives in the same run: compare with that.
//   bench_kernels --benchmark_filter=decode        the argument of each line is the number of threads

#include <benchmark/benchmark.h>

#include <random>

#include "tmodel/backends/cpu_simd.hpp"

namespace {

using namespace tmodel;
using Cpu = CpuSimd<>;

constexpr int columns = 1536;
constexpr std::size_t streamed = std::size_t{192} << 20;  // bytes of weights: more than caches hold
constexpr std::size_t cached = std::size_t{512} << 10;

struct Work {
  Cpu backend;
  std::vector<std::byte> memory;

  static Work open(int threads, std::size_t bytes) {
    Work w{std::move(*Cpu::open({.executor = {}, .threads = threads})), std::vector<std::byte>(bytes + 64)};
    std::mt19937 bits(1);  // scales stay finite: bytes make neither infinite nor subnormal scales
    for (std::byte& b : w.memory) b = static_cast<std::byte>((bits() & 0x3B) | 0x20);
    return w;
  }
};

/// One product of `rows` rows of activations with a matrix of about `bytes` bytes.
template <class Q>
void product(benchmark::State& state, int rows, std::size_t bytes) {
  const std::size_t row_bytes = columns / Q::block_len * sizeof(typename Q::Block);
  const int outputs = static_cast<int>(bytes / row_bytes) / 16 * 16;
  const Work work = Work::open(static_cast<int>(state.range(0)), bytes);
  struct Handles {
    Cpu::Rows x, y;
  };
  const auto lay = [&](Cpu::Arena& arena) { return Handles{arena.rows(rows, columns), arena.rows(rows, outputs)}; };
  const QueueLimits limits{.rows = rows, .widest_input = columns};
  auto counting = Cpu::Arena::counting();
  lay(counting);
  if (!Cpu::Queue::make(nullptr, counting, limits)) return state.SkipWithError("plan");
  auto arena = Cpu::Arena::allocating(work.backend, counting.use());
  if (!arena) return state.SkipWithError("memory");
  const Handles h = lay(*arena);
  auto queue = Cpu::Queue::make(&work.backend, *arena, limits);
  for (int i = 0; i < rows * columns; ++i) h.x.data[i] = static_cast<f32>(i % 23 - 11) * 0.1f;
  HostMatrix<Q> m;
  m.data = reinterpret_cast<const typename Q::Block*>(work.memory.data());
  m.rows = outputs;
  m.columns = columns;
  for (auto _ : state) {
    queue->matmul(m, queue->prepare(h.x, Q::acts), h.y, {});
    benchmark::ClobberMemory();
  }
  const auto runs = static_cast<double>(state.iterations());
  state.counters["GB/s"] =
      benchmark::Counter(runs * static_cast<double>(row_bytes) * outputs * 1e-9, benchmark::Counter::kIsRate);
  state.counters["Gop/s"] =
      benchmark::Counter(runs * 2.0 * columns * outputs * rows * 1e-9, benchmark::Counter::kIsRate);
}

template <class Q>
void decode(benchmark::State& state) {
  product<Q>(state, 1, streamed);
}
template <class Q>
void decode_cached(benchmark::State& state) {
  product<Q>(state, 1, cached);
}
template <class Q>
void prompt(benchmark::State& state) {
  product<Q>(state, 64, cached);
}

void read(benchmark::State& state) {
  const Work work = Work::open(static_cast<int>(state.range(0)), streamed);
  auto threads = HostThreads::open({.executor = {}, .threads = static_cast<int>(state.range(0))});
  for (auto _ : state)
    parallel_for(threads->executor(), static_cast<int>(streamed / 4096), 1, [&](int begin, int end) {
      const auto* p = reinterpret_cast<const std::uint64_t*>(work.memory.data());
      std::uint64_t sum[8] = {};
      for (std::size_t i = static_cast<std::size_t>(begin) * 512; i < static_cast<std::size_t>(end) * 512; i += 8)
        for (std::size_t k = 0; k < 8; ++k) sum[k] += p[i + k];
      for (std::uint64_t s : sum) benchmark::DoNotOptimize(s);
    });
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(streamed) * 1e-9, benchmark::Counter::kIsRate);
}

template <class Q>
void add(const char* what, void (*fn)(benchmark::State&)) {
  benchmark::RegisterBenchmark((std::string(what) + "/" + std::string(Q::name)).c_str(), fn)
      ->Arg(1)
      ->Arg(2)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("read", read)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);
  AllFormats::for_each([]<class Q>() {
    add<Q>("decode", decode<Q>);
    add<Q>("decode_cached", decode_cached<Q>);
    add<Q>("prompt", prompt<Q>);
  });
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("arch", std::string(Cpu::arch()));
  benchmark::RunSpecifiedBenchmarks();
}
