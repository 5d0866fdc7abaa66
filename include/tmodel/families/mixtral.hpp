#pragma once
// Mixtral 8x7B and 8x22B: Mistral whose layers choose two of eight gated networks for each token.
// Source: Jiang et al. 2024; transformers modular_mixtral; GGUF architecture "llama" with expert_count.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct MixtralTraits {
  static constexpr std::string_view name = "mixtral";
  static constexpr std::string_view models = "Mixtral 8x7B, 8x22B";
  static constexpr std::string_view gguf_lacks = "sliding_window";
  static constexpr std::array<std::string_view, 1> model_types{"mixtral"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"llama"};
  static constexpr std::array specs{DecoderSpec{.ffn = FfnKind::experts}};
  /// w1 is the gate, w3 the upward, w2 the downward projection.
  static constexpr std::array tensor_names{
      TensorName{Role::router, "blk.#.ffn_gate_inp", "model.layers.#.block_sparse_moe.gate"},
      TensorName{Role::router, "", "model.layers.#.mlp.gate"},
      TensorName{Role::expert_gate, "blk.#.ffn_gate_exps", "model.layers.#.block_sparse_moe.experts.@.w1"},
      TensorName{Role::expert_gate, "blk.#.ffn_gate.@", ""},
      TensorName{Role::expert_up, "blk.#.ffn_up_exps", "model.layers.#.block_sparse_moe.experts.@.w3"},
      TensorName{Role::expert_up, "blk.#.ffn_up.@", ""},
      TensorName{Role::expert_down, "blk.#.ffn_down_exps", "model.layers.#.block_sparse_moe.experts.@.w2"},
      TensorName{Role::expert_down, "blk.#.ffn_down.@", "model.layers.#.mlp.experts.down_proj"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_decoder(r, {.sizes = {32000, 4096, 14336, 32, 32},
                                                .norm_eps = 1e-5,
                                                .theta = 1e6,
                                                .max_positions = 131072,
                                                .kv_heads = 8,
                                                .interleaved_gguf = true});
    families::expect_activation(r, "hidden_act", {"silu", "swish"});
    c.experts = r.size(families::keys::experts, 1, r.gguf() ? -1 : 8);
    c.experts_used = r.size(families::keys::experts_used, 1, r.gguf() ? -1 : 2);
    c.expert_ffn_dim = r.size(families::keys::expert_ffn_dim, 1, c.ffn_dim);
    if (!r.gguf() && r.has(families::keys::window)) c.window = r.size(families::keys::window, 1);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    return {.layer = layer, .window = c.window, .experts = true};
  }
};
static_assert(Family<MixtralTraits>);

}  // namespace tmodel::inline v0
