#pragma once
// What the certificate judges by, as data: how far an intermediate may be from the reference, and what to look at where
// the first difference arises.

#include <array>
#include <string_view>

#include "tmodel/model/tap.hpp"

namespace inspect {

/// How far an intermediate may be, relative to the largest magnitude of the reference's same intermediate.
struct Bound {
  std::string_view formats;  ///< of weights, with blanks around each
  std::string_view dtypes;   ///< of the weights that the reference read, the same; empty: any
  double reference, device;  ///< on backend reference; on the others
  double attention;          ///< times more for heads and attention: softmax magnifies a difference of scores
  std::string_view why;
};

/// From fine to coarse. The first line that fits a matrix is its bound; a model has that of its coarsest matrix.
/// Measured: goldens of all families with F32 and 16-bit weights are at most 5.7e-6 off on reference and cpu; with
/// quantised weights, against a reference of the same values, 2.9e-6 on reference and 4.2e-2 on cpu. Against weights
/// that were rounded since, a Llama of 260,000 parameters, whose short sums average least, is off by F16 1.3e-3, BF16
/// 9e-3, Q8_0 2.2e-2 (heads 3.0e-2), Q4_0 0.34 (heads 0.44): those lines are 1.4 to 4 times as much. Other formats
/// stand by their bits.
inline constexpr std::array bounds{
    Bound{" F32 ", "", 2e-5, 1e-4, 1, "rounding of f32 sums on both sides"},
    Bound{" F16 ", " F16 BF16 ", 2e-5, 1e-4, 1,
          "rounding of f32 sums on both sides; the weights are the reference's own numbers"},
    Bound{" BF16 ", " BF16 ", 2e-5, 1e-4, 1,
          "rounding of f32 sums on both sides; the weights are the reference's own numbers"},
    Bound{" F16 ", "", 5e-3, 5e-3, 1, "weights rounded to 11 bits"},
    Bound{" BF16 ", "", 0.03, 0.03, 1, "weights rounded to 8 bits"},
    Bound{" Q8_0 ", "", 0.04, 0.04, 3, "weights rounded in blocks to 8 bits, and perhaps 8-bit activations"},
    Bound{" Q6_K Q5_0 Q5_1 Q5_K ", "", 0.15, 0.15, 3,
          "weights rounded in blocks to 5 or 6 bits, and perhaps 8-bit activations"},
    Bound{" Q4_0 Q4_1 Q4_K IQ4_NL IQ4_XS MXFP4 ", "", 0.5, 0.5, 3,
          "weights rounded in blocks to 4 bits, and perhaps 8-bit activations"},
    Bound{" Q2_K Q3_K ", "", 1, 1, 3, "weights rounded in blocks to 2 or 3 bits: only coarse faults show"},
};

/// The first line that fits the first intermediate beyond its bound is the hint.
struct Hint {
  tmodel::Tap first;
  unsigned with;  ///< further intermediates of the layer that must be beyond theirs, as bits 1 << Tap
  int from, to;   ///< how many leading ids may be within the bound
  std::string_view text;
};
constexpr unsigned bit(tmodel::Tap tap) noexcept { return 1u << static_cast<unsigned>(tap); }

inline constexpr int any = 1 << 30;
inline constexpr std::array hints{
    Hint{tmodel::Tap::embedding, 0, 0, any,
         "nothing was computed yet: the embedding's rows, their scale, or another model"},
    Hint{tmodel::Tap::attention_norm, 0, 0, any,
         "what enters the layer is good: the norm's epsilon, its scale (stored as w or as 1 + w), its bias, or its "
         "kind"},
    Hint{tmodel::Tap::q, bit(tmodel::Tap::k) | bit(tmodel::Tap::v), 0, any,
         "all three projections are off: how a fused tensor is cut, or their biases"},
    Hint{tmodel::Tap::q, bit(tmodel::Tap::k), 1, any,
         "the first id, which rotates least, and v are good: the rotation's base, scaling, share of the head, or start "
         "position"},
    Hint{tmodel::Tap::q, bit(tmodel::Tap::k), 0, 0,
         "v is good, q and k are off from the first id on: the rotation's pairing (interleaved or half-split rows), "
         "the norms of heads, or the projections"},
    Hint{tmodel::Tap::q, 0, 0, any, "k is good: the projection of queries, its bias, or the norm of queries"},
    Hint{tmodel::Tap::k, 0, 0, any, "q is good: the projection of keys, its bias, or the norm of keys"},
    Hint{tmodel::Tap::v, 0, 0, any, "q and k are good: the projection of values, or its bias"},
    Hint{tmodel::Tap::heads, 0, 0, 0,
         "q, k and v are good, and already an id that sees only itself is off: which key and value a query head reads"},
    Hint{tmodel::Tap::heads, 0, 1, 1,
         "q, k and v are good, and ids are off as soon as they see another: the scale of scores, their soft-cap, "
         "alibi, or the mask"},
    Hint{tmodel::Tap::heads, 0, 2, any,
         "q, k and v are good, and so is attention over few ids: the window's size, or whether this layer has one"},
    Hint{tmodel::Tap::attention, 0, 0, any, "the heads are good: the output projection, or its bias"},
    Hint{tmodel::Tap::middle, 0, 0, any,
         "attention is good: the norm behind it, or the multiplier of what a layer adds"},
    Hint{tmodel::Tap::ffn_norm, 0, 0, any,
         "what it reads is good: the norm's epsilon, its scale, its bias, or another norm's tensor"},
    Hint{tmodel::Tap::ffn, 0, 0, any,
         "what it reads is good: gate, up and down projections, the activation, or the router and its choice of "
         "experts"},
    Hint{tmodel::Tap::residual, 0, 0, any,
         "attention and ffn are good: the norm behind ffn, or the multiplier of what a layer adds"},
    Hint{tmodel::Tap::output_norm, 0, 0, any, "all layers are good: the last norm's epsilon, scale or bias"},
    Hint{
        tmodel::Tap::logits, 0, 0, any,
        "all else is good: the output matrix (its own, or the embedding), the multiplier of logits, or their soft-cap"},
};

}  // namespace inspect
