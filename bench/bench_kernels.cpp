// Matrix products of the CPU backend, per weight format, at shapes of real models: GB/s of weights while decoding, from
// memory and from the caches, and Gop/s of 8 sessions together and of prompts of 64 and 512 rows. A multiply-add is two
// operations. `limits` is what this machine gives in the same run: compare with that.
//   bench_kernels --benchmark_filter='decode/Q8_0'      the last argument of each line is the number of threads

#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "machine_limits.hpp"
#include "tmodel/backends/cpu_simd.hpp"

namespace {

using namespace tmodel;
using Cpu = CpuSimd<>;

struct Shape {
  int outputs, inputs;
};
/// Feed-forward products of SmolLM2-135M and of Llama 3.2 1B.
constexpr Shape shapes[] = {{1536, 576}, {576, 1536}, {8192, 2048}, {2048, 8192}};

/// Bytes that stand for weights of any format, more than caches hold. Scales made of them are neither infinite nor
/// subnormal.
std::span<const std::byte> weight_bytes() {
  static const Buffer buffer = [] {
    Buffer b = std::move(*Buffer::allocate(std::size_t{256} << 20));
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < b.size(); i += 8) {
      const std::uint64_t bits = (random() & 0x3B3B3B3B3B3B3B3Bu) | 0x2020202020202020u;
      std::memcpy(b.data() + i, &bits, sizeof bits);
    }
    return b;
  }();
  return buffer.bytes();
}

/// A queue, its input and output, and as many matrices as were asked for, one behind the other in weight_bytes().
template <class Q>
struct Products {
  Cpu backend;
  Cpu::Arena arena = Cpu::Arena::counting();
  Cpu::Queue queue;
  Cpu::Rows x, y;
  std::vector<Cpu::Matrix<Q>> matrices;

  static std::size_t bytes(Shape s) {
    return static_cast<std::size_t>(s.outputs) * static_cast<std::size_t>(s.inputs) / Q::block_len *
           sizeof(typename Q::Block);
  }
  expected<void> lay_out(Cpu::Arena& from, const Cpu* device, Shape s, int rows, std::size_t count) {
    x = from.rows(rows, s.inputs), y = from.rows(rows, s.outputs);
    matrices.clear();
    const std::size_t stride = round_up(bytes(s), cache_line);
    for (std::size_t i = 0; i < count; ++i)
      matrices.push_back(from.template matrix<Q>(weight_bytes().subspan(i * stride, bytes(s)), s.outputs, s.inputs));
    TMODEL_TRY(queue, Cpu::Queue::make(device, from, {.rows = rows, .widest_input = std::max(s.inputs, s.outputs)}));
    return {};
  }
  static expected<Products> make(Shape s, int rows, std::size_t count, int threads) {
    Products p;
    TMODEL_TRY(p.backend, Cpu::open({.executor = {}, .threads = threads}));
    auto counting = Cpu::Arena::counting();
    TMODEL_CHECK(p.lay_out(counting, nullptr, s, rows, count));
    TMODEL_TRY(p.arena, Cpu::Arena::allocating(p.backend, counting.use()));
    TMODEL_CHECK(p.lay_out(p.arena, &p.backend, s, rows, count));
    TMODEL_CHECK(p.arena.finish());
    for (int i = 0; i < rows * s.inputs; ++i) p.x.data[i] = static_cast<f32>(i % 23 - 11) * 0.1f;
    return p;
  }
};

/// Products of `rows` rows with different matrices in turn if `streamed`, with the same one otherwise.
template <class Q>
void product(benchmark::State& state, Shape shape, int rows, bool streamed) {
  using P = Products<Q>;
  const std::size_t bytes = P::bytes(shape);
  const std::size_t count = streamed ? weight_bytes().size() / round_up(bytes, cache_line) : 1;
  auto products = P::make(shape, rows, count, static_cast<int>(state.range(0)));
  if (!products) return state.SkipWithError(products.error().message().c_str());
  P& p = *products;
  std::size_t next = 0;
  for (auto _ : state) {
    p.queue.matmul(p.matrices[next], p.queue.prepare(p.x, Q::acts), p.y, {});
    benchmark::DoNotOptimize(p.queue.end_layer());  // a product may wait until then
    benchmark::ClobberMemory();
    next = next + 1 == count ? 0 : next + 1;
  }
  const auto rate = [&](double per_run) {
    return benchmark::Counter(static_cast<double>(state.iterations()) * per_run * 1e-9, benchmark::Counter::kIsRate);
  };
  state.counters["GB/s"] = rate(static_cast<double>(bytes));
  state.counters["Gop/s"] = rate(2.0 * shape.inputs * shape.outputs * rows);
}

void limits(benchmark::State& state) {
  auto threads = HostThreads::open({.executor = {}, .threads = static_cast<int>(state.range(0))});
  if (!threads) return state.SkipWithError("threads");
  const bench::ReadBandwidth read(threads->executor());
  double bandwidth = 0, peak = 0;
  for (auto _ : state) {
    bandwidth = std::max(bandwidth, read.measure());
    peak = std::max(peak, bench::multiply_add_peak(threads->executor()));
  }
  state.counters["GB/s"] = bandwidth;
  state.counters["Gop/s"] = peak;
}

void with_threads(benchmark::internal::Benchmark* b) {
  b->Arg(1);
  if (os::processor_count() > 1) b->Arg(os::processor_count());
  b->UseRealTime()->Unit(benchmark::kMicrosecond);
}

template <class Q>
void add(Shape shape) {
  const std::string name =
      "/" + std::string(Q::name) + "/" + std::to_string(shape.outputs) + "x" + std::to_string(shape.inputs);
  const auto one = [&](const char* what, int rows, bool streamed) {
    with_threads(benchmark::RegisterBenchmark((what + name).c_str(), product<Q>, shape, rows, streamed));
  };
  one("decode", 1, true);
  one("decode_cached", 1, false);
  one("batch_8", 8, true);
  one("prompt_64", 64, false);
  one("prompt_512", 512, false);
}

}  // namespace

int main(int argc, char** argv) {
  with_threads(benchmark::RegisterBenchmark("limits", limits)->Iterations(3));
  AllFormats::for_each([]<class Q>() {
    for (const Shape& shape : shapes)
      if (shape.inputs % static_cast<int>(Q::block_len) == 0) add<Q>(shape);
  });
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("arch", std::string(Cpu::arch()));
  benchmark::RunSpecifiedBenchmarks();
}
