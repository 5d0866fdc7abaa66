#pragma once
// Sampling: logits -> one token, by steps in this order: logit bias, banned tokens and mask; repetition, frequency and
// presence penalties; temperature; top-k; top-p; min-p; typical; a draw. Each truncation works on the distribution that
// the steps before it left, renormalised, as transformers' logits processors do.
// Sources: Keskar et al. 2019 (repetition penalty), the OpenAI API reference (frequency, presence), Holtzman et al.
// 2020 (top-p), Meister et al. 2023 (typical), Nguyen et al. 2024 (min-p). Weights are integers (exp_weight), so sums
// do not depend on their order: the same logits give the same token anywhere.

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tmodel/core/math.hpp"
#include "tmodel/core/memory.hpp"
#include "tmodel/text/philox.hpp"

namespace tmodel::inline v0 {

/// Largest vocabulary that is sampled from: sums of weights stay below 2^64.
inline constexpr int max_sampled_vocab = 1 << 23;

/// How to choose a token. The defaults are greedy decoding.
struct SamplerOptions {
  f32 temperature = 0;         ///< 0: the likeliest token, the lowest id among equals
  int top_k = 0;               ///< only the k likeliest; 0: all. Among equals the lower ids stay
  f32 top_p = 1;               ///< only the likeliest that together have this probability, in (0, 1]
  f32 min_p = 0;               ///< only those with at least this times the largest probability, in [0, 1]
  f32 typical_p = 1;           ///< only those nearest to the expected information that have this mass, in (0, 1]
  f32 repetition_penalty = 1;  ///< divides positive logits of tokens in the window, multiplies negative ones; > 0
  f32 frequency_penalty = 0;   ///< subtracted for each occurrence in the window
  f32 presence_penalty = 0;    ///< subtracted once if a token occurs in the window
  int penalty_window = -1;     ///< last tokens of the history that penalties look at; -1: all of them
  std::vector<std::pair<token_t, f32>> logit_bias{};  ///< added; -infinity bans
  std::vector<token_t> banned{};
};

/// Tokens that may be chosen: bit id % 64 of word id / 64. Empty: all. Ids beyond it are not allowed.
using TokenMask = std::span<const std::uint64_t>;

/// Chooses tokens. Holds scratch memory, so one per sequence or thread; after create() it allocates nothing.
class Sampler {
 public:
  /// Errors: bad_argument (an option out of range, a token outside the vocabulary), out_of_memory.
  static expected<Sampler> create(SamplerOptions options, int vocab_size) {
    return guard([&]() -> expected<Sampler> {
      TMODEL_CHECK(check(options, vocab_size));
      Sampler sampler;
      const auto n = static_cast<std::size_t>(vocab_size);
      if (options.temperature > 0) {
        TMODEL_TRY(sampler.candidates_, Buffer::allocate(n * sizeof(Candidate)));
        TMODEL_TRY(sampler.bins_, Buffer::allocate(bin_count * sizeof(std::uint64_t)));
        TMODEL_TRY(sampler.maxima_, Buffer::allocate(2 * blocks_in(n) * sizeof(f32)));
      }
      if (options.repetition_penalty != 1 || options.frequency_penalty != 0 || options.presence_penalty != 0) {
        TMODEL_TRY(sampler.counts_, Buffer::allocate(n * sizeof(std::int32_t)));
      }
      sampler.inverse_temperature_ = options.temperature > 0 ? 1.f / options.temperature : 0.f;
      sampler.options_ = std::move(options);
      sampler.vocab_size_ = n;
      return sampler;
    });
  }

  const SamplerOptions& options() const noexcept { return options_; }

  /// The token for these logits [at most vocab_size], which the first steps overwrite. `history`: the tokens so far,
  /// for the penalties. NaN and -infinity are never chosen; +infinity wins. Returns -1 if nothing can be chosen.
  token_t operator()(std::span<f32> logits, std::span<const token_t> history, const DrawKey& key,
                     TokenMask allowed = {}) noexcept {
    logits = logits.first(std::min(logits.size(), vocab_size_));
    adjust(logits, allowed);
    penalise(logits, history);
    if (options_.temperature <= 0) return argmax(logits);
    const f32 largest = fill_maxima(logits);
    if (!is_possible(largest)) return -1;
    return draw(truncate(logits, {largest, inverse_temperature_}), draw_bits(key));
  }

