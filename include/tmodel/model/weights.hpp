#pragma once
// The weights of a decoder: one struct with every role.

#include <utility>
#include <vector>

#include "tmodel/core/concepts.hpp"

namespace tmodel::inline v0 {

/// A Matrix of one of the formats, which is known since loading.
template <class Formats, template <class> class Matrix>
class AnyMatrix {
 public:
  template <class Q>
  void set(Matrix<Q> m) noexcept {
    matrix_ = m, acts_ = Q::acts;
  }
  /// What a product with this weight reads; the union over the users of one input goes into prepare().
  Acts acts() const noexcept { return acts_; }
  /// Calls fn with the matrix in its own format. A get_if chain: std::visit would link abort.
  template <class Fn>
  void visit(Fn&& fn) const {
    visit_alternatives(fn, std::make_index_sequence<Formats::size>());
  }

 private:
  template <class Fn, std::size_t... I>
  void visit_alternatives(Fn& fn, std::index_sequence<I...>) const {
    const auto one = [&](const auto* m) { return m != nullptr ? (fn(*m), true) : false; };
    (one(std::get_if<I + 1>(&matrix_)) || ...);
  }
  typename Formats::template variant<Matrix> matrix_;
  Acts acts_ = Acts::none;
};

/// A weight [out, in] with its optional bias [out].
template <class B>
struct Linear : AnyMatrix<typename B::Formats, B::template Matrix> {
  typename B::Vec bias{};
};

/// A weight [out, in] of each expert.
template <class B>
using ExpertLinear = AnyMatrix<typename B::Formats, B::template Experts>;

template <class B>
struct LayerWeights {
  using Norm = NormWeights<typename B::Vec>;
  Norm attention_norm, ffn_norm;            ///< [d]; which are there follows from the spec
  Norm post_attention_norm, post_ffn_norm;  ///< [d]
  Norm q_norm, k_norm;                      ///< [D], [heads * D]; empty scale: none
  Linear<B> q, k, v, o;                     ///< [H*D, d], [K*D, d], [K*D, d], [d, H*D]
  Linear<B> gate, up, down;                 ///< [F, d], [F, d], [d, F]; gate stays empty in a plain ffn
  Linear<B> router;                         ///< [E, d]; with experts, in place of the three above
  ExpertLinear<B> expert_gate, expert_up, expert_down;
  LayerPlan plan;
};

template <class B>
struct Weights {
  Linear<B> embedding;  ///< [V, d]
  std::vector<LayerWeights<B>> layers;
  NormWeights<typename B::Vec> output_norm;
  Linear<B> output;  ///< [V, d]; the embedding's handle when tied

  /// What all products read.
  Acts acts() const noexcept {
    Acts all = output.acts();
    for (const LayerWeights<B>& l : layers) {
      for (const Linear<B>* w : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down, &l.router}) all = all | w->acts();
      for (const ExpertLinear<B>* w : {&l.expert_gate, &l.expert_up, &l.expert_down}) all = all | w->acts();
    }
    return all;
  }
};

}  // namespace tmodel::inline v0
