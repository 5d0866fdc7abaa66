#pragma once
// A place to run operations on any backend: one function lays out memory (counted, then allocated) and computes.

#include "driver_leaks.hpp"

#include <gtest/gtest.h>

#include <any>
#include <memory>
#include <random>
#include <vector>

#include "tmodel/backends/opencl.hpp"
#include "tmodel/backends/reference.hpp"

namespace lab {

using namespace tmodel;

/// Numbers in [-1, 1) that are equal on every machine.
inline std::vector<f32> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<f32> values(n);
  for (f32& v : values) v = static_cast<f32>(static_cast<int>(bits() >> 8) - (1 << 23)) * 0x1p-23f;
  return values;
}

/// A weight in the bytes of its format.
template <class Q>
std::vector<std::byte> stored(const std::vector<f32>& values) {
  std::vector<typename Q::Block> blocks(values.size() / Q::block_len);
  Q::quantize(values, blocks.data());
  const auto bytes = std::as_bytes(std::span(blocks));
  return {bytes.begin(), bytes.end()};
}

template <class Kv>
Step<Kv> step(std::span<const token_t> ids, std::span<const StepSequence<Kv>> sequences = {},
              std::span<const int> logit_rows = {}, const std::atomic<bool>* cancel = nullptr) {
  return {ids, sequences, logit_rows, cancel};
}

enum class Pass { count, allocate, compute };

template <class B>
class Lab {
 public:
  using Rows = typename B::Rows;
  using Vec = typename B::Vec;
  using Kv = typename B::Kv;

  Lab(const B* backend, typename B::Arena arena, const QueueLimits& limits)
      : arena_(std::move(arena)), pass_(backend == nullptr ? Pass::count : Pass::allocate) {
    auto queue = B::Queue::make(backend, arena_, limits);
    EXPECT_TRUE(queue) << queue.error().message();
    if (queue) queue_ = std::move(*queue);
  }
  typename B::Arena& arena() { return arena_; }
  typename B::Queue& queue() { return queue_; }
  bool real() const { return pass_ == Pass::compute; }
  /// The same calls again, in the same order: they now give the handles of before.
  void compute() {
    pass_ = Pass::compute;
    next_ = 0;
  }

  template <class Q>
  auto matrix(const std::vector<std::byte>& bytes, int rows, int columns) {
    return take([&] { return arena_.template matrix<Q>(bytes, rows, columns); });
  }
  template <class Q, class Fill>
  auto converted(int rows, int columns, Fill&& fill) {
    return take([&] { return arena_.template converted<Q>(rows, columns, fill); });
  }
  Vec vec(const std::vector<f32>& values) {
    const auto fill = [&](std::span<f32> out) { std::copy(values.begin(), values.end(), out.begin()); };
    return take([&] { return arena_.vec(static_cast<int>(values.size()), fill); });
  }
  Rows empty_rows(int n, int columns) {
    return take([&] { return arena_.rows(n, columns); });
  }
  /// Rows that hold these values: nothing but an operation writes rows, so they are embedded.
  Rows rows(int n, const std::vector<f32>& values) {
    const int columns = static_cast<int>(values.size()) / n;
    bytes_.push_back(std::make_unique<std::vector<std::byte>>(stored<F32>(values)));
    const auto m = matrix<F32>(*bytes_.back(), n, columns);
    const Rows x = empty_rows(n, columns);
    if (!real()) return x;
    std::vector<token_t> ids;
    for (int i = 0; i < n; ++i) ids.push_back(i);
    queue_.begin(step<Kv>(ids));
    queue_.embed(m, x, 1.f);
    read(x);
    return x;
  }
  Kv* kv(const KvShape& shape) {
    return take([&] {
      kvs_.push_back(std::make_unique<Kv>(arena_.kv(shape)));
      return kvs_.back().get();
    });
  }

  std::vector<f32> read(Rows x) {
    std::vector<f32> out(static_cast<std::size_t>(x.n) * static_cast<std::size_t>(x.columns));
    if (!real()) return out;
    const auto done = queue_.download(x, out);
    EXPECT_TRUE(done) << done.error().message();
    return out;
  }

 private:
  template <class Make>
  auto take(Make&& make) {
    using Handle = decltype(make());
    if (pass_ == Pass::compute) return std::any_cast<Handle>(handles_[next_++]);
    const Handle handle = make();
    handles_.emplace_back(handle);
    return handle;
  }

  typename B::Arena arena_;
  typename B::Queue queue_;
  std::vector<std::any> handles_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<Kv>> kvs_;
  std::vector<std::unique_ptr<std::vector<std::byte>>> bytes_;
  Pass pass_;
};

/// Opened once, because a program is compiled for it, and never closed: at exit a driver may be gone before our
/// statics.
template <class B>
const B& backend() {
  static const B* const opened = [] {
    auto b = B::open({});
    if (!b) ADD_FAILURE() << b.error().message() << "\n" << b.error().got;
    return b ? new B(std::move(*b)) : nullptr;
  }();
  return *opened;
}

/// Runs experiment(lab) three times: counting memory, allocating it, and computing, which it does only if lab.real().
template <class B, class Experiment>
std::vector<f32> perform(const QueueLimits& limits, Experiment&& experiment) {
  Lab<B> counting(nullptr, B::Arena::counting(), limits);
  experiment(counting);
  const MemoryUse counted = counting.arena().use();
  auto arena = B::Arena::allocating(backend<B>(), counted);
  EXPECT_TRUE(arena) << arena.error().message();
  if (!arena) return {};
  Lab<B> real(&backend<B>(), std::move(*arena), limits);
  experiment(real);
  const auto finished = real.arena().finish();
  EXPECT_TRUE(finished) << finished.error().message();
  EXPECT_EQ(counted, real.arena().use()) << "the plan is not what was allocated";
  real.compute();
  return experiment(real);
}

/// Largest difference, as a part of the largest expected magnitude. Not finite if one side is not where the other is.
inline f64 distance(const std::vector<f32>& got, const std::vector<f32>& want) {
  if (got.size() != want.size() || got.empty()) return HUGE_VAL;
  f64 largest = 0, difference = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) != std::isnan(want[i])) return HUGE_VAL;
    if (std::isnan(got[i]) || got[i] == want[i]) continue;
    difference = std::max(difference, std::fabs(static_cast<f64>(got[i]) - static_cast<f64>(want[i])));
  }
  for (const f32 w : want)
    if (!std::isnan(w)) largest = std::max(largest, std::fabs(static_cast<f64>(w)));
  return difference == 0 ? 0 : difference / largest;
}

/// Runs an experiment on Reference and on OpenCl.
template <class Experiment>
void expect_close(const QueueLimits& limits, f64 tolerance, Experiment&& experiment, std::string_view what = {}) {
  const std::vector<f32> want = perform<Reference<f32>>(limits, experiment);
  const std::vector<f32> got = perform<OpenCl<f32>>(limits, experiment);
  EXPECT_LE(distance(got, want), tolerance) << what;
}

}  // namespace lab
