#pragma once
// Run-time facts of a model: sizes, scalars, which optional operands its file must hold. Filled by a family's parse().

#include <string>
#include <vector>

#include "tmodel/core/format.hpp"
#include "tmodel/core/policy.hpp"
#include "tmodel/core/rope.hpp"

namespace tmodel::inline v0 {

/// Whether a file must hold an optional tensor. GGUF has no key for biases: there the file itself tells.
enum class Presence : std::uint8_t { no, yes, if_in_file };

/// What differs between layers.
struct LayerPlan {
  int layer = 0;
  int window = 0;        ///< keys seen, itself included; 0: all
  int rope_table = 0;    ///< index into ModelConfig::rope; -1: this layer does not rotate
  bool experts = false;  ///< its feed-forward network is a choice of experts
  int cache = 0;         ///< number of its cache among those of layers with a window, or among the others
};

/// More than any model has; what a file says beyond is damage.
inline constexpr int max_layers = 4096, max_experts = 4096;

struct ModelConfig {
  std::string model_type;  ///< as the file says it
  int layers = 0;
  int dim = 0;         ///< d, width of the residual stream
  int heads = 0;       ///< H, query heads
  int kv_heads = 0;    ///< K, key/value heads; H is a multiple of K
  int head_dim = 0;    ///< D; H*D may differ from d
  int rotary_dim = 0;  ///< R <= D, leading elements of a head that rotate
  int ffn_dim = 0;     ///< F
  int vocab = 0;       ///< V, rows of the embedding
  int max_positions = 0;

  f32 norm_eps = 0;
  f32 embedding_scale = 1;
  f32 attention_scale = 1;  ///< on scores, usually 1/sqrt(D)
  f32 residual_scale = 1;
  f32 logit_scale = 1;
  f32 attention_softcap = 0;  ///< 0: none
  f32 final_softcap = 0;      ///< 0: none

  int window = 0;              ///< keys that a windowed layer sees, itself included; 0: all
  int first_window_layer = 0;  ///< layers below see everything
  int window_period = 0;       ///< the last of so many layers sees everything
  std::vector<bool> windowed;  ///< per layer, if the file lists them; empty: the family's rule
  std::vector<bool> rotated;   ///< the same of layers that rotate

  std::vector<RopeParams> rope{RopeParams{}};  ///< LayerPlan::rope_table picks one
  RopePairing rope_pairing = RopePairing::halves;

  Presence qkv_bias = Presence::no, o_bias = Presence::no, ffn_bias = Presence::no, head_bias = Presence::no;
  Presence head = Presence::if_in_file;  ///< no: tied to the embedding, unless the file has another one
  bool norm_bias = false;                ///< of every norm but those of queries and keys
  f32 norm_offset = 0;               ///< added to every norm's scale while loading: 1 where a file stores it as 1 + w
  Presence qk_norm = Presence::yes;  ///< where the spec has one at all
  bool qk_norm_bias = false;
  bool alibi = false;

  int experts = 0;                  ///< gated networks of a layer that has several; 0: none has
  int experts_used = 0;             ///< of them, for one token
  int expert_ffn_dim = 0;           ///< F of an expert
  bool normalize_routes = true;     ///< the weights of the chosen experts sum to 1
  std::vector<bool> expert_layers;  ///< layers that have experts; empty: all

  bool grouped_qkv = false;  ///< a fused q, k, v tensor holds, for each kv head, its query heads, its key and its value
  int variant = 0;                           ///< index into the family's specs
  std::vector<token_t> end_tokens;           ///< ids that end a text, from the configuration
  std::vector<std::string>
      ignored_tensors;           ///< ends of names, or beginnings that end in a dot, of tensors without a use
  bool f32_weights = false;      ///< as stored; decides the default of the cache
  Acts acts = Acts::none;        ///< what products with the loaded matrices read; known since Model::plan()
  std::vector<LayerPlan> plans;  ///< [layers], from the family's plan()
};

/// The part of a configuration that its spec cannot express, or nullptr.
constexpr const char* excluded_by(const DecoderSpec& spec, const ModelConfig& c) noexcept {
  if (c.attention_softcap != 0 && !spec.attention_softcap) return "attention soft-cap";
  if (c.alibi && !spec.alibi) return "alibi";
  if (c.experts != 0 && spec.ffn != FfnKind::experts) return "a mixture of experts";
  return nullptr;
}

}  // namespace tmodel::inline v0
