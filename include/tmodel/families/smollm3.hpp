#pragma once
// SmolLM3: Llama with layers that do not rotate, every fourth unless the file lists them. In no_rope_layers a 1 means
// that the layer does rotate. A window, where it is switched on, belongs to the layers that do not. Source:
// transformers modular_smollm3; GGUF architecture "smollm3", where every fourth is meant.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct SmolLm3Traits {
  static constexpr std::string_view name = "smollm3";
  static constexpr std::string_view models = "SmolLM3";
  static constexpr std::string_view gguf_lacks = "no_rope_layers other than every fourth, windows";
  static constexpr std::array<std::string_view, 1> model_types{"smollm3"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"smollm3"};
  static constexpr std::array specs{DecoderSpec{}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {128256, 2048, 11008, 36, 16},
                                                   .theta = 2e6,
                                                   .max_positions = 32768,
                                                   .kv_heads = 4,
                                                   .tied = true,
                                                   .interleaved_gguf = true});
    c.qkv_bias = c.o_bias = families::bias_if(r, "attention_bias");
    c.ffn_bias = families::bias_if(r, "mlp_bias");
    const int interval = r.gguf() ? 4 : r.size({"no_rope_layer_interval", ""}, 1, 4);
    for (int i = 0; i < c.layers; ++i) c.rotated.push_back((i + 1) % interval != 0);
    if (const MetaArray* list = r.gguf() ? nullptr : r.array("no_rope_layers");
        list != nullptr && size_of(list->type) != 0) {
      if (list->count < c.rotated.size())
        r.refuse("no_rope_layers", std::to_string(list->count) + " entries", std::to_string(c.layers));
      MetaReader reader(*list);
      for (int i = 0; i < c.layers; ++i) c.rotated[static_cast<std::size_t>(i)] = reader.number() != 0;
    }
    c.windowed = families::parse_layer_types(r, c.layers);  // works without the switch
    const bool switched = !r.gguf() && (!c.windowed.empty() || r.flag("use_sliding_window", false));
    if (switched && r.has(families::keys::window)) c.window = r.size(families::keys::window, 1);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    const bool rotated = c.rotated[static_cast<std::size_t>(layer)];
    return {.layer = layer, .window = families::window_of(c, layer, !rotated), .rope_table = rotated ? 0 : -1};
  }
};
static_assert(Family<SmolLm3Traits>);

}  // namespace tmodel::inline v0
