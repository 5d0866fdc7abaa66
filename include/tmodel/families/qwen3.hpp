#pragma once
// Qwen3, dense: Qwen2 without its biases; queries and keys are normalised in each head before they rotate.
// Source: transformers modular_qwen3, configuration_qwen3; GGUF architecture "qwen3".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct Qwen3Traits {
  static constexpr std::string_view name = "qwen3";
  static constexpr std::string_view models = "Qwen3, dense";
  static constexpr std::string_view gguf_lacks = "the window of use_sliding_window";
  static constexpr std::array<std::string_view, 1> model_types{"qwen3"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"qwen3"};
  static constexpr std::array specs{DecoderSpec{.qk_norm = QkNorm::per_head}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(
        r, {.sizes = {151936, 4096, 22016, 32, 32}, .max_positions = 32768, .head_dim = 128});
    c.qkv_bias = c.o_bias = families::bias_if(r, "attention_bias");
    families::parse_switched_window(r, c, 28);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    return {.layer = layer, .window = families::window_of(c, layer, layer >= c.first_window_layer)};
  }
};
static_assert(Family<Qwen3Traits>);

}  // namespace tmodel::inline v0
