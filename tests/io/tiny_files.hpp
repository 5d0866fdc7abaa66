#pragma once
// A whole tiny Llama with its tokenizer as file bytes: one GGUF file, and one safetensors folder with an index.
// Weights are small pseudo-random numbers; the two hold different models. Small enough to be mutated 100,000 times.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/file_builders.hpp"
#include "tmodel/core/types.hpp"
#include "tmodel/io/model_folder.hpp"

namespace tmodel::testing {

/// The files of a model folder, in memory, each owned.
struct FolderFiles {
  std::vector<std::pair<std::string, std::string>> files;  ///< name, content

  /// What open_model() takes; valid as long as this object is unchanged.
  std::vector<NamedBytes> named() const {
    std::vector<NamedBytes> list;
    for (const auto& [name, content] : files) list.push_back({name, bytes_of(content)});
    return list;
  }
  std::string* find(std::string_view name) {
    for (auto& [own, content] : files)
      if (own == name) return &content;
    return nullptr;
  }
};

/// Sizes of the tiny model.
struct TinySizes {
  std::uint64_t vocab = 264, dim = 32, heads = 4, kv_heads = 2, ffn = 64, layers = 2, context = 64;
};

/// Pseudo-random weights, the same on every machine: numbers in [-1/8, 1/8), exact in f16 and bf16.
class TinyNumbers {
 public:
  float next() noexcept {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int>(state_ >> 59) - 16) * 0x1p-7f;
  }
  std::string f32s(std::uint64_t n, float offset = 0) {
    std::string out;
    for (; n > 0; --n) put(out, next() + offset);
    return out;
  }
  std::string f16s(std::uint64_t n) {
    std::string out;
    for (; n > 0; --n) put(out, to_f16(next()).bits);
    return out;
  }
  std::string bf16s(std::uint64_t n) {
    std::string out;
    for (; n > 0; --n) put(out, to_bf16(next()).bits);
    return out;
  }
  /// Q8_0: per 32 elements an f16 scale, 2^-7 here, and 32 signed bytes.
  std::string q8_0s(std::uint64_t n) {
    std::string out;
    for (; n > 0; n -= 32) {
      put(out, to_f16(0x1p-7f).bits);
      for (int i = 0; i < 32; ++i) put(out, static_cast<std::int8_t>(next() * 0x1p7f));
    }
    return out;
  }

 private:
  std::uint64_t state_ = 1;
};

/// Pieces of a SentencePiece-type vocabulary: three specials, 256 bytes, a few merged pieces.
inline std::vector<std::string> tiny_pieces() {
  std::vector<std::string> pieces{"<unk>", "<s>", "</s>"};
  constexpr char digits[] = "0123456789ABCDEF";
  for (unsigned b = 0; b < 256; ++b) pieces.push_back(std::string("<0x") + digits[b >> 4] + digits[b & 15] + ">");
  for (const char* piece : {"\xE2\x96\x81", "a", "b", "ab",
                            "\xE2\x96\x81"
                            "ab"})
    pieces.emplace_back(piece);
  return pieces;
}

/// The tiny Llama as a GGUF builder: F16 embedding, Q8_0 matrices, F32 norms.
inline GgufBuilder tiny_gguf() {
  const TinySizes n;
  TinyNumbers numbers;
  GgufBuilder file;
  const auto u32 = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  file.add("general.architecture", "llama")
      .add("general.alignment", 32u)
      .add("general.name", "tiny")
      .add("llama.block_count", u32(n.layers))
      .add("llama.context_length", u32(n.context))
      .add("llama.embedding_length", u32(n.dim))
      .add("llama.feed_forward_length", u32(n.ffn))
      .add("llama.attention.head_count", u32(n.heads))
      .add("llama.attention.head_count_kv", u32(n.kv_heads))
      .add("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .add("llama.rope.dimension_count", u32(n.dim / n.heads))
      .add("llama.rope.freq_base", 10000.0f)
      .add("llama.vocab_size", u32(n.vocab))
      .add("tokenizer.ggml.model", "llama")
      .add("tokenizer.ggml.bos_token_id", 1u)
      .add("tokenizer.ggml.eos_token_id", 2u)
      .add("tokenizer.ggml.unknown_token_id", 0u)
      .add("tokenizer.ggml.add_bos_token", true)
      .add("tokenizer.ggml.add_eos_token", false);
  const std::vector<std::string> pieces = tiny_pieces();
  std::vector<float> scores(pieces.size());
  std::vector<std::int32_t> types(pieces.size(), 1);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i == 0)
      types[i] = 2;  // unknown
    else if (i < 3)
      types[i] = 3;  // control
    else if (i < 259)
      types[i] = 6;  // byte
    else
      scores[i] = -static_cast<float>(i - 258);
  }
  file.add_array("tokenizer.ggml.tokens", pieces)
      .add_array("tokenizer.ggml.scores", scores)
      .add_array("tokenizer.ggml.token_type", types);
  file.add("tokenizer.chat_template", "{% for m in messages %}{{ m['content'] }}{% endfor %}");

  const std::uint64_t kv_dim = n.dim / n.heads * n.kv_heads;
  const auto matrix = [&](std::string name, std::uint64_t out, std::uint64_t in) {
    file.tensor(std::move(name), 8, {out, in}, numbers.q8_0s(out * in));
  };
  const auto norm = [&](std::string name) { file.tensor(std::move(name), 0, {n.dim}, numbers.f32s(n.dim, 1)); };
  file.tensor("token_embd.weight", 1, {n.vocab, n.dim}, numbers.f16s(n.vocab * n.dim));
  for (std::uint64_t layer = 0; layer < n.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    norm(prefix + "attn_norm.weight");
    matrix(prefix + "attn_q.weight", n.dim, n.dim);
    matrix(prefix + "attn_k.weight", kv_dim, n.dim);
    matrix(prefix + "attn_v.weight", kv_dim, n.dim);
    matrix(prefix + "attn_output.weight", n.dim, n.dim);
    norm(prefix + "ffn_norm.weight");
    matrix(prefix + "ffn_gate.weight", n.ffn, n.dim);
    matrix(prefix + "ffn_up.weight", n.ffn, n.dim);
    matrix(prefix + "ffn_down.weight", n.dim, n.ffn);
  }
  norm("output_norm.weight");
  return file;
}

