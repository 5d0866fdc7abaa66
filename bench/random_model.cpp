// Writes a GGUF file with random weights in the shape of a real model, so that speed can be measured where the real
// file cannot be had. The formats of the tensors are those that llama-quantize chooses; the same bytes each time.
//   random_model smollm2-135m Q4_K_M OUT.gguf

#include <CLI/CLI.hpp>
#include <bit>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tmodel/core/memory.hpp"
#include "tmodel/quant/all.hpp"

namespace {

using namespace tmodel;

/// Sizes from the config.json of each model.
struct Shape {
  std::string_view name, architecture;
  int dim, layers, heads, kv_heads, head_dim, ffn_dim, vocab, context;
  f32 theta, eps;
  bool qkv_bias;
  bool own_head = false;  ///< a head that is not the embedding
};
// Llama 3.1's rope factors are left out: the work per token is the same without them.
constexpr Shape shapes[] = {
    {"smollm2-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, 8192, 100000, 1e-5f, false},
    {"qwen2.5-0.5b", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, 32768, 1e6f, 1e-6f, true},
    {"llama-3.2-1b", "llama", 2048, 16, 32, 8, 64, 8192, 128256, 131072, 500000, 1e-5f, false},
    {"qwen2.5-1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, 32768, 1e6f, 1e-6f, true},
    {"llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, 131072, 500000, 1e-5f, false, true}};

using FormatId = std::uint32_t;

/// A format's number by its name; false if it is not one that can be written.
bool find_writable(std::string_view name, FormatId& id) {
  bool found = false;
  AllFormats::for_each([&]<class Q>() {
    if constexpr (QuantizableFormat<Q>)
      if (Q::name == name) id = Q::gguf_id, found = true;
  });
  return found;
}

/// What a row whose length is no multiple of 256 is stored in. llama.cpp has IQ4_NL in place of Q4_0 here, which is as
/// large, but we have no quantiser for it.
FormatId fitting(FormatId id, int columns) {
  if (columns % static_cast<int>(find_format(id)->block_len) == 0) return id;
  switch (id) {
    case Q4_K::gguf_id:
      return Q5_0::gguf_id;
    case Q5_K::gguf_id:
      return Q5_1::gguf_id;
    case Q6_K::gguf_id:
      return Q8_0::gguf_id;
    default:
      return Q4_0::gguf_id;  // Q2_K, Q3_K
  }
}

/// The choice of a format for each matrix.
struct Recipe {
  FormatId body, head;
  bool mixed = false;  ///< Q4_K_M: attn_v and ffn_down of some layers are finer

  static bool find(std::string_view name, Recipe& recipe) {
    if (name == "Q4_K_M") return recipe = {Q4_K::gguf_id, Q6_K::gguf_id, true}, true;
    FormatId id = 0;
    if (!find_writable(name, id)) return false;
    return recipe = {id, id == Q4_0::gguf_id ? Q6_K::gguf_id : id}, true;
  }
  /// llama-quantize's rule for "more bits": the first and last eighth of the layers and every third between.
  FormatId in_layer(int i, int layers) const {
    const bool more = i < layers / 8 || i >= 7 * layers / 8 || (i - layers / 8) % 3 == 2;
    return mixed && more ? Q6_K::gguf_id : body;
  }
};

enum class Fill { random, ones };

struct Tensor {
  std::string name;
  int rows, columns;  ///< rows 0: a vector
  FormatId format;
  Fill fill = Fill::random;

  std::uint64_t bytes() const {
    const FormatTraits& f = *find_format(format);
    return static_cast<std::uint64_t>(columns) / f.block_len * f.block_bytes *
           static_cast<std::uint64_t>(std::max(rows, 1));
  }
};

std::vector<Tensor> tensors_of(const Shape& s, const Recipe& recipe) {
  std::vector<Tensor> all;
  const auto matrix = [&](std::string name, int rows, int columns, FormatId id) {
    all.push_back({std::move(name), rows, columns, fitting(id, columns)});
  };
  const auto vector = [&](std::string name, int n, Fill fill) {
    all.push_back({std::move(name), 0, n, F32::gguf_id, fill});
  };
  matrix("token_embd.weight", s.vocab, s.dim, s.own_head ? recipe.body : recipe.head);
  if (s.own_head) matrix("output.weight", s.vocab, s.dim, recipe.head);
  vector("output_norm.weight", s.dim, Fill::ones);
  for (int i = 0; i < s.layers; ++i) {
    const std::string at = "blk." + std::to_string(i) + ".";
    const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    vector(at + "attn_norm.weight", s.dim, Fill::ones);
    matrix(at + "attn_q.weight", q, s.dim, recipe.body);
    matrix(at + "attn_k.weight", kv, s.dim, recipe.body);
    matrix(at + "attn_v.weight", kv, s.dim, recipe.in_layer(i, s.layers));
    matrix(at + "attn_output.weight", s.dim, q, recipe.body);
    if (s.qkv_bias)
      for (const char* part : {"q", "k", "v"})
        vector(at + "attn_" + part + ".bias", *part == 'q' ? q : kv, Fill::random);
    vector(at + "ffn_norm.weight", s.dim, Fill::ones);
    matrix(at + "ffn_gate.weight", s.ffn_dim, s.dim, recipe.body);
    matrix(at + "ffn_up.weight", s.ffn_dim, s.dim, recipe.body);
    matrix(at + "ffn_down.weight", s.dim, s.ffn_dim, recipe.in_layer(i, s.layers));
  }
  return all;
}

/// Weights of one format. Fitting the K formats to a billion weights would take minutes, so that a pool is quantised
/// once and tensors are cut out of it.
class Pool {
 public:
  Pool(FormatId id, std::uint64_t seed) : format_(*find_format(id)), random_(seed) {
    std::vector<f32> values(elements);
    for (f32& v : values) v = 0.02f * normal();
    blocks_.resize(elements / format_.block_len * format_.block_bytes);
    AllFormats::visit(id, [&]<class Q>() {
      if constexpr (QuantizableFormat<Q>) {
        const auto out = std::make_unique<typename Q::Block[]>(elements / Q::block_len);
        Q::quantize(values, out.get());
        std::memcpy(blocks_.data(), out.get(), blocks_.size());
      }
    });
  }
  /// Fills whole blocks, in runs from random places of the pool.
  void fill(std::byte* to, std::size_t bytes) {
    const std::size_t blocks = blocks_.size() / format_.block_bytes;
    while (bytes > 0) {
      const std::size_t from = static_cast<std::size_t>(random_() % blocks) * format_.block_bytes;
      const std::size_t n = std::min(bytes, blocks_.size() - from);
      std::memcpy(to, blocks_.data() + from, n);
      to += n, bytes -= n;
    }
  }

 private:
  static constexpr std::size_t elements = std::size_t{1} << 18;

  /// Close to a standard normal deviate; std::normal_distribution differs between standard libraries.
  f32 normal() {
    f32 sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<f32>(random_() >> 40) * 0x1p-24f - 0.5f;
    return sum;
  }

  const FormatTraits& format_;
  std::mt19937_64 random_;
  std::vector<std::byte> blocks_;
};

/// The file, in large pieces. GGUF version 3: ggml's docs/gguf.md.
class GgufFile {
 public:
  explicit GgufFile(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) { buffer_.reserve(capacity); }
  ~GgufFile() {
    if (file_ != nullptr) std::fclose(file_);
  }
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  template <class T>
  void put(T value) {
    std::memcpy(room(sizeof value), &value, sizeof value);
  }
  void put_text(std::string_view text) {
    put<std::uint64_t>(text.size());
    if (!text.empty()) std::memcpy(room(text.size()), text.data(), text.size());
  }
  void key(std::string_view name, std::string_view text) { put_text(name), put<std::uint32_t>(8), put_text(text); }
  void key(std::string_view name, int number) {
    put_text(name), put<std::uint32_t>(4), put<std::uint32_t>(static_cast<std::uint32_t>(number));
  }
  void key(std::string_view name, f32 number) { put_text(name), put<std::uint32_t>(6), put(number); }
  void align() {
    if (const std::size_t over = written_ % alignment; over != 0)
      std::memset(room(alignment - over), 0, alignment - over);
  }
  /// Room for so many further bytes; at most piece.
  std::byte* room(std::size_t bytes) {
    if (buffer_.size() + bytes > capacity) flush();
    buffer_.resize(buffer_.size() + bytes);
    written_ += bytes;
    return buffer_.data() + buffer_.size() - bytes;
  }
  /// False if anything could not be written.
  bool close() {
    flush();
    const bool ok = file_ != nullptr && std::fclose(file_) == 0 && good_;
    file_ = nullptr;
    return ok;
  }

  static constexpr std::size_t alignment = 32, capacity = std::size_t{16} << 20, piece = std::size_t{1} << 20;

 private:
  void flush() {
    good_ = good_ && file_ != nullptr && std::fwrite(buffer_.data(), 1, buffer_.size(), file_) == buffer_.size();
    buffer_.clear();
  }

  std::FILE* file_;
  std::vector<std::byte> buffer_;
  std::size_t written_ = 0;
  bool good_ = true;
};

void write_keys(GgufFile& file, const Shape& s, std::string_view format) {
  const std::string a = std::string(s.architecture) + ".";
  file.key("general.architecture", s.architecture);
  file.key("general.name", "random weights, " + std::string(s.name) + ", " + std::string(format));
  file.key("general.quantization_version", 2);
  file.key(a + "vocab_size", s.vocab);  // llama.cpp asks for it where there is no tokenizer
  file.key(a + "context_length", s.context);
  file.key(a + "embedding_length", s.dim);
  file.key(a + "block_count", s.layers);
  file.key(a + "feed_forward_length", s.ffn_dim);
  file.key(a + "rope.dimension_count", s.head_dim);
  file.key(a + "rope.freq_base", s.theta);
  file.key(a + "attention.head_count", s.heads);
  file.key(a + "attention.head_count_kv", s.kv_heads);
  file.key(a + "attention.key_length", s.head_dim);
  file.key(a + "attention.value_length", s.head_dim);
  file.key(a + "attention.layer_norm_rms_epsilon", s.eps);
  file.key("tokenizer.ggml.model", "none");
}
constexpr std::uint64_t key_count = 16;

bool write(const Shape& s, std::string_view format, const Recipe& recipe, const std::string& path) {
  const std::vector<Tensor> tensors = tensors_of(s, recipe);
  GgufFile file(path);
  file.put(std::uint32_t{0x46554747});  // "GGUF"
  file.put(std::uint32_t{3});
  file.put<std::uint64_t>(tensors.size());
  file.put(key_count);
  write_keys(file, s, format);
  std::uint64_t offset = 0;
  for (const Tensor& t : tensors) {
    file.put_text(t.name);
    file.put<std::uint32_t>(t.rows == 0 ? 1 : 2);
    file.put<std::uint64_t>(static_cast<std::uint64_t>(t.columns));  // the innermost dimension first
    if (t.rows != 0) file.put<std::uint64_t>(static_cast<std::uint64_t>(t.rows));
    file.put(t.format);
    file.put(offset);
    offset = round_up(offset + t.bytes(), GgufFile::alignment);
  }
  file.align();
  std::map<FormatId, Pool> pools;
  for (const Tensor& t : tensors) {
    const FormatTraits& f = *find_format(t.format);
    const std::size_t piece = GgufFile::piece / f.block_bytes * f.block_bytes;
    Pool& pool = pools.try_emplace(t.format, t.format, 1000 + t.format).first->second;
    for (std::uint64_t left = t.bytes(); left > 0;) {
      const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece));
      std::byte* const to = file.room(n);
      if (t.fill == Fill::random)
        pool.fill(to, n);
      else
        for (std::size_t i = 0; i < n; i += sizeof(f32))
          std::memcpy(to + i, std::bit_cast<std::array<std::byte, 4>>(1.f).data(), 4);
      left -= n;
    }
    file.align();
  }
  return file.close();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Writes a GGUF file with random weights in the shape of a real model"};
  std::string shape, format, path, known_shapes, known_formats = "Q4_K_M";
  for (const Shape& s : shapes) known_shapes += (known_shapes.empty() ? "" : ", ") + std::string(s.name);
  AllFormats::for_each([&]<class Q>() {
    if constexpr (QuantizableFormat<Q>) known_formats += ", " + std::string(Q::name);
  });
  app.add_option("SHAPE", shape, known_shapes)->required();
  app.add_option("FORMAT", format, known_formats)->required();
  app.add_option("OUT", path, "The file, written anew")->required();
  CLI11_PARSE(app, argc, argv);
  const auto* s =
      std::find_if(std::begin(shapes), std::end(shapes), [&](const Shape& one) { return one.name == shape; });
  Recipe recipe{};
  if (s == std::end(shapes))
    return std::fprintf(stderr, "error: no shape %s; known: %s\n", shape.c_str(), known_shapes.c_str()), 1;
  if (!Recipe::find(format, recipe))
    return std::fprintf(stderr, "error: no format %s; known: %s\n", format.c_str(), known_formats.c_str()), 1;
  if (!write(*s, format, recipe, path)) return std::fprintf(stderr, "error: cannot write %s\n", path.c_str()), 2;
}