  /// Index of the largest logit, the lowest among equals; NaN does not count. -1: there is none above -infinity.
  static token_t argmax(std::span<const f32> logits) noexcept {
    f32 best = -std::numeric_limits<f32>::infinity();
    token_t id = -1;
    for (std::size_t begin = 0; begin < logits.size(); begin += block) {
      const std::span<const f32> part = logits.subspan(begin, std::min(block, logits.size() - begin));
      if (!(largest_of(part) > best)) continue;
      best = largest_of(part);
      const auto first = std::find(part.begin(), part.end(), best);
      id = static_cast<token_t>(begin + static_cast<std::size_t>(first - part.begin()));
    }
    return id;
  }

 private:
  struct Candidate {
    std::uint32_t rank;  ///< orders candidates: larger is better
    token_t id;
    std::uint64_t weight;
  };
  static constexpr std::size_t bin_count = 2048;
  static constexpr std::size_t block = 64;  ///< logits whose maximum is taken together
  static constexpr std::size_t blocks_in(std::size_t n) noexcept { return (n + block - 1) / block; }

  /// Largest of at most one block, NaN left out; -infinity if there is nothing. Eight chains, so that the latency of
  /// one comparison does not bound it.
  static f32 largest_of(std::span<const f32> part) noexcept {
    std::array<f32, 8> m;
    m.fill(-std::numeric_limits<f32>::infinity());
    std::size_t i = 0;
    for (; i + m.size() <= part.size(); i += m.size())
      for (std::size_t j = 0; j < m.size(); ++j) m[j] = part[i + j] > m[j] ? part[i + j] : m[j];
    for (; i < part.size(); ++i) m[0] = part[i] > m[0] ? part[i] : m[0];
    return *std::max_element(m.begin(), m.end());
  }
  std::span<f32> maxima() const noexcept {
    return {reinterpret_cast<f32*>(maxima_.data()), maxima_.size() / sizeof(f32) / 2};
  }
  /// Maxima of all blocks; returns the largest.
  f32 fill_maxima(std::span<const f32> logits) noexcept {
    const std::span<f32> out = maxima();
    f32 largest = -std::numeric_limits<f32>::infinity();
    for (std::size_t i = 0; i < blocks_in(logits.size()); ++i) {
      out[i] = largest_of(logits.subspan(i * block, std::min(block, logits.size() - i * block)));
      largest = std::max(largest, out[i]);
    }
    return largest;
  }

  /// Logits after temperature, relative to the largest: in [-infinity, 0].
  struct Scale {
    f32 largest, inverse_temperature;
    f32 operator()(f32 logit) const noexcept {
      return logit == largest ? 0.f : (logit - largest) * inverse_temperature;
    }
  };

  static expected<void> check(const SamplerOptions& o, int vocab_size) {
    const auto bad = [](const char* name, const char* range) {
      return fail(Errc::bad_argument, std::string("sampling option ") + name + " is out of range", name, range);
    };
    if (vocab_size < 1 || vocab_size > max_sampled_vocab) return bad("vocab_size", "1 to 2^23");
    if (!(o.temperature >= 0) || !std::isfinite(o.temperature)) return bad("temperature", "0 or more");
    if (o.temperature > 0 && !std::isfinite(1.f / o.temperature)) return bad("temperature", "0 or at least 1e-38");
    if (o.top_k < 0) return bad("top_k", "0 or more");
    if (!(o.top_p > 0 && o.top_p <= 1)) return bad("top_p", "more than 0, at most 1");
    if (!(o.min_p >= 0 && o.min_p <= 1)) return bad("min_p", "0 to 1");
    if (!(o.typical_p > 0 && o.typical_p <= 1)) return bad("typical_p", "more than 0, at most 1");
    if (!(o.repetition_penalty > 0) || !std::isfinite(o.repetition_penalty))
      return bad("repetition_penalty", "more than 0");
    if (!std::isfinite(o.frequency_penalty)) return bad("frequency_penalty", "a finite number");
    if (!std::isfinite(o.presence_penalty)) return bad("presence_penalty", "a finite number");
    if (o.penalty_window < -1) return bad("penalty_window", "-1 or more");
    const auto is_token = [&](token_t id) { return id >= 0 && id < vocab_size; };
    for (const auto& [id, bias] : o.logit_bias)
      if (!is_token(id) || !(bias < std::numeric_limits<f32>::infinity()))
        return bad("logit_bias", "tokens of the vocabulary, numbers or -infinity");
    for (const token_t id : o.banned)
      if (!is_token(id)) return bad("banned", "tokens of the vocabulary");
    return {};
  }

