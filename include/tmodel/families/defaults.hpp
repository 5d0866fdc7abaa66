#pragma once
// Reading a configuration: one table of keys in both dialects, and the parts that Llama-like families share.
// Keys and defaults: transformers' configuration classes; GGUF specification and converters.

#include <string>
#include <string_view>

#include "tmodel/core/config.hpp"
#include "tmodel/core/metadata.hpp"

namespace tmodel::inline v0::families {

/// One fact under its two names; GGUF's is preceded by the architecture and a dot.
struct Key {
  std::string_view huggingface, gguf;
};

namespace keys {
inline constexpr Key layers{"num_hidden_layers", "block_count"};
inline constexpr Key dim{"hidden_size", "embedding_length"};
inline constexpr Key ffn_dim{"intermediate_size", "feed_forward_length"};
inline constexpr Key heads{"num_attention_heads", "attention.head_count"};
inline constexpr Key kv_heads{"num_key_value_heads", "attention.head_count_kv"};
inline constexpr Key head_dim{"head_dim", "attention.key_length"};
inline constexpr Key rms_eps{"rms_norm_eps", "attention.layer_norm_rms_epsilon"};
inline constexpr Key max_positions{"max_position_embeddings", "context_length"};
inline constexpr Key vocab{"vocab_size", "vocab_size"};
}  // namespace keys

/// Reads keys of one file by either name and remembers the first error. A missing key takes the given default.
class ConfigReader {
 public:
  explicit ConfigReader(const Metadata& m) : m_(m), gguf_(m.dialect == Dialect::gguf) {
    if (gguf_) prefix_ = std::string(m.string("general.architecture").value_or("")) + ".";
  }
  bool gguf() const noexcept { return gguf_; }
  const Metadata& metadata() const noexcept { return m_; }
  std::string name(const Key& key) const { return gguf_ ? prefix_ + std::string(key.gguf) : std::string(key.huggingface); }
  bool has(const Key& key) const { return m_.has_value(name(key)); }

  /// A size: at least `low`. Without a default the key must be there.
  int size(const Key& key, int low, int otherwise = -1) {
    const std::string n = name(key);
    const auto* array = m_.array(n);
    auto value = m_.integer(n);
    if (array != nullptr) value = uniform(*array, n);
    if (!value) {
      if (m_.has_value(n) || otherwise < 0) refuse(n, m_.has_value(n) ? "not a whole number" : "missing");
      return otherwise < low ? low : otherwise;
    }
    if (*value < low || *value > size_limit) {
      refuse(n, std::to_string(*value), std::to_string(low) + " to " + std::to_string(size_limit));
      return low;
    }
    return static_cast<int>(*value);
  }
  f64 number(std::string_view key, f64 otherwise) {
    if (!m_.has_value(key)) return otherwise;
    const auto value = m_.number(key);
    if (!value || !std::isfinite(*value)) return refuse(key, "not a finite number"), otherwise;
    return *value;
  }
  f64 number(const Key& key, f64 otherwise) { return number(name(key), otherwise); }
  f64 positive(std::string_view key, f64 otherwise) {
    const f64 value = number(key, otherwise);
    if (!(value > 0)) refuse(key, std::to_string(value), "more than 0");
    return value;
  }
  bool flag(std::string_view key, bool otherwise) {
    if (!m_.has_value(key)) return otherwise;
    const auto value = m_.boolean(key);
    if (!value) refuse(key, "not true or false");
    return value.value_or(otherwise);
  }
  std::string_view text(std::string_view key, std::string_view otherwise) const { return m_.string(key).value_or(otherwise); }

  void refuse(std::string_view key, std::string_view got, std::string_view expected = {}, Errc code = Errc::bad_metadata) {
    if (!error_)
      error_.emplace(code, code == Errc::unsupported ? "this setting" : "configuration key", std::string(key) + " in " + m_.where, expected, got);
  }
  /// The configuration, or the first error.
  expected<ModelConfig> result(ModelConfig config) {
    if (error_) return tl::unexpected<Error>(*std::move(error_));
    return config;
  }

 private:
  /// GGUF allows an array with one value per layer; equal ones are one value.
  std::optional<std::int64_t> uniform(const MetaArray& array, const std::string& key) {
    MetaReader reader(array);
    if (array.count == 0 || array.type == MetaType::string || array.type == MetaType::array) return std::nullopt;
    const f64 first = reader.number();
    while (!reader.done())
      if (reader.number() != first) return refuse(key, "values that differ from layer to layer", {}, Errc::unsupported), std::nullopt;
    if (!(std::fabs(first) < 0x1p31)) return std::nullopt;
    return static_cast<std::int64_t>(first);
  }

