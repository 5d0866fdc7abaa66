#pragma once
// Granite 3, dense: Llama with four multipliers, on embeddings, scores, what a layer adds, and logits (a divisor).
// Source: transformers modular_granite, configuration_granite; GGUF architecture "granite".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct GraniteTraits {
  static constexpr std::string_view name = "granite";
  static constexpr std::string_view models = "Granite 3, dense";
  static constexpr std::array<std::string_view, 1> model_types{"granite"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"granite"};
  static constexpr std::array specs{DecoderSpec{}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {32000, 4096, 11008, 32, 32}, .interleaved_gguf = true});
    c.qkv_bias = c.o_bias = families::bias_if(r, "attention_bias");
    c.ffn_bias = families::bias_if(r, "mlp_bias");
    using families::Key;
    c.embedding_scale = static_cast<f32>(r.number(Key{"embedding_multiplier", "embedding_scale"}, 1));
    c.residual_scale = static_cast<f32>(r.number(Key{"residual_multiplier", "residual_scale"}, 1));
    c.logit_scale = static_cast<f32>(1.0 / r.positive(Key{"logits_scaling", "logit_scale"}, 1));
    const f64 unset = r.gguf() ? static_cast<f64>(c.attention_scale) : 1.0;  // config.json's default is no scale at all
    c.attention_scale = static_cast<f32>(r.positive(Key{"attention_multiplier", "attention.scale"}, unset));
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig&, int layer) { return {.layer = layer}; }
};
static_assert(Family<GraniteTraits>);

}  // namespace tmodel::inline v0
