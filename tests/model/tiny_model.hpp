#pragma once
// Models with random weights, built in memory: any sizes, any weight format, no file.
// The numbers come from a fixed generator, so that every platform builds the same model.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "tmodel/families/all.hpp"
#include "tmodel/model/batch.hpp"

namespace tiny {

using namespace tmodel;

/// splitmix64, as numbers in [-1, 1).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  f32 number() { return static_cast<f32>(static_cast<f64>(bits() >> 11) * 0x1p-52 - 1.0); }
  int below(int n) { return static_cast<int>(bits() % static_cast<std::uint64_t>(n)); }

 private:
  std::uint64_t state_;
};

struct Sizes {
  int layers = 2, dim = 64, heads = 4, kv_heads = 2, head_dim = 16, ffn_dim = 96, vocab = 80, max_positions = 256;
  std::uint64_t seed = 1;
};

/// Data of the tensors; keep it as long as the model.
struct Data {
  std::deque<std::vector<std::byte>> blocks;
};

template <class Q>
void add_tensor(TensorSource& source, Data& data, Random& random, std::string name, int rows, int columns, f32 scale, f32 offset = 0) {
  const std::size_t n = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  std::vector<f32> values(n);
  for (f32& v : values) v = random.number() * scale + offset;
  auto& bytes = data.blocks.emplace_back(n / Q::block_len * sizeof(typename Q::Block) + 64);
  std::vector<typename Q::Block> blocks(n / Q::block_len);
  Q::quantize(values, blocks.data());
  std::byte* at = bytes.data() + (64 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 64) % 64;
  std::memcpy(at, blocks.data(), blocks.size() * sizeof blocks[0]);
  TensorInfo t;
  t.name = std::move(name);
  t.format = Q::gguf_id;
  t.rank = rows == 1 ? 1 : 2;
  t.shape = {static_cast<std::uint64_t>(rows == 1 ? columns : rows), static_cast<std::uint64_t>(rows == 1 ? 0 : columns)};
  t.data = {at, blocks.size() * sizeof blocks[0]};
  source.tensors.push_back(std::move(t));
}

/// A model as a Hugging Face folder would hold it, matrices in format Q.
template <class F, class Q>
TensorSource source(const Sizes& s, Data& data) {
  TensorSource out;
  Metadata& m = out.metadata;
  m.dialect = Dialect::huggingface;
  m.where = "tiny model";
  m.insert("model_type", std::string(F::model_types[0]));
  const auto put = [&](const char* key, int value) { m.insert(key, std::int64_t{value}); };
  put("num_hidden_layers", s.layers), put("hidden_size", s.dim), put("num_attention_heads", s.heads);
  put("num_key_value_heads", s.kv_heads), put("head_dim", s.head_dim), put("intermediate_size", s.ffn_dim);
  put("vocab_size", s.vocab), put("max_position_embeddings", s.max_positions);
  Random random(s.seed);
  const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  const bool biases = std::string_view(F::name) == "qwen2";
  const auto matrix = [&](const std::string& name, int rows, int columns) {
    add_tensor<Q>(out, data, random, name + ".weight", rows, columns, 2.f / std::sqrt(static_cast<f32>(columns)));
  };
  const auto vector = [&](const std::string& name, int n, f32 offset) { add_tensor<F32>(out, data, random, name, 1, n, 0.3f, offset); };
  matrix("model.embed_tokens", s.vocab, s.dim);
  for (int i = 0; i < s.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    vector(layer + "input_layernorm.weight", s.dim, 1);
    vector(layer + "post_attention_layernorm.weight", s.dim, 1);
    matrix(layer + "self_attn.q_proj", q, s.dim), matrix(layer + "self_attn.k_proj", kv, s.dim);
    matrix(layer + "self_attn.v_proj", kv, s.dim), matrix(layer + "self_attn.o_proj", s.dim, q);
    if (biases) {
      vector(layer + "self_attn.q_proj.bias", q, 0), vector(layer + "self_attn.k_proj.bias", kv, 0);
      vector(layer + "self_attn.v_proj.bias", kv, 0);
    }
    matrix(layer + "mlp.gate_proj", s.ffn_dim, s.dim), matrix(layer + "mlp.up_proj", s.ffn_dim, s.dim);
    matrix(layer + "mlp.down_proj", s.dim, s.ffn_dim);
  }
  vector("model.norm.weight", s.dim, 1);
  matrix("lm_head", s.vocab, s.dim);
  EXPECT_TRUE(out.sort());
  return out;
}

template <class T>
T must(expected<T> value) {
  EXPECT_TRUE(value.has_value()) << value.error().message();
  if (!value) std::exit(1);
  return std::move(*value);
}
inline void must(const expected<void>& value) { ASSERT_TRUE(value.has_value()) << value.error().message(); }

template <class F, class B>
std::unique_ptr<Model<B>> load(TensorSource source, const typename B::Options& options = {}, MissingFormat missing = MissingFormat::refuse) {
  const auto facts = family_facts<F, B>();
  auto config = must(read_model_config(facts, source));
  return must(Model<B>::load(must(B::open(options)), facts, std::move(source), std::move(config), missing));
}

inline std::vector<token_t> prompt(int n, int vocab, std::uint64_t seed = 7) {
  Random random(seed);
  std::vector<token_t> ids;
  for (int i = 0; i < n; ++i) ids.push_back(random.below(vocab));
  return ids;
}

/// Logits [n, V] of every token.
template <class B>
std::vector<f32> all_logits(Session<B>& session, std::span<const token_t> ids) {
  std::vector<f32> out;
  const auto each = [&](pos_t, std::span<const f32> logits) { out.insert(out.end(), logits.begin(), logits.end()); };
  must(session.append(ids, {.cancel = nullptr, .progress = {}, .each = each}));
  return out;
}

}  // namespace tiny