/// tokenizer.json of the same pieces: BPE with byte fallback, as Llama 2's.
inline std::string tiny_tokenizer_json() {
  std::string vocab;
  const std::vector<std::string> pieces = tiny_pieces();
  for (std::size_t i = 0; i < pieces.size(); ++i)
    vocab += (i == 0 ? "" : ",") + ('"' + pieces[i] + "\":" + std::to_string(i));
  std::string added;
  for (const char* token :
       {R"({"id":0,"content":"<unk>")", R"({"id":1,"content":"<s>")", R"({"id":2,"content":"</s>")"})
    added += (added.empty() ? "" : ",") + std::string(token) +
             R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)" + added +
         R"(],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
         R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,)"
         R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},)"
         R"({"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],)"
         R"("special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},)"
         R"("decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
         R"({"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},)"
         R"("model":{"type":"BPE","dropout":null,"unk_token":"<unk>","continuing_subword_prefix":null,)"
         R"("end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,"ignore_merges":false,"vocab":{)" +
         vocab + R"(},"merges":["a b","▁ ab"]}})";
}

/// The tiny Llama as a safetensors folder in two shards: BF16 matrices, F32 norms.
inline FolderFiles tiny_folder() {
  const TinySizes n;
  TinyNumbers numbers;
  SafetensorsBuilder shards[2];
  const std::string names[2] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
  std::string map;
  int shard = 0;
  const auto add = [&](const std::string& name, std::string_view dtype, const std::vector<std::uint64_t>& shape,
                       std::string_view data) {
    shards[shard].tensor(name, dtype, shape, data);
    map += (map.empty() ? "\"" : ",\"") + name + "\":\"" + names[shard] + '"';
  };
  const auto matrix = [&](const std::string& name, std::uint64_t out, std::uint64_t in) {
    add(name, "BF16", {out, in}, numbers.bf16s(out * in));
  };
  const auto norm = [&](const std::string& name) { add(name, "F32", {n.dim}, numbers.f32s(n.dim, 1)); };
  const std::uint64_t kv_dim = n.dim / n.heads * n.kv_heads;
  matrix("model.embed_tokens.weight", n.vocab, n.dim);
  for (std::uint64_t layer = 0; layer < n.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    norm(prefix + "input_layernorm.weight");
    matrix(prefix + "self_attn.q_proj.weight", n.dim, n.dim);
    matrix(prefix + "self_attn.k_proj.weight", kv_dim, n.dim);
    matrix(prefix + "self_attn.v_proj.weight", kv_dim, n.dim);
    matrix(prefix + "self_attn.o_proj.weight", n.dim, n.dim);
    shard = 1;
    norm(prefix + "post_attention_layernorm.weight");
    matrix(prefix + "mlp.gate_proj.weight", n.ffn, n.dim);
    matrix(prefix + "mlp.up_proj.weight", n.ffn, n.dim);
    matrix(prefix + "mlp.down_proj.weight", n.dim, n.ffn);
  }
  norm("model.norm.weight");
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  FolderFiles folder;
  folder.files = {
      {"config.json",
       R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","vocab_size":)" + number(n.vocab) +
           R"(,"hidden_size":)" + number(n.dim) + R"(,"intermediate_size":)" + number(n.ffn) +
           R"(,"num_hidden_layers":)" + number(n.layers) + R"(,"num_attention_heads":)" + number(n.heads) +
           R"(,"num_key_value_heads":)" + number(n.kv_heads) + R"(,"max_position_embeddings":)" + number(n.context) +
           R"(,"rms_norm_eps":1e-05,"rope_theta":10000.0,"rope_scaling":{"rope_type":"linear","factor":2.0},)"
           R"("hidden_act":"silu","tie_word_embeddings":true,"attention_bias":false,"mlp_bias":false,)"
           R"("bos_token_id":1,"eos_token_id":[2],"torch_dtype":"bfloat16"})"},
      {"generation_config.json", R"({"bos_token_id":1,"eos_token_id":[2],"do_sample":true,"temperature":0.6})"},
      {"tokenizer.json", tiny_tokenizer_json()},
      {"tokenizer_config.json",
       R"({"tokenizer_class":"LlamaTokenizer","bos_token":"<s>","eos_token":"</s>","unk_token":"<unk>",)"
       R"("add_bos_token":true,"add_eos_token":false,"legacy":false,"model_max_length":64,)"
       R"("chat_template":"{% for m in messages %}{{ m['content'] }}{% endfor %}"})"},
      {"model.safetensors.index.json", R"({"metadata":{"total_size":1},"weight_map":{)" + map + "}}"},
      {names[0], shards[0].build()},
      {names[1], shards[1].build()},
  };
  return folder;
}

}  // namespace tmodel::testing
