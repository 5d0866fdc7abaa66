#pragma once
// Named intermediates of the forward pass, for whoever wants to compare them with another implementation.

#include <array>
#include <string_view>

#include "tmodel/core/function_ref.hpp"

namespace tmodel::inline v0 {

/// In the order in which a layer computes them; which of them there are depends on the spec. q and k are rotated, in
/// halves (in layers that do not rotate, as the file has them); attention and ffn are what the two parts give, before a
/// norm behind them. Behind the attention of the last layer, n are the m rows whose logits are wanted.
enum class Tap : unsigned char {
  embedding,       ///< [n, d]
  attention_norm,  ///< [n, d]
  q,
  k,
  v,            ///< [n, H*D], [n, K*D], [n, K*D]
  heads,        ///< attention of each head [n, H*D]
  attention,    ///< [n, d]
  middle,       ///< residual after attention [n, d]; not where both parts read the same
  ffn_norm,     ///< [n, d]
  ffn,          ///< [n, d]
  residual,     ///< after the layer [n, d]
  output_norm,  ///< of the rows whose logits are wanted [m, d]
  logits,       ///< [m, V]
};
inline constexpr std::array<std::string_view, 13> tap_names{"embedding", "attention_norm", "q",      "k",        "v",
                                                            "heads",     "attention",      "middle", "ffn_norm", "ffn",
                                                            "residual",  "output_norm",    "logits"};

/// Told of every intermediate when the operations before it are queued: (queue, which, layer, rows). The layer of what
/// is outside of layers is -1. Queue::download() reads the rows.
template <class B>
using Observer = FunctionRef<void(typename B::Queue&, Tap, int, typename B::Rows)>;

}  // namespace tmodel::inline v0
