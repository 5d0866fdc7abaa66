#pragma once
// Damages a tiny model in seeded, repeatable ways and hands each result to a consumer: the driver of mutation programs.
// The program contains counted_new.cpp; run_mutations() watches the live bytes, the time and the error texts.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/allocations.hpp"
#include "io/read_everything.hpp"
#include "io/tiny_files.hpp"
#include "tmodel/core/function_ref.hpp"
#include "tmodel/io/model_files.hpp"

namespace tmodel::testing {

/// splitmix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// 0 to n - 1; 0 for n = 0.
  std::size_t below(std::size_t n) noexcept { return n == 0 ? 0 : static_cast<std::size_t>(next() % n); }

 private:
  std::uint64_t state_;
};

/// A damaged model: either one GGUF file or a folder. Its bytes end where their memory ends.
struct MutatedModel {
  std::span<const std::byte> gguf;
  std::vector<NamedBytes> folder;

  expected<ModelFiles> open() const {
    return folder.empty() ? open_model(gguf, "mutated.gguf") : open_model(folder, "mutated");
  }
};

/// A number that a length, count, offset or type should not be: near a power of two, near 2^64, or near what is left.
inline std::uint64_t extreme_number(std::uint64_t file_size, std::uint64_t at, Random& random) {
  const std::uint64_t off_by_one = random.below(3) - std::uint64_t{1};
  const std::uint64_t power = std::uint64_t{1} << random.below(64);
  switch (random.below(6)) {
    case 0:
      return 0 - (random.below(2) == 0 ? power : power & 0xFF);
    case 1:
      return file_size + off_by_one;
    case 2:
      return file_size - at + off_by_one - 8 * random.below(2);
    default:
      return power + off_by_one;
  }
}

/// One damage to a file. `structure`: how many bytes at its beginning are not mere weights; most hits go there.
inline void damage_bytes(std::string& file, std::size_t structure, Random& random) {
  const std::size_t range = random.below(4) != 0 && structure < file.size() ? structure : file.size();
  const std::size_t at = random.below(range);
  const auto overwrite = [&](std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes && at + i < file.size(); ++i) file[at + i] = static_cast<char>(value >> (8 * i));
  };
  const std::uint64_t extreme = extreme_number(file.size(), at, random);
  const std::uint64_t noise = random.next();
  const std::size_t width = 1 + random.below(8);
  const std::size_t from = random.below(file.size()), length = 1 + random.below(random.below(8) == 0 ? 4096 : 40);
  switch (random.below(9)) {
    case 0:
      overwrite(extreme, 8);
      break;
    case 1:
      overwrite(extreme, 4);
      break;
    case 2:
      overwrite(noise, width);
      break;
    case 3:
      file.resize(at);
      break;
    case 4:
      file.insert(at, file.substr(from, length));
      break;
    case 5:
      file.erase(at, length);
      break;
    case 6:
      file.replace(at, std::min(length, file.size() - at), file.substr(from, length));
      break;
    case 7:
      file.append(length, static_cast<char>(noise));
      break;
    default:
      for (std::size_t n = 1 + random.below(4); n > 0; --n) {
        const std::size_t bit = random.below(8 * range);
        file[bit / 8] = static_cast<char>(static_cast<unsigned char>(file[bit / 8]) ^ (1u << (bit % 8)));
      }
  }
}

/// One damage to a JSON text, such that much of it stays JSON.
inline void damage_json(std::string& text, Random& random) {
  constexpr std::string_view values[] = {"0",
                                         "-1",
                                         "1e308",
                                         "1e-320",
                                         "1e999",
                                         "18446744073709551615",
                                         "18446744073709551616",
                                         "9223372036854775807",
                                         "-9223372036854775808",
                                         "4294967296",
                                         "2147483648",
                                         "0.5",
                                         "null",
                                         "true",
                                         "\"\"",
                                         "[]",
                                         "{}",
                                         "[[]]",
                                         "[1,[2]]",
                                         "{\"a\":{\"a\":1}}",
                                         "\"\\u0000\"",
                                         "\"\\ud800\"",
                                         "\"../x\""};
  constexpr std::string_view marks = "{}[],:\"\\0-.eE \n";
  const std::size_t at = random.below(text.size());
  switch (random.below(4)) {
    case 0: {  // one value becomes another
      const std::size_t colon = text.find(':', at);
      if (colon == std::string::npos) break;
      const std::size_t end = text.find_first_of(",}]", colon);
      if (end != std::string::npos) text.replace(colon + 1, end - colon - 1, values[random.below(std::size(values))]);
      break;
    }
    case 1: {  // one number becomes another
      const std::size_t digit = text.find_first_of("0123456789", at);
      if (digit == std::string::npos) break;
      std::size_t end = text.find_first_not_of("0123456789", digit);
      if (end == std::string::npos) end = text.size();
      text.replace(digit, end - digit, values[random.below(14)]);
      break;
    }
    case 2:
      text.insert(at, 1, marks[random.below(marks.size())]);
      break;
    default:
      damage_bytes(text, text.size(), random);
  }
}

/// The header of a safetensors file damaged as JSON, its length field made right again.
inline void damage_safetensors_header(std::string& file, Random& random) {
  if (file.size() < 8) return;
  const auto length = load_unaligned<std::uint64_t>(file.data());
  if (length > file.size() - 8) return;
  std::string header = file.substr(8, static_cast<std::size_t>(length));
  damage_json(header, random);
  file = safetensors_file(header, std::string_view(file).substr(8 + static_cast<std::size_t>(length)));
}