  static constexpr std::int64_t size_limit = 1 << 30;
  const Metadata& m_;
  bool gguf_;
  std::string prefix_;
  std::optional<Error> error_;
};

/// RoPE of config.json: v4 (rope_theta, rope_scaling with type or rope_type) and v5 (rope_parameters).
inline RopeParams parse_rope_huggingface(ConfigReader& r, f64 default_theta, int max_positions) {
  RopeParams p;
  const Metadata& m = r.metadata();
  const auto find = [&](std::string_view key) -> std::string {  // the dict that has it
    for (const std::string_view dict : {"rope_parameters.", "rope_scaling."})
      if (std::string n = std::string(dict) + std::string(key); m.has_value(n)) return n;
    return std::string("rope_scaling.") + std::string(key);
  };
  p.theta = r.positive(m.has_value("rope_parameters.rope_theta") ? "rope_parameters.rope_theta" : "rope_theta", default_theta);
  std::string_view kind = r.text(find("rope_type"), r.text(find("type"), "default"));
  if (kind == "linear") p.scaling = RopeScaling::linear;
  else if (kind == "dynamic") p.scaling = RopeScaling::dynamic;
  else if (kind == "llama3") p.scaling = RopeScaling::llama3;
  else if (kind == "yarn") p.scaling = RopeScaling::yarn;
  else if (kind != "default") r.refuse(find("rope_type"), std::string(kind), "default, linear, dynamic, llama3 or yarn", Errc::unsupported);
  if (p.scaling == RopeScaling::none) return p;

  if (!m.has_value(find("factor"))) r.refuse(find("factor"), "missing");
  p.factor = r.positive(find("factor"), 1.0);
  p.original_length = p.scaling == RopeScaling::dynamic
                          ? max_positions
                          : r.positive("original_max_position_embeddings",  // at the top level it wins, as in transformers 5
                                       r.positive(find("original_max_position_embeddings"), max_positions));
  p.low_freq_factor = r.positive(find("low_freq_factor"), 1.0);
  p.high_freq_factor = r.positive(find("high_freq_factor"), 4.0);
  if (p.scaling == RopeScaling::llama3 && !(p.high_freq_factor > p.low_freq_factor))
    r.refuse(find("high_freq_factor"), std::to_string(p.high_freq_factor), "more than low_freq_factor");
  p.attention_factor = r.number(find("attention_factor"), 0);
  p.beta_fast = r.positive(find("beta_fast"), 32.0);
  p.beta_slow = r.positive(find("beta_slow"), 1.0);
  p.mscale = r.number(find("mscale"), 0);
  p.mscale_all_dim = r.number(find("mscale_all_dim"), 0);
  p.truncate = r.flag(find("truncate"), true);
  return p;
}

/// RoPE of GGUF. llama3 scaling has no keys there: its factors are the tensor rope_freqs.weight, read by the loader.
inline RopeParams parse_rope_gguf(ConfigReader& r, int max_positions) {
  RopeParams p;
  const auto key = [&](std::string_view suffix) { return r.name({"", suffix}); };
  p.theta = r.positive(key("rope.freq_base"), 10000.0);
  const std::string_view kind = r.text(key("rope.scaling.type"), "linear");
  const f64 old_factor = r.positive(key("rope.scale_linear"), 1.0);
  p.factor = r.positive(key("rope.scaling.factor"), old_factor);
  p.original_length = r.positive(key("rope.scaling.original_context_length"), max_positions);
  p.attention_factor = r.number(key("rope.scaling.yarn_attn_factor"), r.number(key("rope.scaling.attn_factor"), 0));
  p.beta_fast = r.positive(key("rope.scaling.yarn_beta_fast"), 32.0);
  p.beta_slow = r.positive(key("rope.scaling.yarn_beta_slow"), 1.0);
  if (kind == "yarn") p.scaling = RopeScaling::yarn;
  else if (kind == "linear") p.scaling = p.factor == 1.0 ? RopeScaling::none : RopeScaling::linear;
  else if (kind != "none") r.refuse(key("rope.scaling.type"), std::string(kind), "none, linear or yarn", Errc::unsupported);
  return p;
}

/// eos_token_id of config.json and generation_config.json: a number, a list or null. GGUF: the tokenizer's.
inline void parse_end_tokens(const Metadata& m, ModelConfig& c) {
  for (const std::string_view key : {"eos_token_id", "generation_config.eos_token_id"}) {
    if (const auto id = m.integer(key); id && *id >= 0 && *id < c.vocab) c.end_tokens.push_back(static_cast<token_t>(*id));
    const MetaArray* list = m.array(key);
    if (list == nullptr || list->type == MetaType::string) continue;
    for (MetaReader reader(*list); !reader.done();)
      if (const f64 id = reader.number(); id >= 0 && id < c.vocab) c.end_tokens.push_back(static_cast<token_t>(id));
  }
}

/// config.json's layer_types: one of "full_attention", "sliding_attention" per layer; empty if not given.
inline std::vector<bool> parse_layer_types(ConfigReader& r, int layers) {
  std::vector<bool> windowed;
  const MetaArray* list = r.metadata().array("layer_types");
  if (list == nullptr || list->type != MetaType::string) return windowed;
  for (MetaReader reader(*list); !reader.done();) {
    const std::string_view kind = reader.string();
    if (kind != "full_attention" && kind != "sliding_attention")
      r.refuse("layer_types", std::string(kind), "full_attention or sliding_attention", Errc::unsupported);
    windowed.push_back(kind == "sliding_attention");
  }
  if (windowed.size() != static_cast<std::size_t>(layers))
    r.refuse("layer_types", std::to_string(windowed.size()) + " entries", std::to_string(layers));
  return windowed;
}

/// Defaults of a configuration class that are not Llama's.
struct LlamaLike {
  f64 rms_eps = 1e-6;
  f64 theta = 10000.0;
  int max_positions = 2048;
  bool interleaved_gguf = false;  ///< GGUF converters permute q and k rows of this architecture
};

/// Everything that Llama's configuration and its relatives have in common. `r` keeps errors for r.result().
inline ModelConfig parse_llama_like(ConfigReader& r, const LlamaLike& defaults) {
  const Metadata& m = r.metadata();
  ModelConfig c;
  c.model_type = r.gguf() ? r.text("general.architecture", "") : r.text("model_type", "");
  c.layers = r.size(keys::layers, 1);
  c.dim = r.size(keys::dim, 1);
  c.ffn_dim = r.size(keys::ffn_dim, 1);
  c.heads = r.size(keys::heads, 1);
  c.kv_heads = r.size(keys::kv_heads, 1, c.heads);
  c.head_dim = r.size(keys::head_dim, 1, c.dim / c.heads);
  c.max_positions = r.size(keys::max_positions, 1, defaults.max_positions);
  const MetaArray* tokens = m.array("tokenizer.ggml.tokens");
  c.vocab = r.size(keys::vocab, 1, tokens && tokens->count < (1u << 30) ? static_cast<int>(tokens->count) : -1);
  c.norm_eps = static_cast<f32>(r.positive(r.name(keys::rms_eps), defaults.rms_eps));
  if (c.heads % c.kv_heads != 0)
    r.refuse(r.name(keys::kv_heads), std::to_string(c.kv_heads), "a divisor of " + std::to_string(c.heads));
  c.rotary_dim = r.gguf() ? r.size({"", "rope.dimension_count"}, 2, c.head_dim) : c.head_dim;
  if (c.rotary_dim % 2 != 0 || c.rotary_dim > c.head_dim)
    r.refuse(r.gguf() ? r.name({"", "rope.dimension_count"}) : "head_dim", std::to_string(c.rotary_dim), "an even number, at most the head's");
  if (r.gguf() && r.size({"", "attention.value_length"}, 1, c.head_dim) != c.head_dim)
    r.refuse(r.name({"", "attention.value_length"}), "another length than keys have", {}, Errc::unsupported);
  c.attention_scale = static_cast<f32>(1.0 / std::sqrt(static_cast<f64>(c.head_dim)));
  c.rope = {r.gguf() ? parse_rope_gguf(r, c.max_positions) : parse_rope_huggingface(r, defaults.theta, c.max_positions)};
  c.rope_pairing = r.gguf() && defaults.interleaved_gguf ? RopePairing::interleaved : RopePairing::halves;
  if (r.gguf()) {
    if (r.number(Key{"", "expert_count"}, 0) != 0) r.refuse(r.name({"", "expert_count"}), "experts", "none", Errc::unsupported);
  } else {
    if (const auto act = r.text("hidden_act", "silu"); act != "silu") r.refuse("hidden_act", std::string(act), "silu", Errc::unsupported);
    if (m.has("quantization_config.quant_method"))
      r.refuse("quantization_config.quant_method", std::string(r.text("quantization_config.quant_method", "?")), "none", Errc::unsupported);
    if (r.flag("tie_word_embeddings", false)) c.head = Presence::no;
  }
  c.ignored_tensors = {"rotary_emb.inv_freq", "attn_rot_embd"};
  parse_end_tokens(m, c);
  return c;
}

}  // namespace tmodel::inline v0::families
