#pragma once
// The roles of a decoder's tensors, and what a tensor of a role is called in each kind of file.

#include <cstdint>
#include <string_view>

namespace tmodel::inline v0 {

/// qkv, gate_up, expert_gate_up: several weights in one tensor, below each other in this order.
enum class Role : std::uint8_t {
  embedding,
  output_norm,
  output,
  rope_factors,
  rope_factors_short,
  rope_factors_long,
  attention_norm,
  ffn_norm,
  post_attention_norm,
  post_ffn_norm,
  q_norm,
  k_norm,
  qkv,
  q,
  k,
  v,
  o,
  gate_up,
  gate,
  up,
  down,
  router,
  expert_gate_up,
  expert_gate,
  expert_up,
  expert_down
};

/// Names of a role without ".weight" and ".bias"; '#' stands for the layer's number, '@' for that of an expert or a
/// head (a tensor each; without it, all of them stand in one). A role may have several entries: the first that a file
/// has is taken. A family lists what differs from Llama.
struct TensorName {
  Role role;
  std::string_view gguf, huggingface;
};

}  // namespace tmodel::inline v0
