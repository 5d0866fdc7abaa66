#pragma once
// Phi-1, Phi-1.5, Phi-2: one LayerNorm, behind which attention and a plain feed-forward network run side by side;
// biases everywhere, on the head too; the leading part of each head rotates. Source: Gunasekar et al. 2023;
// transformers modular_phi; GGUF architecture "phi2", which cannot carry qk_layernorm.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct PhiTraits {
  static constexpr std::string_view name = "phi";
  static constexpr std::string_view models = "Phi-1, Phi-1.5, Phi-2";
  static constexpr std::string_view gguf_lacks = "qk_layernorm";
  static constexpr std::array<std::string_view, 1> model_types{"phi"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"phi2"};
  static constexpr std::array specs{DecoderSpec{.norm = NormKind::layer,
                                                .place = NormPlace::parallel_one,
                                                .qk_norm = QkNorm::per_head,
                                                .ffn = FfnKind::plain,
                                                .activation = Activation::gelu_tanh}};
  static constexpr std::array tensor_names{TensorName{Role::output_norm, "output_norm", "model.final_layernorm"},
                                           TensorName{Role::q_norm, "", "model.layers.#.self_attn.q_layernorm"},
                                           TensorName{Role::k_norm, "", "model.layers.#.self_attn.k_layernorm"},
                                           TensorName{Role::o, "blk.#.attn_output", "model.layers.#.self_attn.dense"},
                                           TensorName{Role::up, "blk.#.ffn_up", "model.layers.#.mlp.fc1"},
                                           TensorName{Role::down, "blk.#.ffn_down", "model.layers.#.mlp.fc2"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_decoder(r, {.sizes = {51200, 2048, 8192, 24, 32},
                                                .norm_eps = 1e-5,
                                                .norm_eps_key = families::keys::layer_eps,
                                                .rotary_factor = 0.5});
    families::expect_activation(r, "hidden_act", {"gelu_new", "gelu_pytorch_tanh"});
    c.qkv_bias = c.o_bias = c.ffn_bias = c.head_bias = Presence::yes;
    c.norm_bias = c.qk_norm_bias = true;
    c.qk_norm = !r.gguf() && r.flag("qk_layernorm", false) ? Presence::yes : Presence::no;
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig&, int layer) { return {.layer = layer}; }
};
static_assert(Family<PhiTraits>);

}  // namespace tmodel::inline v0
