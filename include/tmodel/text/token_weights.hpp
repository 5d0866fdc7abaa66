#pragma once
// The tokens of one step as integer weights (core/math.hpp), the truncations of sampling, and the draw.
// Weights lie in the order of the ids, in blocks of 64 whose loops compilers vectorise. A block whose largest logit
// lies under what a step asks for is never looked into. A truncation is a selection by bins, never a sort.

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <utility>

#include "tmodel/core/math.hpp"
#include "tmodel/core/memory.hpp"

namespace tmodel::inline v0 {

/// Largest vocabulary that is sampled from: sums of weights stay below 2^64.
inline constexpr int max_sampled_vocab = 1 << 23;

namespace sampler_parts {

inline constexpr f32 log2_e = 1.44269504f;
inline constexpr f32 infinity = std::numeric_limits<f32>::infinity();
inline constexpr std::size_t block = 64;
constexpr std::size_t blocks_in(std::size_t n) noexcept { return (n + block - 1) / block; }

/// Logits in blocks, the last one filled up with NaN, which nothing chooses.
class BlockedLogits {
 public:
  explicit BlockedLogits(std::span<const f32> logits) noexcept : logits_(logits) {
    const std::size_t whole = logits.size() / block * block;
    tail_.fill(std::numeric_limits<f32>::quiet_NaN());
    std::copy(logits.begin() + static_cast<std::ptrdiff_t>(whole), logits.end(), tail_.begin());
  }
  std::size_t blocks() const noexcept { return blocks_in(logits_.size()); }
  const f32* operator[](std::size_t i) const noexcept {
    return (i + 1) * block <= logits_.size() ? logits_.data() + i * block : tail_.data();
  }

 private:
  std::span<const f32> logits_;
  alignas(cache_line) std::array<f32, block> tail_;
};

/// The bits of a float as an integer that orders as the numbers do; its own inverse.
inline std::int32_t ordered_bits(std::int32_t bits) noexcept { return bits ^ ((bits >> 31) & 0x7FFFFFFF); }

/// Largest of a block, NaN left out; -infinity if there is nothing.
inline f32 largest_of(const f32* logits) noexcept {
  std::array<f32, 8> m;
  for (std::size_t j = 0; j < m.size(); ++j) {
    f32 largest = -infinity;
    for (std::size_t i = 0; i < block; i += m.size()) largest = logits[i + j] > largest ? logits[i + j] : largest;
    m[j] = largest;
  }
  std::int32_t best = std::numeric_limits<std::int32_t>::min();  // a maximum of integers is what compilers vectorise
  for (std::size_t j = 0; j < m.size(); ++j) best = std::max(best, ordered_bits(std::bit_cast<std::int32_t>(m[j])));
  return std::bit_cast<f32>(ordered_bits(best));
}

/// Octaves that a logit lies under the largest one; NaN and -infinity vanish.
struct Scale {
  f32 largest;
  f32 octaves_per_unit;  ///< log2(e) / temperature
  std::int32_t operator()(f32 logit) const noexcept {
    const bool is_largest = std::bit_cast<std::int32_t>(logit) == std::bit_cast<std::int32_t>(largest);  // or infinite
    return fixed_octaves((largest - logit) * octaves_per_unit) & (is_largest ? 0 : -1);
  }
};

/// Weights of a block; returns their sum.
inline std::uint64_t weigh(const f32* logits, const Scale& scale, std::uint64_t* weights) noexcept {
  // Short loops: one with the whole chain of operations leaves the processor too few of them to overlap.
  alignas(cache_line) std::array<std::int32_t, block> octaves;
  alignas(cache_line) std::array<f64, block> power;
  for (std::size_t j = 0; j < block; ++j) octaves[j] = scale(logits[j]);
  for (std::size_t j = 0; j < block; ++j) power[j] = detail::fractional_power(octaves[j]);
  for (std::size_t j = 0; j < block; ++j) weights[j] = detail::whole_weight(power[j], octaves[j]);
  std::uint64_t sum = 0;
  for (std::size_t j = 0; j < block; ++j) sum += weights[j];
  return sum;
}

/// The tokens that may still be drawn. A selection keeps the first tokens in some order, lower ids first among equals.
class TokenWeights {
 public:
  /// Errors: out_of_memory.
  static expected<TokenWeights> create(std::size_t vocab) {
    TokenWeights w;
    const std::size_t n = blocks_in(vocab) * block;
    TMODEL_TRY(w.weights_, Buffer::allocate(n * sizeof(std::uint64_t)));
    TMODEL_TRY(w.bin_of_token_, Buffer::allocate(n * sizeof(std::uint16_t)));
    TMODEL_TRY(w.entries_, Buffer::allocate(n * sizeof(Entry)));
    TMODEL_TRY(w.blocks_, Buffer::allocate(n / block * sizeof(Block)));
    TMODEL_TRY(w.scratch_, Buffer::allocate(n / block * sizeof(f32)));
    TMODEL_TRY(w.bins_, Buffer::allocate(bins * sizeof(std::uint64_t)));
    return w;
  }

