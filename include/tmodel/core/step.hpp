#pragma once
// One step of the model: which rows belong to which session, and the shapes that operations are told.

#include <atomic>
#include <span>
#include <vector>

#include "tmodel/core/rope.hpp"
#include "tmodel/core/types.hpp"

namespace tmodel::inline v0 {

/// Element type of cached keys and values. q8_0: blocks of 32 with an f16 scale; head_dim must be a multiple of 32.
enum class KvType : std::uint8_t { f32, f16, q8_0 };

/// Bytes of one cached head vector of D elements.
constexpr std::size_t kv_row_bytes(KvType type, int head_dim) noexcept {
  const auto d = static_cast<std::size_t>(head_dim);
  return type == KvType::f32 ? 4 * d : type == KvType::f16 ? 2 * d : d / 32 * 34;
}

struct KvShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int capacity = 0;  ///< positions
  KvType type = KvType::f16;
};

/// Bytes of the first `length` positions of a cache, as sessions save them.
constexpr std::size_t kv_state_bytes(const KvShape& s, int length) noexcept {
  return 2 * static_cast<std::size_t>(s.layers) * static_cast<std::size_t>(s.kv_heads) * static_cast<std::size_t>(length) *
         kv_row_bytes(s.type, s.head_dim);
}

/// The consecutive rows of one session inside a step.
template <class Kv>
struct StepSequence {
  Kv* kv = nullptr;
  const std::vector<RopeFrequencies>* rope = nullptr;  ///< one per rope table of the model
  int first_row = 0;
  int rows = 0;
  pos_t position = 0;  ///< of the first row; the others follow
};

/// Built by the session or batch; its spans live until download().
template <class Kv>
struct Step {
  std::span<const token_t> tokens;                 ///< [n]
  std::span<const StepSequence<Kv>> sequences;     ///< in the order of their rows
  std::span<const int> logit_rows;                 ///< rows whose logits are wanted, ascending
  const std::atomic<bool>* cancel = nullptr;       ///< set by another thread
  int rows() const noexcept { return static_cast<int>(tokens.size()); }
};

/// What rope, kv_store and attend need to know of a layer.
struct AttentionShape {
  int layer = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int rotary_dim = 0;
  int rope_table = 0;
  RopePairing pairing = RopePairing::halves;
  int window = 0;  ///< keys seen, itself included; 0: all
  f32 scale = 1;
  f32 softcap = 0;  ///< 0: none
};

/// What a Queue must have room for.
struct QueueLimits {
  int rows = 0;           ///< n of a step
  int sequences = 1;      ///< sessions in a step
  int context = 0;        ///< positions of a session
  int widest_input = 0;   ///< longest row that a matrix product reads
  int rotary_pairs = 0;   ///< R / 2
  int rope_tables = 1;
  int heads = 0;
  int head_dim = 0;
};

}  // namespace tmodel::inline v0
