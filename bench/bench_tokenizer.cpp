// Speed of encoding: bench_tokenizer TOKENIZER.json TEXT [TEXT...]. One thread, a fresh tokenizer for each run, the
// median of five in MB of text a second of processor time (other jobs run on the machine); then a megabyte of one
// letter, and the text decoded.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tmodel/text/tokenizer.hpp"

namespace {

std::string read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class Fn>
double median_seconds(Fn&& fn) {
  std::vector<double> times(5);
  for (double& time : times) time = fn();
  std::sort(times.begin(), times.end());
  return times[2];
}

template <class Fn>
double seconds(Fn&& fn) {
  const std::clock_t start = std::clock();
  fn();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: %s TOKENIZER.json TEXT...\n", argv[0]), 1;
  const std::string json = read_file(argv[1]);
  const auto load = [&] { return tmodel::Tokenizer::from_json(json, {}, argv[1]); };
  if (const auto tokenizer = load(); !tokenizer)
    return std::fprintf(stderr, "error: %s\n", tokenizer.error().message().c_str()), 2;
  const auto report = [&](const char* what, const std::string& text) {
    std::size_t tokens = 0;
    const double time = median_seconds([&] {
      const auto tokenizer = load();
      return seconds([&] { tokens = tokenizer->encode(text)->size(); });
    });
    std::printf("%-28s %8.2f MB/s %9zu tokens %8.3f s\n", what, static_cast<double>(text.size()) / time / 1e6, tokens,
                time);
  };
  for (int i = 2; i < argc; ++i) report(argv[i], read_file(argv[i]));
  report("a megabyte of one letter", std::string(1000000, 'a'));
  report("a megabyte of blanks", std::string(1000000, ' '));
  const auto tokenizer = load();
  const std::string text = read_file(argv[2]);
  const auto ids = *tokenizer->encode(text);
  std::printf("%-28s %8.2f MB/s\n", "decoding the first text",
              static_cast<double>(text.size()) /
                  median_seconds([&] { return seconds([&] { (void)tokenizer->decode(ids, true); }); }) / 1e6);
}