  /// Takes the logits of a step. Of all tokens at most the `top_k` likeliest are needed (0: all), and those within
  /// `reach` octaves of the likeliest. False: no token is possible.
  bool read(const BlockedLogits& logits, f32 octaves_per_unit, int top_k, f32 reach) noexcept {
    logits_ = &logits;
    live_ = logits.blocks();
    scale_ = {-infinity, octaves_per_unit};
    for (std::size_t i = 0; i < live_; ++i) {
      const f32 largest = largest_of(logits[i]);
      all()[i] = {largest, static_cast<std::uint32_t>(i), 0};
      scale_.largest = std::max(scale_.largest, largest);
    }
    if (scale_.largest == -infinity) return false;
    const f32 bound = std::max(top_k > 0 ? bound_of(static_cast<std::size_t>(top_k)) : -infinity,
                               scale_.largest - reach / octaves_per_unit);
    keep_blocks(bound, [&](const Block& b) { return weigh(logits[b.index], scale_, weights_of(b)); });
    return true;
  }

  void keep_likeliest(std::uint64_t count) noexcept {
    keep_first<false>(ByLogit{scale_}, count, bound_of(count), unbounded);
  }
  /// The likeliest that together have this part of the weight.
  void keep_mass(f32 part) noexcept {
    const ByLogit order{scale_};
    keep_first_by_weight(order, share(part, total_), [&](f32 bound) { return order(bound); });
  }
  /// Those with at least this part of the largest weight.
  void keep_near_best(f32 part) noexcept {
    const std::uint64_t least = share(part, std::uint64_t{1} << weight_bits);  // no step drops the likeliest before
    keep_blocks(-infinity, [&](const Block& b) {
      std::uint64_t* const w = weights_of(b);
      std::uint64_t sum = 0;
      for (std::size_t j = 0; j < block; ++j) sum += w[j] &= ((w[j] - least) >> 63) - 1;  // none if w < least
      return sum;
    });
  }
  /// Those whose information lies nearest to its mean and that together have this part of the weight.
  void keep_typical(f32 part) noexcept {
    const ByInformation order{scale_, mean_octaves()};
    // What lies under the bound is at least as far from the mean as the bound itself, if that lies beyond the mean.
    keep_first_by_weight(order, share(part, total_), [&](f32 bound) { return scale_(bound) - order.mean - 1; });
  }

  /// The token in whose share of the weight a random number falls, the shares in the order of the ids.
  token_t draw(std::uint64_t random) const noexcept {
    std::uint64_t point = high_product(random, total_);  // in [0, total)
    for (const Block& b : live()) {
      if (point >= b.sum) {
        point -= b.sum;
        continue;
      }
      const std::uint64_t* const w = weights_of(b);
      std::size_t j = 0;
      for (; point >= w[j]; ++j) point -= w[j];
      return static_cast<token_t>(b.index * block + j);
    }
    return -1;
  }

 private:
  struct Block {
    f32 largest;
    std::uint32_t index;
    std::uint64_t sum;  ///< of its weights
  };
  struct Entry {
    std::int32_t order;
    token_t id;
  };
  static constexpr std::int32_t unbounded = std::numeric_limits<std::int32_t>::max();
  static constexpr std::size_t digits = 2048, bins = 5376;

  // Orders: smaller comes first. The distance, in fixed octaves, never falls with the order and is what bins are of.
  struct ByLogit {
    Scale scale;
    std::int32_t operator()(f32 logit) const noexcept {
      return ~ordered_bits(std::bit_cast<std::int32_t>(logit + 0.f));  // -0 is 0
    }
    std::int32_t distance(f32 logit) const noexcept { return scale(logit); }
  };
  struct ByInformation {  // with log2 p = -octaves - log2 Z, the difference from the entropy is |E[octaves] - octaves|
    Scale scale;
    std::int32_t mean;
    std::int32_t operator()(f32 logit) const noexcept {
      const std::int32_t difference = scale(logit) - mean;
      return difference < 0 ? -difference : difference;
    }
    std::int32_t distance(f32 logit) const noexcept { return operator()(logit); }
  };