  void adjust(std::span<f32> logits, TokenMask allowed) const noexcept {
    constexpr f32 never = -std::numeric_limits<f32>::infinity();
    for (const auto& [id, bias] : options_.logit_bias)
      if (static_cast<std::size_t>(id) < logits.size()) logits[static_cast<std::size_t>(id)] += bias;
    for (const token_t id : options_.banned)
      if (static_cast<std::size_t>(id) < logits.size()) logits[static_cast<std::size_t>(id)] = never;
    if (allowed.empty()) return;
    for (std::size_t i = 0; i < logits.size(); ++i)
      if (i / 64 >= allowed.size() || (allowed[i / 64] >> (i % 64) & 1) == 0) logits[i] = never;
  }

  void penalise(std::span<f32> logits, std::span<const token_t> history) const noexcept {
    if (counts_.size() == 0) return;
    if (options_.penalty_window >= 0)
      history = history.last(std::min(history.size(), static_cast<std::size_t>(options_.penalty_window)));
    const std::span<std::int32_t> counts(reinterpret_cast<std::int32_t*>(counts_.data()), vocab_size_);
    const auto is_token = [&](token_t id) { return id >= 0 && static_cast<std::size_t>(id) < logits.size(); };
    for (const token_t id : history)
      if (is_token(id)) ++counts[static_cast<std::size_t>(id)];
    for (const token_t id : history) {
      if (!is_token(id)) continue;
      const std::int32_t count = std::exchange(counts[static_cast<std::size_t>(id)], 0);
      if (count == 0) continue;  // done at an earlier occurrence
      f32& logit = logits[static_cast<std::size_t>(id)];
      // Products and sums that a compiler could fuse are fused explicitly, so that all compilers agree.
      const f32 subtracted = std::fma(static_cast<f32>(count), options_.frequency_penalty, options_.presence_penalty);
      logit = logit < 0 ? std::fma(logit, options_.repetition_penalty, -subtracted)
                        : logit / options_.repetition_penalty - subtracted;
    }
  }

  /// The candidates that the truncations leave, in the order of their ids.
  std::span<Candidate> truncate(std::span<const f32> logits, const Scale& scale) noexcept {
    std::span<Candidate> kept;
    const bool limits_count = options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < logits.size();
    const std::uint64_t least = share(options_.min_p, std::uint64_t{1} << 40);  // the largest weight is exactly that
    if (limits_count) {
      const auto k = static_cast<std::uint64_t>(options_.top_k);
      kept = gather(logits, scale, kth_maximum(logits.size(), static_cast<std::size_t>(options_.top_k)), bin_count - 1);
      kept = keep_best<false>(kept, k);
    }
    if (options_.top_p < 1) {
      const std::uint64_t total = limits_count ? weight_of(kept) : fill_bins(logits, scale);
      const std::uint64_t wanted = share(options_.top_p, total);
      if (!limits_count) kept = gather(logits, scale, lowest, last_bin(wanted));
      kept = keep_best<true>(kept, wanted);
    } else if (!limits_count) {
      kept = gather(logits, scale, lowest, options_.min_p > 0 ? last_bin_with(least) : bin_count - 1);
    }
    if (options_.min_p > 0) kept = keep_if(kept, [least](const Candidate& c) { return c.weight >= least; });
    if (options_.typical_p < 1) kept = keep_typical(kept, logits, scale);
    return kept;
  }

  /// The k-th largest maximum of a block: at least k logits are as large. The lowest number if there are fewer blocks.
  f32 kth_maximum(std::size_t logits, std::size_t k) noexcept {
    const std::size_t n = blocks_in(logits);
    if (k > n) return lowest;
    f32* const copy = maxima().data() + maxima().size();
    std::copy_n(maxima().data(), n, copy);
    std::nth_element(copy, copy + (k - 1), copy + n, std::greater<>());
    return copy[k - 1];
  }

  /// The least weight that is this part of a total, at least 1.
  static std::uint64_t share(f32 part, std::uint64_t total) noexcept {
    const f64 wanted = std::ceil(static_cast<f64>(part) * static_cast<f64>(total));
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, std::max<std::uint64_t>(total, 1));
  }

