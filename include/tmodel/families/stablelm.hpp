#pragma once
// StableLM-3B, Zephyr-3B, StableLM 2: Llama with LayerNorm and a quarter of each head rotating; the 12B runs attention
// and ffn side by side and normalises queries and keys with weights of each head's own. Source: transformers
// modeling_stablelm, configuration_stablelm; GGUF architecture "stablelm", where only the presence of ffn_norm tells
// the forms apart.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct StableLmTraits {
  static constexpr std::string_view name = "stablelm";
  static constexpr std::string_view models = "StableLM-3B, Zephyr-3B, StableLM 2";
  static constexpr std::array<std::string_view, 2> model_types{"stablelm", "stablelm_epoch"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"stablelm"};
  enum Variant { in_sequence, side_by_side };
  static constexpr std::array specs{
      DecoderSpec{.norm = NormKind::layer, .place = NormPlace::pre, .qk_norm = QkNorm::each_head},
      DecoderSpec{.norm = NormKind::layer, .place = NormPlace::parallel_one, .qk_norm = QkNorm::each_head}};
  static constexpr std::array tensor_names{
      TensorName{Role::q_norm, "blk.#.attn_q_norm", "model.layers.#.self_attn.q_layernorm.norms.@"},
      TensorName{Role::k_norm, "blk.#.attn_k_norm", "model.layers.#.self_attn.k_layernorm.norms.@"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    const f64 rotary = r.gguf() ? 1 : r.number("rope_pct", 0.25);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {50304, 2560, 6912, 32, 32},
                                                   .norm_eps = 1e-5,
                                                   .norm_eps_key = families::keys::layer_eps,
                                                   .max_positions = 4096,
                                                   .kv_heads = 32,
                                                   .rotary_factor = rotary});
    c.norm_bias = true;
    c.qkv_bias = families::bias_if(r, "use_qkv_bias");
    c.qk_norm = families::bias_if(r, "qk_layernorm");
    const bool parallel = r.gguf() ? !r.has_tensor("blk.0.ffn_norm.weight") : r.flag("use_parallel_residual", false);
    c.variant = parallel ? side_by_side : in_sequence;
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig&, int layer) { return {.layer = layer}; }
};
static_assert(Family<StableLmTraits>);

}  // namespace tmodel::inline v0