  std::span<Block> all() const noexcept {
    return {reinterpret_cast<Block*>(blocks_.data()), blocks_.size() / sizeof(Block)};
  }
  std::span<Block> live() const noexcept { return all().first(live_); }
  std::uint64_t* weights_of(const Block& b) const noexcept {
    return reinterpret_cast<std::uint64_t*>(weights_.data()) + b.index * block;
  }
  std::uint16_t* bins_of(const Block& b) const noexcept {
    return reinterpret_cast<std::uint16_t*>(bin_of_token_.data()) + b.index * block;
  }
  std::uint64_t weight_of(token_t id) const noexcept {
    return reinterpret_cast<const std::uint64_t*>(weights_.data())[static_cast<std::size_t>(id)];
  }

  /// The least weight that is this part of a total, at least 1.
  static std::uint64_t share(f32 part, std::uint64_t total) noexcept {
    const f64 wanted = std::ceil(static_cast<f64>(part) * static_cast<f64>(total));
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, std::max<std::uint64_t>(total, 1));
  }
  /// A logit that at least n blocks reach; -infinity if there are fewer. Looks at every `stride`-th block.
  f32 bound_of(std::size_t n, std::size_t stride = 1) noexcept {
    f32* const seen = reinterpret_cast<f32*>(scratch_.data());
    std::size_t count = 0;
    for (std::size_t i = 0; i < live_; i += stride) seen[count++] = all()[i].largest;
    if (n > count) return -infinity;
    std::nth_element(seen, seen + (n - 1), seen + count, std::greater<>());
    return seen[n - 1];
  }
  /// Keeps the blocks that reach `bound` and have weight left: `reweigh` changes the weights and returns their sum.
  template <class Fn>
  void keep_blocks(f32 bound, const Fn& reweigh) noexcept {
    std::size_t n = 0;
    total_ = 0;
    for (Block b : live()) {
      if (b.largest < bound || (b.sum = reweigh(b)) == 0) continue;
      total_ += b.sum;
      all()[n++] = b;
    }
    live_ = n;
  }

  /// Keeps the first tokens in an order until their weight reaches `wanted`. Tries the best blocks alone first, as many
  /// as weigh enough: `last` says up to where those that reach a bound hold all tokens.
  template <class Order, class Last>
  void keep_first_by_weight(const Order& order, std::uint64_t wanted, const Last& last) noexcept {
    for (const std::size_t part : {64u, 8u}) {
      constexpr std::size_t stride = 8;  // a guess needs not all blocks
      const f32 bound = bound_of(live_ / (part * stride) + 1, stride);
      std::uint64_t sum = 0;
      for (const Block& b : live()) sum += b.largest < bound ? 0 : b.sum;
      if (sum >= wanted && keep_first<true>(order, wanted, bound, last(bound))) return;
    }
    keep_first<true>(order, wanted, -infinity, unbounded);
  }

  /// Keeps the first tokens in an order until their count or weight reaches `wanted`. Looks only into blocks that reach
  /// `bound`, which must hold all tokens up to `last`. False: those do not suffice, and nothing has changed.
  template <bool weighted, class Order>
  bool keep_first(const Order& order, std::uint64_t wanted, f32 bound, std::int32_t last) noexcept {
    // Bins of 1/32 octave, four sets of them, so that tokens of one bin need not wait for each other.
    constexpr int bin_shift = octave_bits - 5;
    constexpr std::uint32_t set = (vanishing_octaves >> bin_shift) + 2, none = set - 1;
    static_assert(4 * set <= bins);
    std::uint64_t* const sums = reinterpret_cast<std::uint64_t*>(bins_.data());
    std::fill_n(sums, 4 * set, std::uint64_t{0});
    for (const Block& b : live()) {
      if (b.largest < bound) continue;
      const f32* const logits = (*logits_)[b.index];
      const std::uint64_t* const w = weights_of(b);
      std::uint16_t* const bin = bins_of(b);
      for (std::size_t j = 0; j < block; ++j) {
        const std::uint32_t own = static_cast<std::uint32_t>(order.distance(logits[j])) >> bin_shift;
        const std::uint32_t in = order(logits[j]) <= last ? ~0u : 0u;  // no branch: this loop is to be vectorised
        bin[j] = static_cast<std::uint16_t>((own & in) | (none & ~in));
      }
      for (std::size_t j = 0; j < block; j += 4)
        for (std::size_t i = 0; i < 4; ++i) sums[i * set + bin[j + i]] += weighted ? w[j + i] : w[j + i] != 0;
    }
    std::uint64_t before = 0;
    std::uint16_t last_bin = 0;
    for (;; ++last_bin) {
      if (last_bin == none) return false;
      std::uint64_t sum = 0;
      for (std::uint32_t i = 0; i < 4; ++i) sum += sums[i * set + last_bin];
      if (before + sum >= wanted) break;
      before += sum;
    }

    constexpr std::uint64_t ones = 0x0001000100010001;
    Entry* const entries = reinterpret_cast<Entry*>(entries_.data());
    Entry* end = entries;
    for (const Block& b : live()) {
      if (b.largest < bound) continue;
      const std::uint16_t* const bin = bins_of(b);
      for (std::size_t i = 0; i < block; i += 4) {
        std::uint64_t four;  // four bins at once: a borrow shows that one of them equals last_bin
        std::memcpy(&four, bin + i, sizeof four);
        four ^= last_bin * ones;
        if (((four - ones) & ~four & (ones << 15)) == 0) continue;
        for (std::size_t j = i; j < i + 4; ++j)
          if (bin[j] == last_bin && weights_of(b)[j] != 0)
            *end++ = {order((*logits_)[b.index][j]), static_cast<token_t>(b.index * block + j)};
      }
    }
    const Entry cut = last_of<weighted>({entries, end}, wanted - before);

    const Entry* entry = entries;
    keep_blocks(bound, [&](const Block& b) {
      std::uint64_t* const w = weights_of(b);
      const std::uint16_t* const bin = bins_of(b);
      std::uint64_t sum = 0;
      for (std::size_t j = 0; j < block; ++j) sum += w[j] &= -static_cast<std::uint64_t>(bin[j] <= last_bin);
      for (; entry != end && static_cast<std::size_t>(entry->id) / block == b.index; ++entry) {
        if (entry->order < cut.order || (entry->order == cut.order && entry->id <= cut.id)) continue;
        sum -= std::exchange(w[static_cast<std::size_t>(entry->id) % block], 0);
      }
      return sum;
    });
    return true;
  }

