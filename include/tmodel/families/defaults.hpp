#pragma once
// The part of a configuration that all families share, over the defaults that each one states.
// Defaults are those of transformers' configuration classes: an absent key is not null.

#include "tmodel/families/rope_config.hpp"

namespace tmodel::inline v0::families {

/// Sizes of a configuration class's default model.
struct Sizes {
  int vocab, dim, ffn_dim, layers, heads;
};

/// What a configuration class says where a config.json does not.
struct Defaults {
  Sizes sizes;
  f64 norm_eps = 1e-6;
  Key norm_eps_key = keys::rms_eps;
  f64 theta = 10000.0;
  int max_positions = 2048;
  int kv_heads = 0;       ///< 0: as many as heads
  int head_dim = 0;       ///< 0: dim / heads
  f64 rotary_factor = 1;  ///< of a head, the leading part that rotates
  bool tied = false;
  bool interleaved_gguf = false;  ///< GGUF converters permute q and k rows of this architecture
  RopeDefaults rope = {};
};

/// eos_token_id of config.json and generation_config.json: a number, a list or null. GGUF: the tokenizer's.
inline void parse_end_tokens(const Metadata& m, ModelConfig& c) {
  for (const std::string_view key : {"eos_token_id", "text_config.eos_token_id", "generation_config.eos_token_id"}) {
    if (const auto id = m.integer(key); id && *id >= 0 && *id < c.vocab)
      c.end_tokens.push_back(static_cast<token_t>(*id));
    const MetaArray* list = m.array(key);
    if (list == nullptr || list->type == MetaType::string) continue;
    for (MetaReader reader(*list); !reader.done();)
      if (const f64 id = reader.number(); id >= 0 && id < c.vocab) c.end_tokens.push_back(static_cast<token_t>(id));
  }
}

/// config.json's layer_types: one of "full_attention", "sliding_attention" per layer; empty if not given.
inline std::vector<bool> parse_layer_types(ConfigReader& r, int layers) {
  std::vector<bool> windowed;
  const MetaArray* list = r.gguf() ? nullptr : r.array("layer_types");
  if (list == nullptr || list->type != MetaType::string) return windowed;
  for (MetaReader reader(*list); !reader.done();) {
    const std::string_view kind = reader.string();
    if (kind != "full_attention" && kind != "sliding_attention")
      r.unsupported("layer_types", kind, "full_attention or sliding_attention");
    windowed.push_back(kind == "sliding_attention");
  }
  if (windowed.size() != static_cast<std::size_t>(layers))
    r.refuse("layer_types", std::to_string(windowed.size()) + " entries", std::to_string(layers));
  return windowed;
}

/// Refuses an activation that is none of these; a file without the key means the first.
inline void expect_activation(ConfigReader& r, std::string_view key, std::initializer_list<std::string_view> known) {
  if (r.gguf()) return;
  const std::string_view found = r.text(key, *known.begin());
  for (const std::string_view one : known)
    if (one == found) return;
  r.unsupported(key, found, *known.begin());
}

/// Sizes, norms, rotation, tied head and end tokens. `r` keeps errors for r.result().
inline ModelConfig parse_decoder(ConfigReader& r, const Defaults& d) {
  const Metadata& m = r.metadata();
  const auto size_or = [&](const Key& key, int otherwise) { return r.size(key, 1, r.gguf() ? -1 : otherwise); };
  ModelConfig c;
  c.model_type = r.gguf() ? m.string("general.architecture").value_or("")
                          : r.text("model_type", m.string("model_type").value_or(""));
  c.layers = size_or(keys::layers, d.sizes.layers);
  if (c.layers > max_layers) {
    r.refuse(r.name(keys::layers), std::to_string(c.layers), "at most " + std::to_string(max_layers));
    c.layers = 1;
  }
  c.dim = size_or(keys::dim, d.sizes.dim);
  c.ffn_dim = size_or(keys::ffn_dim, d.sizes.ffn_dim);
  c.heads = size_or(keys::heads, d.sizes.heads);
  c.kv_heads =
      r.size(keys::kv_heads, 1, r.gguf() || d.kv_heads == 0 || r.is_null(keys::kv_heads) ? c.heads : d.kv_heads);
  c.head_dim = r.size(keys::head_dim, 1,
                      r.gguf() || d.head_dim == 0 || r.is_null(keys::head_dim) ? c.dim / c.heads : d.head_dim);
  c.max_positions = r.size(keys::max_positions, 1, d.max_positions);
  const MetaArray* tokens = m.array("tokenizer.ggml.tokens");
  c.vocab = r.size(keys::vocab, 1,
                   !r.gguf()                              ? d.sizes.vocab
                   : tokens && tokens->count < (1u << 30) ? static_cast<int>(tokens->count)
                                                          : -1);
  c.norm_eps = static_cast<f32>(r.positive(d.norm_eps_key, d.norm_eps));

  const f64 part = r.has("rope_parameters.partial_rotary_factor") ? r.number("rope_parameters.partial_rotary_factor", 1)
                                                                  : r.number("partial_rotary_factor", d.rotary_factor);
  c.rotary_dim = r.gguf() ? r.size({"", "rope.dimension_count"}, 2, c.head_dim)
                          : static_cast<int>(c.head_dim * std::clamp(part, 0.0, 2.0));
  if (c.rotary_dim < 2 || c.rotary_dim % 2 != 0 || c.rotary_dim > c.head_dim)
    r.refuse(r.gguf()    ? r.name(Key{"", "rope.dimension_count"})
             : part == 1 ? "head_dim"
                         : "partial_rotary_factor",
             std::to_string(c.rotary_dim) + " rotated elements of a head", "an even number, at most the head's");
  if (r.gguf() && r.size({"", "attention.value_length"}, 1, c.head_dim) != c.head_dim)
    r.unsupported(r.name(Key{"", "attention.value_length"}), "another length than keys have", {});
  c.attention_scale = static_cast<f32>(1.0 / std::sqrt(static_cast<f64>(c.head_dim)));
  RopeDefaults rope = d.rope;
  rope.theta = d.theta;
  c.rope = {parse_rope(r, rope, c.max_positions)};
  c.rope_pairing = r.gguf() && d.interleaved_gguf ? RopePairing::interleaved : RopePairing::halves;
  if (!r.gguf()) {
    for (const std::string_view key :
         {"quantization_config.quant_method", "text_config.quantization_config.quant_method"})
      if (m.has(key)) r.unsupported(key, m.string(key).value_or("?"), "none");
    if (r.flag("use_bidirectional_attention", false)) r.unsupported("use_bidirectional_attention", "true", "false");
    const bool tied = r.nested() && !r.has("tie_word_embeddings") ? m.boolean("tie_word_embeddings").value_or(d.tied)
                                                                  : r.flag("tie_word_embeddings", d.tied);
    if (tied) c.head = Presence::no;
  }
  c.ignored_tensors = {"rotary_emb.inv_freq", "attn_rot_embd"};
  parse_end_tokens(m, c);
  return c;
}

/// parse_decoder() for families whose one feed-forward network is gated by SiLU, without experts.
inline ModelConfig parse_llama_like(ConfigReader& r, const Defaults& defaults) {
  ModelConfig c = parse_decoder(r, defaults);
  expect_activation(r, "hidden_act", {"silu", "swish"});
  if (r.gguf() && r.number(Key{"", "expert_count"}, 0) != 0)
    r.unsupported(r.name(Key{"", "expert_count"}), "experts", "none");
  return c;
}

/// Biases that a switch of config.json announces. GGUF has no such switch: there the file itself tells.
inline Presence bias_if(ConfigReader& r, std::string_view flag) {
  if (r.gguf()) return Presence::if_in_file;
  return r.flag(flag, false) ? Presence::yes : Presence::no;
}

/// The window of a family whose files switch it on by use_sliding_window, as Qwen's do: for layers from
/// max_window_layers on, or those that layer_types lists. Otherwise sliding_window is a dead number.
inline void parse_switched_window(ConfigReader& r, ModelConfig& c, int first_layer) {
  if (r.gguf() || !r.flag("use_sliding_window", false) || r.is_null(keys::window)) return;
  c.window = r.size(keys::window, 1, 4096);
  c.first_window_layer = r.size({"max_window_layers", ""}, 0, first_layer);
  c.windowed = parse_layer_types(r, c.layers);
}

/// Window of a layer: by the file's list, or else by the family's rule.
inline int window_of(const ModelConfig& c, int layer, bool rule) {
  return (c.windowed.empty() ? rule : bool{c.windowed[static_cast<std::size_t>(layer)]}) ? c.window : 0;
}

}  // namespace tmodel::inline v0::families
