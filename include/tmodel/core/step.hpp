#pragma once
// One step of the model: which rows belong to which session, and the shapes that operations are told.

#include <atomic>
#include <bit>
#include <cmath>
#include <span>
#include <vector>

#include "tmodel/core/format.hpp"
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

/// Keys, and again values: a lane of consecutive vectors [head_dim] for each layer and kv head. Layers that see
/// everything come first, with `capacity` vectors; a windowed layer's lane is a ring, in which a position stands at its
/// remainder by `ring`.
struct KvShape {
  int layers = 0;  ///< that see everything
  int windowed_layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int capacity = 0;  ///< positions
  int ring = 0;      ///< positions that a windowed layer keeps: its window, and room for the rows of a step
  int window = 0;
  KvType type = KvType::f16;

  /// Vectors before the first lane of the windowed layers, and all of them.
  constexpr std::size_t full_vectors() const noexcept { return lanes(layers) * static_cast<std::size_t>(capacity); }
  constexpr std::size_t vectors() const noexcept {
    return full_vectors() + lanes(windowed_layers) * static_cast<std::size_t>(ring);
  }
  constexpr std::size_t lanes(int of) const noexcept {
    return static_cast<std::size_t>(of) * static_cast<std::size_t>(kv_heads);
  }
  constexpr std::size_t row_bytes() const noexcept { return kv_row_bytes(type, head_dim); }
  /// First position that a windowed layer must still have after `length` tokens.
  constexpr int window_begin(int length) const noexcept {
    return window > 1 ? (length > window - 1 ? length - (window - 1) : 0) : length;
  }
};

/// Where the vectors of one layer and kv head stand: position p at first + p % capacity.
struct KvLane {
  std::size_t first = 0;  ///< in vectors
  int capacity = 0;
};
constexpr KvLane kv_lane(const KvShape& s, bool windowed, int cache, int head) noexcept {
  const int capacity = windowed ? s.ring : s.capacity;
  const std::size_t lane = s.lanes(cache) + static_cast<std::size_t>(head);
  return {(windowed ? s.full_vectors() : 0) + lane * static_cast<std::size_t>(capacity), capacity};
}

/// Bytes of what sessions save of a cache after `length` tokens: all positions, or what the window still sees.
constexpr std::size_t kv_state_bytes(const KvShape& s, int length) noexcept {
  const auto positions = [](int n) { return static_cast<std::size_t>(n); };
  return 2 * s.row_bytes() *
         (s.lanes(s.layers) * positions(length) +
          s.lanes(s.windowed_layers) * positions(length - s.window_begin(length)));
}

/// The consecutive rows of one session inside a step.
template <class Kv>
struct StepSequence {
  Kv* kv = nullptr;
  const std::vector<RopeFrequencies>* rope = nullptr;  ///< one per rope table of the model
  int first_row = 0;
  int rows = 0;
  pos_t position = 0;  ///< of the first row in the cache; the others follow
  pos_t origin = 0;    ///< added to a row's position for the rotation
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
  int cache = 0;  ///< LayerPlan::cache
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int rotary_dim = 0;
  int rope_table = 0;
  RopePairing pairing = RopePairing::halves;
  int window = 0;  ///< keys seen, itself included; 0: all
  f32 scale = 1;
  f32 softcap = 0;  ///< 0: none
  bool alibi = false;
};

/// What a Queue must have room for.
struct QueueLimits {
  int rows = 0;           ///< n of a step
  int sequences = 1;      ///< sessions in a step
  int context = 0;        ///< positions of a session
  int widest_input = 0;   ///< longest row that a matrix product reads
  Acts acts = Acts::floats | Acts::q8;  ///< what products read
  int rotary_pairs = 0;   ///< R / 2
  int rope_tables = 1;
  int heads = 0;
  int head_dim = 0;
  int expert_rows = 0;   ///< rows of a step, each once for every expert that it goes to
  int expert_input = 0;  ///< longest row that a matrix product of an expert reads
};

/// Alibi (Press et al. 2022) as Falcon computes it: what is added to the product of a query of this head and the key at
/// `position`, before the scale. Slopes and products are rounded to bf16.
inline f32 alibi_slope(int head, int heads) noexcept {
  const int log2 = std::bit_width(static_cast<unsigned>(heads)) - 1, power = 1 << log2;
  const bool extra = head >= power;  // beyond the largest power of two: every other slope of twice as many heads
  const f64 step = std::ldexp(1.0, extra ? 2 - log2 : 3 - log2);
  return to_f32(to_bf16(static_cast<f32>(std::exp2(-step * (extra ? 2 * (head - power) + 1 : head + 1)))));
}
inline f32 alibi_bias(f32 slope, pos_t position) noexcept {
  return to_f32(to_bf16(slope * to_f32(to_bf16(static_cast<f32>(position)))));
}

}  // namespace tmodel::inline v0