  // Bins of scaled logits, 1/64 wide, best first. The last holds the rest.
  static std::size_t bin_of(f32 scaled) noexcept {
    constexpr f32 per_unit = 64, last = static_cast<f32>(bin_count - 1);
    const f32 place = -scaled * per_unit;
    return place < last ? static_cast<std::size_t>(static_cast<std::int32_t>(place)) : bin_count - 1;
  }
  std::span<std::uint64_t> bins() const noexcept { return {reinterpret_cast<std::uint64_t*>(bins_.data()), bin_count}; }

  /// The bin in which the sum of weights reaches `wanted`.
  std::size_t last_bin(std::uint64_t wanted) const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < bin_count; ++i)
      if ((sum += bins()[i]) >= wanted) return i;
    return bin_count - 1;
  }
  /// The last bin that may hold a weight of at least `least`.
  static std::size_t last_bin_with(std::uint64_t least) noexcept {
    std::size_t i = 0;
    while (i + 1 < bin_count && exp_weight(static_cast<f32>(i + 1) / -64.f) >= least) ++i;
    return i;
  }
  /// Adds up weights per bin; returns their total.
  std::uint64_t fill_bins(std::span<const f32> logits, const Scale& scale) noexcept {
    const std::span<std::uint64_t> all = bins();
    std::fill(all.begin(), all.end(), std::uint64_t{0});
    for (const f32 logit : logits) {  // what cannot be chosen has weight 0
      const f32 scaled = scale(logit);
      all[bin_of(scaled)] += exp_weight(scaled);
    }
    std::uint64_t total = 0;
    for (const std::uint64_t weight : all) total += weight;
    return total;
  }
  static constexpr f32 lowest = std::numeric_limits<f32>::lowest();
  static bool is_possible(f32 logit) noexcept { return logit > -std::numeric_limits<f32>::infinity(); }

  /// Bits that order as the numbers do; -0 equals +0. Not NaN.
  static std::uint32_t rank_of(f32 x) noexcept {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x == 0 ? 0.f : x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  }

  /// All candidates with logits from `least` on, in bins up to `last`.
  std::span<Candidate> gather(std::span<const f32> logits, const Scale& scale, f32 least, std::size_t last) noexcept {
    auto* out = reinterpret_cast<Candidate*>(candidates_.data());
    std::size_t n = 0;
    for (std::size_t begin = 0; begin < logits.size(); begin += block) {
      if (maxima()[begin / block] < least || bin_of(scale(maxima()[begin / block])) > last) continue;
      for (std::size_t i = begin; i < std::min(begin + block, logits.size()); ++i) {
        if (!(logits[i] >= least)) continue;
        const f32 scaled = scale(logits[i]);
        if (bin_of(scaled) <= last) out[n++] = {rank_of(logits[i]), static_cast<token_t>(i), exp_weight(scaled)};
      }
    }
    return {out, n};
  }

  static std::uint64_t weight_of(std::span<const Candidate> candidates) noexcept {
    std::uint64_t sum = 0;
    for (const Candidate& c : candidates) sum += c.weight;
    return sum;
  }

  template <class Keep>
  static std::span<Candidate> keep_if(std::span<Candidate> candidates, Keep&& keep) noexcept {
    std::size_t n = 0;
    for (const Candidate& c : candidates)
      if (keep(c)) candidates[n++] = c;
    return candidates.first(n);
  }

  /// The best by rank, lower ids first among equals, until their count or weight reaches `wanted`. Order is kept.
  /// A radix selection: 11 bits of the rank at a time, so O(n) and without a sort.
  template <bool weighted>
  std::span<Candidate> keep_best(std::span<Candidate> candidates, std::uint64_t wanted) noexcept {
    const std::span<std::uint64_t> all = bins();
    std::uint32_t threshold = 0, known = 0;  // the bits of the threshold that are known
    std::uint64_t above = 0;                 // what lies above the threshold
    for (const int shift : {21, 10, 0}) {
      std::fill(all.begin(), all.end(), std::uint64_t{0});
      const std::uint32_t mask = shift == 0 ? 0x3FFu : 0x7FFu;
      for (const Candidate& c : candidates)
        if ((c.rank & known) == threshold) all[(c.rank >> shift) & mask] += weighted ? c.weight : 1;
      std::uint32_t digit = mask;
      while (digit != 0 && above + all[digit] < wanted) above += all[digit--];
      threshold |= digit << shift;
      known |= mask << shift;
    }
    return keep_if(candidates, [&](const Candidate& c) {
      if (c.rank != threshold) return c.rank > threshold;
      const bool keep = above < wanted;
      if (keep) above += weighted ? c.weight : 1;
      return keep;
    });
  }

  /// Those whose information lies nearest to the expected one. With log p = x - log Z, |-log p - H| = |E[x] - x|.
  std::span<Candidate> keep_typical(std::span<Candidate> candidates, std::span<const f32> logits,
                                    const Scale& scale) noexcept {
    const std::uint64_t total = weight_of(candidates);
    const auto scaled = [&](const Candidate& c) { return scale(logits[static_cast<std::size_t>(c.id)]); };
    f64 sum = 0;
    for (const Candidate& c : candidates)
      if (c.weight != 0) sum = std::fma(static_cast<f64>(c.weight), static_cast<f64>(scaled(c)), sum);
    const f64 mean = sum / static_cast<f64>(total);
    for (Candidate& c : candidates) c.rank = rank_of(static_cast<f32>(-std::fabs(mean - static_cast<f64>(scaled(c)))));
    return keep_best<true>(candidates, share(options_.typical_p, total));
  }

  /// The candidate in whose share of the total the random number falls.
  static token_t draw(std::span<const Candidate> candidates, std::uint64_t random) noexcept {
    const std::uint64_t total = weight_of(candidates);
    std::uint64_t point = high_product(random, total);  // in [0, total)
    for (const Candidate& c : candidates) {
      if (point < c.weight) return c.id;
      point -= c.weight;
    }
    return candidates.empty() ? -1 : candidates.back().id;
  }
  /// Upper 64 bits of a product.
  static std::uint64_t high_product(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t a0 = a & 0xFFFFFFFFu, a1 = a >> 32, b0 = b & 0xFFFFFFFFu, b1 = b >> 32;
    const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
    return a1 * b1 + (middle >> 32) + ((a0 * b1 + (middle & 0xFFFFFFFFu)) >> 32);
  }

  SamplerOptions options_;
  std::size_t vocab_size_ = 0;
  f32 inverse_temperature_ = 0;
  Buffer candidates_, bins_, counts_;
  Buffer maxima_;  // of blocks, and a second half to select in
};

