#pragma once
// Mistral 7B and Nemo: Llama with a window on all layers, which newer files switch off by null. GGUF files do not carry
// the window: the architecture there is "llama", and all keys are seen.
// Source: Jiang et al. 2023; transformers modular_mistral, configuration_mistral.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct MistralTraits {
  static constexpr std::string_view name = "mistral";
  static constexpr std::string_view models = "Mistral 7B, Nemo";
  static constexpr std::string_view gguf_lacks = "sliding_window";
  static constexpr std::array<std::string_view, 1> model_types{"mistral"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"llama"};
  static constexpr std::array specs{DecoderSpec{}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(
        r, {.sizes = {32000, 4096, 14336, 32, 32}, .max_positions = 131072, .kv_heads = 8, .interleaved_gguf = true});
    if (!r.gguf() && !r.is_null(families::keys::window)) c.window = r.size(families::keys::window, 1, 4096);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) { return {.layer = layer, .window = c.window}; }
};
static_assert(Family<MistralTraits>);

}  // namespace tmodel::inline v0
