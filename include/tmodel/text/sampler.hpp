#pragma once
// Sampling: logits -> one token, by steps in this order: logit bias, banned tokens and mask; repetition, frequency and
// presence penalties; temperature; top-k; top-p; min-p; typical; a draw. Each truncation works on the distribution that
// the steps before it left, renormalised, as transformers' logits processors do.
// Sources: Keskar et al. 2019 (repetition penalty), the OpenAI API reference (frequency, presence), Holtzman et al.
// 2020 (top-p), Meister et al. 2023 (typical), Nguyen et al. 2024 (min-p). Weights are integers (token_weights.hpp), so
// sums do not depend on their order: the same logits give the same token anywhere.

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "tmodel/text/philox.hpp"
#include "tmodel/text/token_weights.hpp"

namespace tmodel::inline v0 {

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

/// Forbids what a mask does not allow.
inline void apply_mask(std::span<f32> logits, TokenMask allowed) noexcept {
  if (allowed.empty()) return;
  constexpr f32 never = -std::numeric_limits<f32>::infinity();
  for (std::size_t begin = 0; begin < logits.size(); begin += 64) {
    const std::uint64_t word = begin / 64 < allowed.size() ? allowed[begin / 64] : 0;
    const std::span<f32> part = logits.subspan(begin, std::min<std::size_t>(64, logits.size() - begin));
    if (word == 0)
      std::fill(part.begin(), part.end(), never);
    else if (~word != 0)
      for (std::size_t i = 0; i < part.size(); ++i)
        if ((word >> i & 1) == 0) part[i] = never;
  }
}

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
        TMODEL_TRY(sampler.weights_, sampler_parts::TokenWeights::create(n));
        sampler.octaves_per_unit_ = sampler_parts::log2_e / options.temperature;
      }
      if (options.repetition_penalty != 1 || options.frequency_penalty != 0 || options.presence_penalty != 0) {
        TMODEL_TRY(sampler.counts_, Buffer::allocate(n * sizeof(std::int32_t)));
      }
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
    adjust(logits);
    apply_mask(logits, allowed);
    penalise(logits, history);
    if (options_.temperature <= 0) return argmax(logits);

    const sampler_parts::BlockedLogits blocked(logits);
    const bool limits_count = options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < logits.size();
    if (!weights_.read(blocked, octaves_per_unit_, limits_count ? options_.top_k : 0, reach())) return -1;
    if (limits_count) weights_.keep_likeliest(static_cast<std::uint64_t>(options_.top_k));
    if (options_.top_p < 1) weights_.keep_mass(options_.top_p);
    if (options_.min_p > 0) weights_.keep_near_best(options_.min_p);
    if (options_.typical_p < 1) weights_.keep_typical(options_.typical_p);
    return weights_.draw(draw_bits(key));
  }

  /// Index of the largest logit, the lowest among equals; NaN does not count. -1: there is none above -infinity.
  static token_t argmax(std::span<const f32> logits) noexcept {
    const sampler_parts::BlockedLogits blocked(logits);
    f32 best = -std::numeric_limits<f32>::infinity();
    std::size_t where = blocked.blocks();
    for (std::size_t i = 0; i < blocked.blocks(); ++i)
      if (const f32 largest = sampler_parts::largest_of(blocked[i]); largest > best) best = largest, where = i;
    if (where == blocked.blocks()) return -1;
    const f32* const found = std::find(blocked[where], blocked[where] + sampler_parts::block, best);
    return static_cast<token_t>(where * sampler_parts::block + static_cast<std::size_t>(found - blocked[where]));
  }

 private:
  static expected<void> check(const SamplerOptions& o, int vocab_size) {
    const auto bad = [](const char* name, const char* range) {
      return fail(Errc::bad_argument, std::string("sampling option ") + name + " is out of range", name, range);
    };
    if (vocab_size < 1 || vocab_size > max_sampled_vocab) return bad("vocab_size", "1 to 2^23");
    if (!(o.temperature >= 0) || !std::isfinite(o.temperature)) return bad("temperature", "0 or more");
    if (o.temperature > 0 && !std::isfinite(sampler_parts::log2_e / o.temperature))
      return bad("temperature", "0 or at least 1e-38");
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

  void adjust(std::span<f32> logits) const noexcept {
    for (const auto& [id, bias] : options_.logit_bias)
      if (static_cast<std::size_t>(id) < logits.size()) logits[static_cast<std::size_t>(id)] += bias;
    for (const token_t id : options_.banned)
      if (static_cast<std::size_t>(id) < logits.size())
        logits[static_cast<std::size_t>(id)] = -std::numeric_limits<f32>::infinity();
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

  /// Octaves under the likeliest token within which the first truncation surely stays; weights vanish beyond 41.
  f32 reach() const noexcept {
    constexpr f32 all = weight_bits + 1.5f, slack = 0.5f;
    const bool near_best_first = options_.min_p > 0 && options_.top_p >= 1;
    return near_best_first ? std::min(all, slack - std::log2(options_.min_p)) : all;
  }

  SamplerOptions options_;
  std::size_t vocab_size_ = 0;
  f32 octaves_per_unit_ = 0;
  sampler_parts::TokenWeights weights_;
  Buffer counts_;
};

}  // namespace tmodel::inline v0
