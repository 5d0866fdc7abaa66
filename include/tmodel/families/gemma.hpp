#pragma once
// Gemma 1 and CodeGemma: embeddings times sqrt(d), norms stored as 1 + w, GELU gates, a head dimension of its own.
// Whatever hidden_act says, the tanh form is meant.
// Source: transformers modular_gemma; GGUF architecture "gemma", whose norms hold the 1 already.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

namespace families {
/// What all Gemmas have in common.
inline void parse_gemma(ConfigReader& r, ModelConfig& c) {
  expect_activation(r, r.has("hidden_activation") ? "hidden_activation" : "hidden_act", {"gelu_pytorch_tanh", "gelu"});
  c.qkv_bias = c.o_bias = bias_if(r, "attention_bias");
  c.norm_offset = r.gguf() ? 0.f : 1.f;
  c.embedding_scale = std::sqrt(static_cast<f32>(c.dim));
}

/// 1 / sqrt of query_pre_attn_scalar, which GGUF does not carry: there it is the head dimension, but for the model of
/// so many layers.
inline f32 gemma_attention_scale(ConfigReader& r, const ModelConfig& c, int layers_of_exception) {
  const int guessed = c.layers == layers_of_exception ? c.dim / c.heads : c.head_dim;
  return static_cast<f32>(1.0 /
                          std::sqrt(r.gguf() ? static_cast<f64>(guessed) : r.positive("query_pre_attn_scalar", 256)));
}
}  // namespace families

struct GemmaTraits {
  static constexpr std::string_view name = "gemma";
  static constexpr std::string_view models = "Gemma 1, CodeGemma";
  static constexpr std::array<std::string_view, 1> model_types{"gemma"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"gemma"};
  static constexpr std::array specs{DecoderSpec{.activation = Activation::gelu_tanh}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_decoder(
        r,
        {.sizes = {256000, 3072, 24576, 28, 16}, .max_positions = 8192, .kv_heads = 16, .head_dim = 256, .tied = true});
    families::parse_gemma(r, c);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig&, int layer) { return {.layer = layer}; }
};
static_assert(Family<GemmaTraits>);

}  // namespace tmodel::inline v0
