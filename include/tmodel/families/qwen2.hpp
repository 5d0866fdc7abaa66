#pragma once
// Qwen1.5, Qwen2, Qwen2.5, QwQ, R1-distill-Qwen: Llama with biases on q, k, v, and a window that few files switch on.
// Source: transformers modular_qwen2, configuration_qwen2; GGUF architecture "qwen2".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct Qwen2Traits {
  static constexpr std::string_view name = "qwen2";
  static constexpr std::array<std::string_view, 1> model_types{"qwen2"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"qwen2"};
  static constexpr std::array specs{DecoderSpec{}};

  static expected<ModelConfig> parse(const Metadata& metadata) {
    families::ConfigReader r(metadata);
    ModelConfig c = families::parse_llama_like(r, {.max_positions = 32768});
    c.qkv_bias = Presence::yes;
    c.head_bias = r.gguf() ? Presence::if_in_file : Presence::no;
    const bool windowed = !r.gguf() && r.flag("use_sliding_window", false);  // otherwise sliding_window is a dead number
    if (windowed && !(metadata.has("sliding_window") && !metadata.has_value("sliding_window"))) {  // null: no window
      c.window = r.size({"sliding_window", ""}, 1, 4096);
      c.first_window_layer = r.size({"max_window_layers", ""}, 0, 28);
      c.windowed = families::parse_layer_types(r, c.layers);
    }
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    const bool windowed = c.windowed.empty() ? layer >= c.first_window_layer : c.windowed[static_cast<std::size_t>(layer)];
    return {.layer = layer, .window = windowed ? c.window : 0};
  }
};
static_assert(Family<Qwen2Traits>);

}  // namespace tmodel::inline v0
