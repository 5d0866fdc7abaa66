#pragma once
// Phi-3, Phi-3.5-mini, Phi-4: Llama with fused projections, a window on all layers where it is set, and longrope, whose
// factors depend on the length that a session is made for.
// Source: Abdin et al. 2024, Ding et al. 2024; transformers modular_phi3, configuration_phi3; GGUF architecture "phi3".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct Phi3Traits {
  static constexpr std::string_view name = "phi3";
  static constexpr std::string_view models = "Phi-3, Phi-3.5-mini, Phi-4, Phi-4-mini";
  static constexpr std::string_view gguf_lacks = "that added tokens swallow blanks behind them";
  static constexpr std::array<std::string_view, 1> model_types{"phi3"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"phi3"};
  static constexpr std::array specs{DecoderSpec{}};
  static constexpr std::array tensor_names{
      TensorName{Role::qkv, "blk.#.attn_qkv", "model.layers.#.self_attn.qkv_proj"},
      TensorName{Role::gate_up, "blk.#.ffn_up", "model.layers.#.mlp.gate_up_proj"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_llama_like(r, {.sizes = {32064, 3072, 8192, 32, 32},
                                                   .norm_eps = 1e-5,
                                                   .max_positions = 4096,
                                                   .rope = {.original_length = 4096, .only_longrope = true}});
    const bool windowed = r.has(families::keys::window) && !(r.gguf() && r.number(families::keys::window, 0) == 0);
    if (windowed) c.window = r.size(families::keys::window, 1);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) { return {.layer = layer, .window = c.window}; }
};
static_assert(Family<Phi3Traits>);

}  // namespace tmodel::inline v0
