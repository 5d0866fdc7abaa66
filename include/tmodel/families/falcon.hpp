#pragma once
// Falcon 7B, 40B, 180B, 11B and RW: LayerNorm and a plain feed-forward network. The old decoder runs attention and ffn
// side by side behind one norm, or in sequence; the new one side by side, behind one norm or two. Alibi in place of a
// rotation where the file says so.
// Source: Almazrouei et al. 2023; transformers modeling_falcon, configuration_falcon; GGUF architecture "falcon", whose
// files hold q, k and v one after the other and neither alibi nor the sequential form.

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

namespace families {
constexpr DecoderSpec falcon_spec(NormPlace place) {
  return {.norm = NormKind::layer,
          .place = place,
          .ffn = FfnKind::plain,
          .activation = Activation::gelu_erf,
          .alibi = true};
}
}  // namespace families

struct FalconTraits {
  static constexpr std::string_view name = "falcon";
  static constexpr std::string_view models = "Falcon 7B, 40B, 180B, 11B, RW";
  static constexpr std::string_view gguf_lacks = "alibi, parallel_attn false";
  static constexpr std::array<std::string_view, 3> model_types{"falcon", "RefinedWebModel", "RefinedWeb"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"falcon"};
  enum Variant { one_norm, two_norms, sequential };
  static constexpr std::array specs{families::falcon_spec(NormPlace::parallel_one),
                                    families::falcon_spec(NormPlace::parallel_two),
                                    families::falcon_spec(NormPlace::pre)};
  /// With two norms ln_mlp is what GGUF calls attn_norm.
  static constexpr std::array tensor_names{
      TensorName{Role::embedding, "token_embd", "transformer.word_embeddings"},
      TensorName{Role::output_norm, "output_norm", "transformer.ln_f"},
      TensorName{Role::attention_norm, "blk.#.attn_norm_2", "transformer.h.#.ln_attn"},
      TensorName{Role::attention_norm, "blk.#.attn_norm", "transformer.h.#.input_layernorm"},
      TensorName{Role::ffn_norm, "blk.#.attn_norm", "transformer.h.#.ln_mlp"},
      TensorName{Role::ffn_norm, "", "transformer.h.#.post_attention_layernorm"},
      TensorName{Role::qkv, "blk.#.attn_qkv", "transformer.h.#.self_attention.query_key_value"},
      TensorName{Role::o, "blk.#.attn_output", "transformer.h.#.self_attention.dense"},
      TensorName{Role::up, "blk.#.ffn_up", "transformer.h.#.mlp.dense_h_to_4h"},
      TensorName{Role::down, "blk.#.ffn_down", "transformer.h.#.mlp.dense_4h_to_h"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    const int four = 4 * std::min(r.size(families::keys::dim, 1, 4544), 1 << 28);
    ModelConfig c = families::parse_decoder(r, {.sizes = {65024, 4544, four, 32, 71},
                                                .norm_eps = 1e-5,
                                                .norm_eps_key = families::keys::layer_eps,
                                                .tied = true});
    families::expect_activation(r, "activation", {"gelu"});
    c.norm_bias = true;
    c.qkv_bias = c.o_bias = c.ffn_bias = families::bias_if(r, "bias");
    if (r.gguf()) {
      c.variant = r.has_tensor("blk.0.attn_norm_2.weight") ? two_norms : one_norm;
    } else {
      const bool renamed = c.model_type == "RefinedWeb";  // the 40B before transformers knew it
      const bool new_decoder = r.flag("new_decoder_architecture", renamed);
      if (!new_decoder && r.flag("multi_query", true)) c.kv_heads = 1;
      if (!new_decoder && !r.flag("multi_query", true)) c.kv_heads = c.heads;
      c.grouped_qkv = true;
      c.alibi = r.flag("alibi", false);
      if (new_decoder)
        c.variant = r.size({"num_ln_in_parallel_attn", ""}, 1, 2) == 2 ? two_norms : one_norm;
      else
        c.variant = r.flag("parallel_attn", true) ? one_norm : sequential;
    }
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) { return {.layer = layer, .rope_table = c.alibi ? -1 : 0}; }
};
static_assert(Family<FalconTraits>);

}  // namespace tmodel::inline v0
