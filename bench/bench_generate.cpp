// Prompt and decode speed of a model on CpuSimd, measured as llama-bench does: pp is P random tokens appended to an
// empty context in chunks of 512, with logits of the last only; tg is N single random tokens after D tokens. Nothing is
// sampled.
//   bench_generate MODEL -p 512 -n 128 -d 0 -t 2 -r 5 --json

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "machine_limits.hpp"
#include "model_costs.hpp"
#include "tmodel/any_transformer.hpp"
#include "tmodel/backends/cpu_simd.hpp"

namespace {

using namespace tmodel;
using Cpu = CpuSimd<f32>;
using Loaded = AnyTransformer<Cpu>;
using bench::Clock;

constexpr int chunk = 512;

struct Options {
  std::string model;
  int prompt = 512, decode = 128, depth = 0, threads = 0, repetitions = 5, sessions = 1;
  KvType kv = KvType::f16;
  bool json = false;
};

/// Ends the program at the first error: a benchmark has nothing to save.
template <class T>
T must(expected<T> result) {
  if (!result) {
    std::fprintf(stderr, "error: %s\n", result.error().message().c_str());
    std::exit(2);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

std::vector<token_t> random_tokens(int n, int vocab) {
  std::vector<token_t> ids;
  std::uint32_t state = 1;
  while (static_cast<int>(ids.size()) < n) {
    state = state * 1664525u + 1013904223u;
    ids.push_back(static_cast<token_t>(state % static_cast<std::uint32_t>(vocab)));
  }
  return ids;
}

/// Prompts into an empty context.
class Prompt {
 public:
  Prompt(const Loaded& model, const Options& o)
      : session_(must(model.session({.context = o.prompt, .kv = o.kv, .chunk = chunk}))),
        ids_(random_tokens(o.prompt, model.config().vocab)) {
    read(std::min(o.prompt, chunk));  // warm-up: weights and scratch of one chunk are all there is
  }
  /// Tokens per second.
  double measure() { return read(static_cast<int>(ids_.size())); }

 private:
  double read(int n) {
    must(session_.rewind(0));
    const auto begin = Clock::now();
    must(session_.append(std::span(ids_).first(static_cast<std::size_t>(n))));
    return n / bench::seconds_since(begin);
  }

  Session<Cpu> session_;
  std::vector<token_t> ids_;
};

/// Single tokens after the same `depth` tokens; of several sessions, which are stepped together.
class Decode {
 public:
  Decode(const Loaded& model, const Options& o)
      : tokens_(o.decode), depth_(o.depth), ids_(random_tokens(o.depth + o.decode, model.config().vocab)) {
    const int context = o.depth + o.decode;
    if (o.sessions > 1)
      batch_.emplace(must(model.batch({.sequences = o.sessions, .rows = o.sessions, .context = context})));
    sessions_.reserve(static_cast<std::size_t>(o.sessions));
    sessions_.push_back(must(model.session({.context = context, .kv = o.kv, .chunk = chunk})));
    must(sessions_[0].append(std::span(ids_).first(static_cast<std::size_t>(depth_))));
    while (static_cast<int>(sessions_.size()) < o.sessions) sessions_.push_back(must(sessions_[0].fork()));
    step(std::min(tokens_, 8));
  }
  /// Tokens per second, of all sessions.
  double measure() { return step(tokens_); }

 private:
  double step(int n) {
    for (Session<Cpu>& s : sessions_) must(s.rewind(depth_));
    std::vector<Batch<Cpu>::Entry> entries(sessions_.size());
    const auto begin = Clock::now();
    for (int i = 0; i < n; ++i) {
      const std::span token = std::span(ids_).subspan(static_cast<std::size_t>(depth_ + i), 1);
      for (std::size_t s = 0; s < entries.size(); ++s) entries[s] = {&sessions_[s], token};
      must(batch_ ? batch_->step(entries) : sessions_[0].append(token));
    }
    return n * static_cast<double>(sessions_.size()) / bench::seconds_since(begin);
  }

  int tokens_, depth_;
  std::vector<token_t> ids_;
  std::optional<Batch<Cpu>> batch_;
  std::vector<Session<Cpu>> sessions_;
};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Figures {
  std::vector<double> pp, tg, bandwidth;
  double multiply_adds = 0;
  bench::ModelCosts costs;
};

void print_json(const Options& o, int threads, const Figures& f) {
  const nlohmann::ordered_json out{{"model", o.model},
                                   {"isa", Cpu::arch()},
                                   {"threads", threads},
                                   {"sessions", o.sessions},
                                   {"pp", f.pp},
                                   {"tg", f.tg},
                                   {"bandwidth", median(f.bandwidth)},
                                   {"bandwidth_all", f.bandwidth},
                                   {"multiply_adds", f.multiply_adds},
                                   {"bytes_per_token", f.costs.decode.bytes},
                                   {"ops_per_token", f.costs.decode.ops},
                                   {"prompt_bytes_per_token", f.costs.prompt.bytes},
                                   {"prompt_ops_per_token", f.costs.prompt.ops}};
  std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void print_table(const Options& o, int threads, const Figures& f) {
  const double bandwidth = median(f.bandwidth), pp = median(f.pp), tg = median(f.tg);
  std::printf("%s on %s, %d threads, medians of %d\n", o.model.c_str(), std::string(Cpu::arch()).c_str(), threads,
              o.repetitions);
  std::printf("memory           %9.1f GB/s read, %.0f Gop/s of f32 multiply-adds\n", bandwidth, f.multiply_adds);
  if (!f.pp.empty())
    std::printf("prompt of %-6d %9.1f tok/s  %6.0f Gop/s\n", o.prompt, pp, pp * f.costs.prompt.ops / 1e9);
  if (f.tg.empty()) return;
  const double rate = tg * f.costs.decode.bytes / 1e9;
  std::printf("decode of %-6d %9.1f tok/s  %6.1f GB/s, %.0f %% of the bandwidth", o.decode, tg, rate,
              100 * rate / bandwidth);
  if (o.depth > 0) std::printf(", after %d tokens", o.depth);
  if (o.sessions > 1) std::printf(", %d sessions together", o.sessions);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Prompt and decode speed of a model on the CPU, as llama-bench measures them"};
  Options o;
  std::string kv = "f16";
  app.add_option("MODEL", o.model, "GGUF file or checkpoint folder")->required();
  app.add_option("-p", o.prompt, "Tokens of the prompt, 0: leave it out")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-n", o.decode, "Tokens decoded one at a time, 0: leave it out")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-d", o.depth, "Tokens in the context before decoding")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("-t,--threads", o.threads, "Threads, 0: one per processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("-r", o.repetitions, "Repetitions")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--kv", kv, "Cached keys and values: f32, f16, q8_0")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}))
      ->capture_default_str();
  app.add_option("--sessions", o.sessions, "Sessions that decode together; their tokens are counted together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--json", o.json, "One JSON object with every repetition");
  CLI11_PARSE(app, argc, argv);
  o.kv = kv == "f32" ? KvType::f32 : kv == "f16" ? KvType::f16 : KvType::q8_0;

  const int threads = o.threads == 0 ? os::processor_count() : o.threads;
  const auto pool = must(ThreadPool::create(threads));
  const Loaded model = must(Loaded::load(o.model, {.text = TextUse::none}, {.executor = pool->executor()}));
  Figures f;
  f.costs = bench::costs_of(
      model.model().source(), model.config(),
      {.prompt = o.prompt, .chunk = chunk, .decode = o.decode, .depth = o.depth, .sessions = o.sessions, .kv = o.kv});
  const bench::ReadBandwidth bandwidth(pool->executor());
  std::optional<Prompt> prompt;
  std::optional<Decode> decode;
  if (o.prompt > 0) prompt.emplace(model, o);
  if (o.decode > 0) decode.emplace(model, o);
  f.multiply_adds = bench::multiply_add_peak(pool->executor());
  for (int i = 0; i < o.repetitions; ++i) {
    f.bandwidth.push_back(bandwidth.measure());
    if (prompt) f.pp.push_back(prompt->measure());
    if (decode) f.tg.push_back(decode->measure());
  }
  if (o.json)
    print_json(o, threads, f);
  else
    print_table(o, threads, f);
}
