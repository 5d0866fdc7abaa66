#pragma once
// OLMo 2: norms after attention and ffn only; queries and keys are normalised as whole vectors before they are cut into
// heads.
// Source: OLMo team 2025; transformers modular_olmo2; GGUF architecture "olmo2".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct Olmo2Traits {
  static constexpr std::string_view name = "olmo2";
  static constexpr std::string_view models = "OLMo 2";
  static constexpr std::array<std::string_view, 1> model_types{"olmo2"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"olmo2"};
  static constexpr std::array specs{DecoderSpec{.place = NormPlace::post, .qk_norm = QkNorm::whole}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {50304, 4096, 11008, 32, 32}, .norm_eps = 1e-5});
    c.qkv_bias = c.o_bias = families::bias_if(r, "attention_bias");
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig&, int layer) { return {.layer = layer}; }
};
static_assert(Family<Olmo2Traits>);

}  // namespace tmodel::inline v0
