#pragma once
// Run-time facts of a model: sizes, scalars, which optional operands its file must hold. Filled by a family's parse().

#include <string>
#include <vector>

#include "tmodel/core/policy.hpp"
#include "tmodel/core/rope.hpp"

namespace tmodel::inline v0 {

/// Whether a file must hold an optional tensor. GGUF has no key for biases: there the file itself tells.
enum class Presence : std::uint8_t { no, yes, if_in_file };

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
  std::vector<bool> windowed;  ///< per layer, if the file lists layer_types; empty: the family's rule

  std::vector<RopeParams> rope{RopeParams{}};  ///< LayerPlan::rope_table picks one
  RopePairing rope_pairing = RopePairing::halves;

  Presence qkv_bias = Presence::no, o_bias = Presence::no, ffn_bias = Presence::no, head_bias = Presence::no;
  Presence head = Presence::if_in_file;  ///< no: tied to the embedding, unless the file has another one
  bool norm_bias = false;

  int variant = 0;                           ///< index into the family's specs
  std::vector<token_t> end_tokens;           ///< ids that end a text, from the configuration
  std::vector<std::string> ignored_tensors;  ///< suffixes of tensors that the runtime has no use for
};

/// What differs between layers.
struct LayerPlan {
  int layer = 0;
  int window = 0;      ///< keys seen, itself included; 0: all
  int rope_table = 0;  ///< index into ModelConfig::rope; -1: this layer does not rotate
};

/// The part of a configuration that its spec cannot express, or nullptr.
constexpr const char* excluded_by(const DecoderSpec& spec, const ModelConfig& c) noexcept {
  if (c.attention_softcap != 0 && !spec.attention_softcap) return "attention soft-cap";
  return nullptr;
}

}  // namespace tmodel::inline v0