/// A token and the natural logarithm of its probability.
struct TokenLogProbability {
  token_t id = -1;
  f32 log_probability = 0;
};

/// log softmax(logits)[id] for one token. logits as the model gave them; NaN counts as impossible. f64 inside.
inline f32 log_probability(std::span<const f32> logits, token_t id) noexcept {
  const token_t best = Sampler::argmax(logits);
  if (best < 0 || id < 0 || static_cast<std::size_t>(id) >= logits.size()) return -std::numeric_limits<f32>::infinity();
  const f64 largest = logits[static_cast<std::size_t>(best)];
  f64 sum = 0;
  for (const f32 logit : logits)
    if (logit == logit)
      sum += logit == largest ? 1.0 : static_cast<f64>(portable_exp(static_cast<f32>(logit - largest)));
  const f64 own = logits[static_cast<std::size_t>(id)];
  if (own != own) return -std::numeric_limits<f32>::infinity();
  return static_cast<f32>((own == largest ? 0.0 : own - largest) - std::log(sum));
}

/// The likeliest tokens, best first, the lower id among equals, as many as `out` holds; returns how many there are.
/// Costs one pass over the logits for each entry: meant for the few alternatives that a protocol shows.
inline std::size_t likeliest(std::span<const f32> logits, std::span<TokenLogProbability> out) noexcept {
  std::size_t n = 0;
  for (; n < out.size(); ++n) {
    token_t best = -1;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const f32 x = logits[i];
      const auto after = [&](token_t earlier) {  // in the order of the result
        const f32 y = logits[static_cast<std::size_t>(earlier)];
        return x < y || (x == y && static_cast<token_t>(i) > earlier);
      };
      if (!(x > -std::numeric_limits<f32>::infinity()) || (n > 0 && !after(out[n - 1].id))) continue;
      if (best < 0 || x > logits[static_cast<std::size_t>(best)]) best = static_cast<token_t>(i);
    }
    if (best < 0) break;
    out[n].id = best;
  }
  for (std::size_t i = 0; i < n; ++i) out[i].log_probability = log_probability(logits, out[i].id);
  return n;
}

}  // namespace tmodel::inline v0
