#pragma once
// The weights of a decoder: one struct with every role, and the one table of tensor names.
// Names: GGUF specification (tensor names), transformers' module names.

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tmodel/core/concepts.hpp"

namespace tmodel::inline v0 {

/// A weight [out, in] whose format is known since loading, with its optional bias [out].
template <class B>
class Linear {
 public:
  typename B::Vec bias{};

  template <class Q>
  void set(typename B::template Matrix<Q> m) noexcept { matrix_ = m, acts_ = Q::acts; }
  /// What a product with this weight reads; the union over the users of one input goes into prepare().
  Acts acts() const noexcept { return acts_; }
  /// Calls fn with the matrix in its own format. A get_if chain: std::visit would link abort.
  template <class Fn>
  void visit(Fn&& fn) const { visit_alternatives(fn, std::make_index_sequence<B::Formats::size>()); }

 private:
  template <class Fn, std::size_t... I>
  void visit_alternatives(Fn& fn, std::index_sequence<I...>) const {
    const auto one = [&](const auto* m) { return m != nullptr ? (fn(*m), true) : false; };
    (one(std::get_if<I + 1>(&matrix_)) || ...);
  }
  typename B::Formats::template variant<B::template Matrix> matrix_;
  Acts acts_ = Acts::none;
};

template <class B>
struct LayerWeights {
  using Norm = NormWeights<typename B::Vec>;
  Norm attention_norm, ffn_norm;            ///< [d]; which are there follows from the spec
  Norm post_attention_norm, post_ffn_norm;  ///< [d]
  Norm q_norm, k_norm;                      ///< [D], [heads * D]; empty scale: none
  Linear<B> q, k, v, o;                     ///< [H*D, d], [K*D, d], [K*D, d], [d, H*D]
  Linear<B> gate, up, down;                 ///< [F, d], [F, d], [d, F]; gate stays empty in a plain ffn
  LayerPlan plan;
};

template <class B>
struct Weights {
  Linear<B> embedding;  ///< [V, d]
  std::vector<LayerWeights<B>> layers;
  NormWeights<typename B::Vec> output_norm;
  Linear<B> output;  ///< [V, d]; the embedding's handle when tied
};

enum class Role : std::uint8_t {
  embedding, output_norm, output, rope_factors,
  attention_norm, ffn_norm, post_attention_norm, post_ffn_norm, q_norm, k_norm, q, k, v, o, gate, up, down
};

/// Names of a role without ".weight" and ".bias"; '#' stands for the layer's number.
struct TensorName {
  Role role;
  std::string_view gguf, huggingface;
};

inline constexpr std::array tensor_names{
    TensorName{Role::embedding, "token_embd", "model.embed_tokens"},
    TensorName{Role::output_norm, "output_norm", "model.norm"},
    TensorName{Role::output, "output", "lm_head"},
    TensorName{Role::rope_factors, "rope_freqs", ""},
    TensorName{Role::attention_norm, "blk.#.attn_norm", "model.layers.#.input_layernorm"},
    TensorName{Role::ffn_norm, "blk.#.ffn_norm", "model.layers.#.post_attention_layernorm"},
    TensorName{Role::post_attention_norm, "blk.#.post_attention_norm", "model.layers.#.post_attention_layernorm"},
    TensorName{Role::post_ffn_norm, "blk.#.post_ffw_norm", "model.layers.#.post_feedforward_layernorm"},
    TensorName{Role::q_norm, "blk.#.attn_q_norm", "model.layers.#.self_attn.q_norm"},
    TensorName{Role::k_norm, "blk.#.attn_k_norm", "model.layers.#.self_attn.k_norm"},
    TensorName{Role::q, "blk.#.attn_q", "model.layers.#.self_attn.q_proj"},
    TensorName{Role::k, "blk.#.attn_k", "model.layers.#.self_attn.k_proj"},
    TensorName{Role::v, "blk.#.attn_v", "model.layers.#.self_attn.v_proj"},
    TensorName{Role::o, "blk.#.attn_output", "model.layers.#.self_attn.o_proj"},
    TensorName{Role::gate, "blk.#.ffn_gate", "model.layers.#.mlp.gate_proj"},
    TensorName{Role::up, "blk.#.ffn_up", "model.layers.#.mlp.up_proj"},
    TensorName{Role::down, "blk.#.ffn_down", "model.layers.#.mlp.down_proj"},
};

/// "blk.3.attn_q.weight"; empty if the dialect has no such tensor.
inline std::string tensor_name(Role role, Dialect dialect, int layer, std::string_view suffix) {
  for (const TensorName& entry : tensor_names) {
    if (entry.role != role) continue;
    std::string name(dialect == Dialect::gguf ? entry.gguf : entry.huggingface);
    if (name.empty()) return name;
    if (const auto mark = name.find('#'); mark != std::string::npos) name.replace(mark, 1, std::to_string(layer));
    return name.append(suffix);
  }
  return {};
}

}  // namespace tmodel::inline v0
