#pragma once
// Gemma 2: Gemma with norms before and after both parts, capped scores and logits, and a window on every other layer.
// Source: Gemma team 2024; transformers modular_gemma2; GGUF architecture "gemma2", which does not carry
// query_pre_attn_scalar: it is the head dimension but for the model of 46 layers.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/gemma.hpp"

namespace tmodel::inline v0 {

struct Gemma2Traits {
  static constexpr std::string_view name = "gemma2";
  static constexpr std::string_view models = "Gemma 2";
  static constexpr std::string_view gguf_lacks =
      "query_pre_attn_scalar other than the head dimension, layer_types, soft-caps switched off";
  static constexpr std::array<std::string_view, 1> model_types{"gemma2"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"gemma2"};
  static constexpr std::array specs{
      DecoderSpec{.place = NormPlace::sandwich, .activation = Activation::gelu_tanh, .attention_softcap = true}};
  static constexpr std::array tensor_names{
      TensorName{Role::ffn_norm, "blk.#.ffn_norm", "model.layers.#.pre_feedforward_layernorm"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_decoder(
        r, {.sizes = {256000, 2304, 9216, 26, 8}, .max_positions = 8192, .kv_heads = 4, .head_dim = 256, .tied = true});
    families::parse_gemma(r, c);
    c.attention_scale = families::gemma_attention_scale(r, c, 46);
    using namespace families;
    c.attention_softcap =
        r.is_null(keys::attention_softcap) ? 0.f : static_cast<f32>(r.positive(keys::attention_softcap, 50));
    c.final_softcap = r.is_null(keys::final_softcap) ? 0.f : static_cast<f32>(r.positive(keys::final_softcap, 30));
    if (!r.is_null(keys::window)) c.window = r.size(keys::window, 1, 4096);
    c.window_period = r.gguf() ? r.size(keys::window_period, 1, 2) : 2;
    c.windowed = parse_layer_types(r, c.layers);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    return {.layer = layer, .window = families::window_of(c, layer, (layer + 1) % c.window_period != 0)};
  }
};
static_assert(Family<Gemma2Traits>);

}  // namespace tmodel::inline v0