  /// The last of the first tokens whose count or weight reaches `wanted`: a radix selection, 11 bits at a time.
  template <bool weighted>
  Entry last_of(std::span<const Entry> entries, std::uint64_t wanted) noexcept {
    const auto measure = [&](const Entry& e) { return weighted ? weight_of(e.id) : std::uint64_t{1}; };
    std::uint64_t* const sums = reinterpret_cast<std::uint64_t*>(bins_.data());
    std::int64_t low = unbounded, high = std::numeric_limits<std::int32_t>::min();  // of the orders that are left
    for (const Entry& e : entries)
      low = std::min<std::int64_t>(low, e.order), high = std::max<std::int64_t>(high, e.order);
    std::uint64_t before = 0;
    while (low < high) {
      const int shift = std::max(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(high - low))) - 11, 0);
      std::fill_n(sums, digits, std::uint64_t{0});
      for (const Entry& e : entries)
        if (e.order >= low && e.order <= high) sums[(e.order - low) >> shift] += measure(e);
      std::size_t digit = 0;
      while (before + sums[digit] < wanted) before += sums[digit++];
      low += static_cast<std::int64_t>(digit) << shift;
      high = std::min(high, low + (std::int64_t{1} << shift) - 1);
    }
    Entry last{};
    for (const Entry& e : entries) {
      if (e.order != low) continue;
      last = e;
      if ((before += measure(e)) >= wanted) break;
    }
    return last;
  }

  /// Mean of the octaves under the weights, each cut to 22 bits: a product with 31 bits is then exact in f64.
  std::int32_t mean_octaves() const noexcept {
    constexpr std::uint64_t upper_22_bits = ~std::uint64_t{0x7FFFFFFF};
    constexpr std::size_t chains = 8;
    std::array<f64, chains> weight{}, moment{};
    for (const Block& b : live()) {
      const f32* const logits = (*logits_)[b.index];
      const std::uint64_t* const w = weights_of(b);
      alignas(cache_line) std::array<f64, block> cut, product;
      for (std::size_t j = 0; j < block; ++j) {
        const f64 exact = std::bit_cast<f64>(w[j] | std::bit_cast<std::uint64_t>(0x1p52)) - 0x1p52;
        cut[j] = std::bit_cast<f64>(std::bit_cast<std::uint64_t>(exact) & upper_22_bits);
        product[j] = cut[j] * static_cast<f64>(scale_(logits[j]));
      }
      for (std::size_t half = block / 2; half >= chains; half /= 2)
        for (std::size_t j = 0; j < half; ++j) cut[j] += cut[j + half], product[j] += product[j + half];
      for (std::size_t j = 0; j < chains; ++j) weight[j] += cut[j], moment[j] += product[j];
    }
    f64 weights = 0, moments = 0;
    for (std::size_t j = 0; j < chains; ++j) weights += weight[j], moments += moment[j];
    return static_cast<std::int32_t>(moments / weights);
  }

  const BlockedLogits* logits_ = nullptr;  // of this step
  Scale scale_{};
  std::size_t live_ = 0;     // blocks with weight left stand first in blocks_
  std::uint64_t total_ = 0;  // of all weights
  Buffer weights_, bin_of_token_, entries_, blocks_, scratch_, bins_;
};

}  // namespace sampler_parts
}  // namespace tmodel::inline v0
