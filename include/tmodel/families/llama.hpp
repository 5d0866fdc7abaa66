#pragma once
// Llama 1 to 3.3, TinyLlama, SmolLM and SmolLM2, Yi, R1-distill-Llama and other models of type "llama".
// Source: Touvron et al. 2023; transformers modeling_llama; GGUF architecture "llama".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct LlamaTraits {
  static constexpr std::string_view name = "llama";
  static constexpr std::string_view models = "Llama 1 to 3.3, TinyLlama, SmolLM, SmolLM2, Yi, R1-distill-Llama";
  static constexpr std::string_view gguf_lacks = "dynamic rope scaling";
  static constexpr std::array<std::string_view, 1> model_types{"llama"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"llama"};
  static constexpr std::array specs{DecoderSpec{}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {32000, 4096, 11008, 32, 32}, .interleaved_gguf = true});
    c.qkv_bias = c.o_bias = families::bias_if(r, "attention_bias");
    c.ffn_bias = families::bias_if(r, "mlp_bias");
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig&, int layer) { return {.layer = layer}; }
};
static_assert(Family<LlamaTraits>);

}  // namespace tmodel::inline v0
