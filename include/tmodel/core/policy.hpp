#pragma once
// Compile-time shape of a decoder: which operations stand in which order. Sizes, scalars and "is there a bias" are data.
// The axes are those of the sixteen model types that tmodel is designed for; families with equal specs share code.

#include <cstdint>

#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

enum class NormKind : std::uint8_t { rms, layer };

/// Where a layer normalises. pre: before attention and before the ffn. sandwich: before and after both.
/// post: after both only. parallel_one / parallel_two: attention and ffn read the same residual, behind one or two norms.
enum class NormPlace : std::uint8_t { pre, sandwich, post, parallel_one, parallel_two };
enum class Activation : std::uint8_t { silu, gelu_tanh, gelu_erf };
/// experts: some layers choose among several gated networks, the others have one.
enum class FfnKind : std::uint8_t { gated, plain, experts };

/// Norm of queries and keys before rotation: over each head, with weights that the heads share (per_head) or of its own
/// (each_head), or over the whole projected vector.
enum class QkNorm : std::uint8_t { none, per_head, each_head, whole };

/// A template argument of the forward pass. Defaults are Llama's.
struct DecoderSpec {
  NormKind norm = NormKind::rms;
  NormPlace place = NormPlace::pre;
  QkNorm qk_norm = QkNorm::none;  ///< the kind, if the file has one
  FfnKind ffn = FfnKind::gated;
  Activation activation = Activation::silu;
  bool attention_softcap = false;  ///< scores may be capped, inside attention's inner loop
  bool alibi = false;              ///< scores may grow with the key's position instead of a rotation
  friend constexpr bool operator==(const DecoderSpec&, const DecoderSpec&) = default;
};

/// What a backend can do beyond the operations that every decoder needs; a family's spec asks for some of it.
enum class Op : std::uint32_t {
  layer_norm = 1,
  plain_ffn = 2,
  gelu_tanh = 4,
  gelu_erf = 8,
  softcap = 16,
  qk_norm = 32,
  experts = 64,
  alibi = 128
};

/// The operations of a backend, as a type: OpSet<Op::layer_norm, Op::softcap>.
template <Op... ops>
struct OpSet {
  static constexpr std::uint32_t bits = (0u | ... | static_cast<std::uint32_t>(ops));
};
using AllOps =
    OpSet<Op::layer_norm, Op::plain_ffn, Op::gelu_tanh, Op::gelu_erf, Op::softcap, Op::qk_norm, Op::experts, Op::alibi>;

/// Bits of Op that a decoder of this spec needs.
constexpr std::uint32_t ops_of(const DecoderSpec& s) noexcept {
  std::uint32_t bits = 0;
  const auto need = [&](bool condition, Op op) { bits |= condition ? static_cast<std::uint32_t>(op) : 0u; };
  need(s.norm == NormKind::layer, Op::layer_norm);
  need(s.ffn == FfnKind::plain, Op::plain_ffn);
  need(s.activation == Activation::gelu_tanh, Op::gelu_tanh);
  need(s.activation == Activation::gelu_erf, Op::gelu_erf);
  need(s.attention_softcap, Op::softcap);
  need(s.qk_norm != QkNorm::none, Op::qk_norm);
  need(s.ffn == FfnKind::experts, Op::experts);
  need(s.alibi, Op::alibi);
  return bits;
}

constexpr bool is_parallel(NormPlace place) noexcept {
  return place == NormPlace::parallel_one || place == NormPlace::parallel_two;
}

}  // namespace tmodel::inline v0
