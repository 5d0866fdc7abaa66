#pragma once
// Qwen1.5, Qwen2, Qwen2.5, QwQ, R1-distill-Qwen: Llama with biases on q, k, v, and a window that few files switch on.
// Source: transformers modular_qwen2, configuration_qwen2; GGUF architecture "qwen2".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct Qwen2Traits {
  static constexpr std::string_view name = "qwen2";
  static constexpr std::string_view models = "Qwen1.5, Qwen2, Qwen2.5, QwQ, R1-distill-Qwen";
  static constexpr std::string_view gguf_lacks = "the window of use_sliding_window";
  static constexpr std::array<std::string_view, 1> model_types{"qwen2"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"qwen2"};
  static constexpr std::array specs{DecoderSpec{}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {151936, 4096, 22016, 32, 32}, .max_positions = 32768});
    c.qkv_bias = Presence::yes;
    c.head_bias = r.gguf() ? Presence::if_in_file : Presence::no;
    families::parse_switched_window(r, c, 28);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    return {.layer = layer, .window = families::window_of(c, layer, layer >= c.first_window_layer)};
  }
};
static_assert(Family<Qwen2Traits>);

}  // namespace tmodel::inline v0
