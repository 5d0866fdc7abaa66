#pragma once
// Gemma 3, text: Gemma 2 with norms of queries and keys in place of the caps. Five of six layers have a window and
// rotate by a local base; the sixth sees everything and rotates by the global one, which may be scaled. Models of 4B
// and more hold this beside a vision tower. Source: Gemma team 2025; transformers modular_gemma3; GGUF architecture
// "gemma3", where the model of 62 layers scales its scores by sqrt(d / heads).

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/gemma.hpp"

namespace tmodel::inline v0 {

struct Gemma3Traits {
  static constexpr std::string_view name = "gemma3_text";
  static constexpr std::string_view models = "Gemma 3, text; the language part of 4B and more";
  static constexpr std::string_view gguf_lacks = "query_pre_attn_scalar other than the head dimension, layer_types";
  static constexpr std::array<std::string_view, 2> model_types{"gemma3_text", "gemma3"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"gemma3"};
  static constexpr std::array specs{
      DecoderSpec{.place = NormPlace::sandwich, .qk_norm = QkNorm::per_head, .activation = Activation::gelu_tanh}};
  static constexpr std::array tensor_names{
      TensorName{Role::ffn_norm, "blk.#.ffn_norm", "model.layers.#.pre_feedforward_layernorm"}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c = families::parse_decoder(r, {.sizes = {262208, 2304, 9216, 26, 8},
                                                .theta = 1e6,
                                                .max_positions = 131072,
                                                .kv_heads = 4,
                                                .head_dim = 256,
                                                .tied = true,
                                                .rope = {.layer_kind = "full_attention"}});
    families::parse_gemma(r, c);
    c.attention_scale = families::gemma_attention_scale(r, c, 62);
    using namespace families;
    c.final_softcap = r.has(keys::final_softcap) ? static_cast<f32>(r.positive(keys::final_softcap, 0)) : 0.f;
    if (r.has(keys::window) || !(r.gguf() || r.is_null(keys::window))) c.window = r.size(keys::window, 1, 4096);
    c.window_period = r.size(keys::window_period, 1, 6);
    c.windowed = parse_layer_types(r, c.layers);
    if (r.nested())
      c.ignored_tensors.insert(c.ignored_tensors.end(), {"vision_tower.", "multi_modal_projector.",
                                                         "model.vision_tower.", "model.multi_modal_projector."});
    RopeDefaults local{.layer_kind = "sliding_attention", .theta_key = "rope_local_base_freq", .scaled = false};
    c.rope.push_back(r.gguf() ? RopeParams{} : parse_rope(r, local, c.max_positions));
    if (r.gguf()) c.rope.back().theta = r.positive(Key{"", "rope.freq_base_swa"}, local.theta);
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    const bool local =
        c.windowed.empty() ? (layer + 1) % c.window_period != 0 : bool{c.windowed[static_cast<std::size_t>(layer)]};
    return {.layer = layer, .window = local ? c.window : 0, .rope_table = local ? 1 : 0};
  }
};
static_assert(Family<Gemma3Traits>);

}  // namespace tmodel::inline v0
