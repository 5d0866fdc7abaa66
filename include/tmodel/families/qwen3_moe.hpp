#pragma once
// Qwen3 with experts: every decoder_sparse_step-th layer chooses some of many small networks, layers that
// mlp_only_layers lists have one large. GGUF files carry neither of these, nor norm_topk_prob: there all layers choose,
// and the weights of the chosen sum to 1. Source: transformers modular_qwen3_moe, configuration_qwen3_moe; GGUF
// architecture "qwen3moe".

#include "tmodel/core/concepts.hpp"
#include "tmodel/families/defaults.hpp"

namespace tmodel::inline v0 {

struct Qwen3MoeTraits {
  static constexpr std::string_view name = "qwen3_moe";
  static constexpr std::string_view models = "Qwen3 with experts";
  static constexpr std::string_view gguf_lacks =
      "dense layers between (mlp_only_layers, decoder_sparse_step), norm_topk_prob false, the window of "
      "use_sliding_window";
  static constexpr std::array<std::string_view, 1> model_types{"qwen3_moe"};
  static constexpr std::array<std::string_view, 1> gguf_architectures{"qwen3moe"};
  static constexpr std::array specs{DecoderSpec{.qk_norm = QkNorm::per_head, .ffn = FfnKind::experts}};

  static expected<ModelConfig> parse(const Metadata& metadata, HasTensor has_tensor) {
    families::ConfigReader r(metadata, has_tensor);
    ModelConfig c =
        families::parse_decoder(r, {.sizes = {151936, 2048, 6144, 24, 32}, .max_positions = 32768, .kv_heads = 4});
    families::expect_activation(r, "hidden_act", {"silu", "swish"});
    c.qkv_bias = c.o_bias = families::bias_if(r, "attention_bias");
    c.experts = r.size(families::keys::experts, 1, r.gguf() ? -1 : 128);
    c.experts_used = r.size(families::keys::experts_used, 1, r.gguf() ? -1 : 8);
    c.expert_ffn_dim = r.size(families::keys::expert_ffn_dim, 1, r.gguf() ? c.ffn_dim / c.experts_used : 768);
    if (!r.gguf()) {
      c.normalize_routes = r.flag("norm_topk_prob", false);
      c.expert_layers = expert_layers(r, c.layers);
      if (r.flag("use_sliding_window", false) && !r.is_null(families::keys::window))
        c.window = r.size(families::keys::window, 1, 4096);
    }
    return r.result(std::move(c));
  }
  static LayerPlan plan(const ModelConfig& c, int layer) {
    return {.layer = layer,
            .window = c.window,
            .experts = c.expert_layers.empty() || c.expert_layers[static_cast<std::size_t>(layer)]};
  }

 private:
  static std::vector<bool> expert_layers(families::ConfigReader& r, int layers) {
    const int step = r.size({"decoder_sparse_step", ""}, 1, 1);
    std::vector<bool> experts(static_cast<std::size_t>(layers));
    for (int i = 0; i < layers; ++i) experts[static_cast<std::size_t>(i)] = (i + 1) % step == 0;
    if (const MetaArray* dense = r.array("mlp_only_layers"); dense != nullptr && size_of(dense->type) != 0)
      for (MetaReader reader(*dense); !reader.done();)
        if (const f64 i = reader.number(); i >= 0 && i < layers) experts[static_cast<std::size_t>(i)] = false;
    return experts;
  }
};
static_assert(Family<Qwen3MoeTraits>);

}  // namespace tmodel::inline v0
