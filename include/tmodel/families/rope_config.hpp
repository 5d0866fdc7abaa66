#pragma once
// What a configuration says of rotation, in three spellings: config.json of transformers 4 (rope_theta, rope_scaling
// with type or rope_type) and of 5 (rope_parameters, for several kinds of layers a dict each), and GGUF keys.

#include <span>

#include "tmodel/families/config_reader.hpp"

namespace tmodel::inline v0::families {

/// What a family says of its rotation where its files do not.
struct RopeDefaults {
  f64 theta = 10000.0;
  f64 original_length = 0;           ///< 0: max_position_embeddings
  std::string_view layer_kind = {};  ///< a dict of this name inside rope_parameters
  std::string_view theta_key = "rope_theta";
  bool scaled = true;          ///< rope_scaling of transformers 4 is meant for these layers
  bool only_longrope = false;  ///< "su" and "yarn" are old names of longrope
};

/// A list of numbers of the configuration, one per pair.
inline std::vector<f32> parse_factors(ConfigReader& r, const std::string& key) {
  std::vector<f32> out;
  const MetaArray* list = r.array(key);
  if (list == nullptr || size_of(list->type) == 0)
    return r.refuse(key, list ? "not a list of numbers" : "missing"), out;
  for (MetaReader reader(*list); !reader.done();) out.push_back(static_cast<f32>(reader.number()));
  return out;
}

inline RopeParams parse_rope_huggingface(ConfigReader& r, const RopeDefaults& defaults, int max_positions) {
  RopeParams p;
  const std::string inner = defaults.layer_kind.empty() ? "" : std::string(defaults.layer_kind) + ".";
  const auto find = [&](std::string_view key) -> std::string {  // the dict that has it; in several, the innermost
    for (const std::string& dict :
         {"rope_parameters." + inner, std::string("rope_parameters."), std::string("rope_scaling.")})
      if (std::string n = dict + std::string(key); (dict != "rope_scaling." || defaults.scaled) && r.has(n)) return n;
    return (defaults.scaled ? "rope_scaling." : "rope_parameters." + inner) + std::string(key);
  };
  p.theta =
      r.positive(r.has(find("rope_theta")) ? find("rope_theta") : std::string(defaults.theta_key), defaults.theta);
  const bool per_kind = !defaults.layer_kind.empty() && !r.has("rope_parameters." + inner + "type");
  std::string_view kind =
      r.text(find("rope_type"), per_kind ? "default" : r.text(find("type"), "default"));  // as transformers 5
  if (defaults.only_longrope && (kind == "su" || kind == "yarn")) kind = "longrope";
  if (kind == "linear")
    p.scaling = RopeScaling::linear;
  else if (kind == "dynamic")
    p.scaling = RopeScaling::dynamic;
  else if (kind == "llama3")
    p.scaling = RopeScaling::llama3;
  else if (kind == "yarn")
    p.scaling = RopeScaling::yarn;
  else if (kind == "longrope")
    p.scaling = RopeScaling::longrope;
  else if (kind != "default")
    r.unsupported(find("rope_type"), kind, "default, linear, dynamic, llama3, yarn or longrope");
  if (p.scaling == RopeScaling::none) return p;

  const bool longrope = p.scaling == RopeScaling::longrope;
  if (!longrope && !r.has(find("factor"))) r.refuse(find("factor"), "missing");
  constexpr std::string_view original = "original_max_position_embeddings";
  if (p.scaling == RopeScaling::dynamic)
    p.original_length = max_positions;
  else if (r.has(original))
    p.original_length = r.positive(original, 0);  // wins at the top level, as in transformers 5
  else if (defaults.original_length != 0)
    p.original_length = defaults.original_length;
  else
    p.original_length = r.positive(find(original), max_positions);
  p.factor = r.positive(find("factor"), longrope ? max_positions / p.original_length : 1.0);
  p.low_freq_factor = r.positive(find("low_freq_factor"), 1.0);
  p.high_freq_factor = r.positive(find("high_freq_factor"), 4.0);
  if (p.scaling == RopeScaling::llama3 && !(p.high_freq_factor > p.low_freq_factor))
    r.refuse(find("high_freq_factor"), std::to_string(p.high_freq_factor), "more than low_freq_factor");
  p.attention_factor = r.number(find("attention_factor"), 0);
  p.beta_fast = r.positive(find("beta_fast"), 32.0);
  p.beta_slow = r.positive(find("beta_slow"), 1.0);
  p.mscale = r.number(find("mscale"), 0);
  p.mscale_all_dim = r.number(find("mscale_all_dim"), 0);
  p.truncate = r.flag(inner.empty() ? find("truncate") : "rope_parameters.truncate", true);  // as transformers 5 does
  if (longrope)
    p.divisors = parse_factors(r, find("short_factor")), p.long_divisors = parse_factors(r, find("long_factor"));
  return p;
}

/// GGUF has no keys for llama3 scaling and longrope: their factors are tensors, read by the loader.
inline RopeParams parse_rope_gguf(ConfigReader& r, const RopeDefaults& defaults, int max_positions) {
  RopeParams p;
  const auto key = [](std::string_view suffix) { return Key{"", suffix}; };
  p.theta = r.positive(key("rope.freq_base"), defaults.theta);
  const std::string kind_key = r.name(key("rope.scaling.type"));
  const std::string_view kind = r.metadata().string(kind_key).value_or("linear");
  const f64 old_factor = r.positive(key("rope.scale_linear"), 1.0);
  p.factor = r.positive(key("rope.scaling.factor"), old_factor);
  p.original_length = r.positive(key("rope.scaling.original_context_length"), max_positions);
  p.attention_factor = r.number(key("rope.scaling.yarn_attn_factor"), r.number(key("rope.scaling.attn_factor"), 0));
  p.beta_fast = r.positive(key("rope.scaling.yarn_beta_fast"), 32.0);
  p.beta_slow = r.positive(key("rope.scaling.yarn_beta_slow"), 1.0);
  if (kind == "yarn")
    p.scaling = defaults.only_longrope ? RopeScaling::none : RopeScaling::yarn;
  else if (kind == "linear")
    p.scaling = p.factor == 1.0 ? RopeScaling::none : RopeScaling::linear;
  else if (kind != "none" && kind != "longrope")
    r.unsupported(kind_key, kind, "none, linear, yarn or longrope");
  return p;
}

inline RopeParams parse_rope(ConfigReader& r, const RopeDefaults& defaults, int max_positions) {
  return r.gguf() ? parse_rope_gguf(r, defaults, max_positions) : parse_rope_huggingface(r, defaults, max_positions);
}

}  // namespace tmodel::inline v0::families