/// Makes damaged models. Number `index` of a seed is always the same.
class Mutator {
 public:
  Mutator() {
    add_gguf(tiny_gguf().build());
    add_folder(tiny_folder().files);
  }

  /// A further sound model to damage.
  void add_gguf(std::string file) {
    std::size_t structure = ~std::size_t{0};
    TensorSource source;
    if (read_gguf(bytes_of(file), "sound", source))
      for (const TensorInfo& t : source.tensors) structure = std::min(structure, static_cast<std::size_t>(t.offset));
    bases_.push_back({{{"model.gguf", std::move(file)}}, structure});
  }
  void add_folder(std::vector<std::pair<std::string, std::string>> files) {
    bases_.push_back({std::move(files), 2048});
  }

  const MutatedModel& make(std::uint64_t seed, std::uint64_t index) {
    Random random(seed * 0x9E3779B97F4A7C15u + index);
    const Base& base = bases_[random.below(random.below(2) == 0 ? 2 : bases_.size())];
    model_.folder.clear();
    model_.gguf = {};
    const std::size_t times = 1 + random.below(3);
    const std::size_t which = random.below(base.files.size());
    const std::string_view name = base.files[which].first;
    std::string file = base.files[which].second;
    for (std::size_t i = 0; i < times && !file.empty(); ++i) {
      if (name.ends_with(".json") || name.ends_with(".jinja"))
        damage_json(file, random);
      else if (name.ends_with(".safetensors") && random.below(2) == 0)
        damage_safetensors_header(file, random);
      else
        damage_bytes(file, base.structure, random);
    }
    if (name.ends_with(".gguf")) {
      model_.gguf = exact(damaged_, file);
      return model_;
    }
    kept_.resize(base.files.size());
    for (std::size_t i = 0; i < base.files.size(); ++i)
      model_.folder.push_back(
          {base.files[i].first, i == which ? exact(damaged_, file) : exact(kept_[i], base.files[i].second)});
    return model_;
  }

 private:
  struct Block {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size = 0;
  };
  static std::span<const std::byte> exact(Block& block, std::string_view text) {
    block.bytes = std::make_unique<std::byte[]>(text.size());
    block.size = text.size();
    if (!text.empty()) std::memcpy(block.bytes.get(), text.data(), text.size());
    return {block.bytes.get(), block.size};
  }

  struct Base {
    std::vector<std::pair<std::string, std::string>> files;  ///< names and contents; one GGUF file, or a folder's
    std::size_t structure;                                   ///< bytes at the beginning that are not mere weights
  };
  std::vector<Base> bases_;
  std::vector<Block> kept_;
  Block damaged_;
  MutatedModel model_;
};

/// The mutation that is being consumed, for the report of a crash.
inline std::uint64_t running_mutation = 0;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TMODEL_TEST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(TMODEL_TEST_ASAN)
extern "C" void __sanitizer_set_death_callback(void (*)());
inline void report_crashes() {
  __sanitizer_set_death_callback(
      [] { std::fprintf(stderr, "in mutation %llu\n", static_cast<unsigned long long>(running_mutation)); });
}
#else
inline void report_crashes() {}
#endif

/// Runs `count` mutations of `seed` from number `first` on and prints one line.
/// `consume` uses the model in whatever way and returns no error if all went well; errors are values to be judged here.
/// False if more than 64 MB were live at once, one mutation took more than 10 s, an error had no readable text, or all
/// were accepted or refused (then the test would prove nothing).
inline bool run_mutations(Mutator& mutator, std::uint64_t count, std::uint64_t seed, std::uint64_t first,
                          FunctionRef<expected<void>(const MutatedModel&)> consume) {
  constexpr std::size_t most_bytes = 64u << 20;
  constexpr double most_seconds = 10;
  report_crashes();
  std::uint64_t accepted = 0, failures = 0;
  std::size_t peak = 0;
  double slowest = 0;
  for (std::uint64_t i = first; i < first + count; ++i) {
    running_mutation = i;
    const MutatedModel& model = mutator.make(seed, i);
    const auto start = std::chrono::steady_clock::now();
    const std::size_t before = Allocations::start_peak();
    const std::size_t refused_before = Allocations::refused;
    Allocations::limit = before + most_bytes;
    std::string said;
    bool sound = true;
    {
      const expected<void> result = consume(model);
      if (result)
        ++accepted;
      else
        sound = !result.error().what.empty() && is_one_line_of_utf8(said = result.error().message());
    }
    Allocations::limit = ~std::size_t{0};
    const std::size_t used = Allocations::peak - before;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    peak = std::max(peak, used);
    slowest = std::max(slowest, seconds);
    if (sound && Allocations::refused == refused_before && seconds <= most_seconds) continue;
    ++failures;
    std::fprintf(stderr, "mutation %llu of seed %llu: %s%.1f s, %zu bytes live, \"%s\"\n",
                 static_cast<unsigned long long>(i), static_cast<unsigned long long>(seed),
                 Allocations::refused != refused_before ? "over 64 MB, " : "", seconds, used, said.c_str());
  }
  std::printf("%llu mutations, seed %llu: %llu accepted, %llu failed, at most %.2f MB live, slowest %.0f ms\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(accepted), static_cast<unsigned long long>(failures),
              static_cast<double>(peak) / 1048576, slowest * 1000);
  const bool telling = count < 100 || (accepted > 0 && accepted < count);
  return failures == 0 && telling;
}

}  // namespace tmodel::testing
