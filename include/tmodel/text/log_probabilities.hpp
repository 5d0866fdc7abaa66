#pragma once
// Log-probabilities of one step and its likeliest tokens: log softmax of the logits as the model gave them, before any
// step of sampling, which is also what llama.cpp's server reports by default. The same bits on every machine.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "tmodel/text/token_weights.hpp"

namespace tmodel::inline v0 {

/// A token and the natural logarithm of its probability.
struct TokenLogProbability {
  token_t id = -1;
  f32 log_probability = 0;
};

/// Reads the logits of a step before a sampler overwrites them. After create() it allocates nothing.
class LogProbabilities {
 public:
  /// `alternatives`: how many of the likeliest tokens to find. Errors: bad_argument, out_of_memory.
  static expected<LogProbabilities> create(int vocab_size, int alternatives) {
    return guard([&]() -> expected<LogProbabilities> {
      if (vocab_size < 1 || vocab_size > max_sampled_vocab)
        return fail(Errc::bad_argument, "size of the vocabulary", "log-probabilities", "1 to 2^23",
                    std::to_string(vocab_size));
      if (alternatives < 0 || alternatives > vocab_size)
        return fail(Errc::bad_argument, "number of alternatives", "log-probabilities",
                    "0 to " + std::to_string(vocab_size), std::to_string(alternatives));
      LogProbabilities p;
      TMODEL_TRY(p.logits_, Buffer::allocate(static_cast<std::size_t>(vocab_size) * sizeof(f32)));
      p.likeliest_.reserve(static_cast<std::size_t>(alternatives) + 1);
      p.alternatives_ = static_cast<std::size_t>(alternatives);
      return p;
    });
  }

  /// Takes the logits [at most vocab_size].
  void read(std::span<const f32> logits) noexcept {
    size_ = std::min(logits.size(), logits_.size() / sizeof(f32));
    std::copy_n(logits.data(), size_, reinterpret_cast<f32*>(logits_.data()));
    const sampler_parts::BlockedLogits blocked(own());
    largest_ = -sampler_parts::infinity;
    likeliest_.clear();
    for (std::size_t i = 0; i < blocked.blocks(); ++i) {
      const f32 largest = sampler_parts::largest_of(blocked[i]);
      largest_ = std::max(largest_, largest);
      if (alternatives_ > 0 && joins_likeliest(largest)) find_likeliest(blocked[i], i * sampler_parts::block);
    }
    if (largest_ == -sampler_parts::infinity) return;

    const sampler_parts::Scale scale{largest_, sampler_parts::log2_e};
    std::uint64_t total = 0;
    alignas(cache_line) std::array<std::uint64_t, sampler_parts::block> weights;
    for (std::size_t i = 0; i < blocked.blocks(); ++i) total += sampler_parts::weigh(blocked[i], scale, weights.data());
    log2_total_ = log2_of(total) - weight_bits;
    for (TokenLogProbability& t : likeliest_) t.log_probability = of(t.id);
  }

  /// Of a token; -infinity if it is impossible.
  f32 of(token_t id) const noexcept {
    if (id < 0 || static_cast<std::size_t>(id) >= size_) return -sampler_parts::infinity;
    const f32 logit = own()[static_cast<std::size_t>(id)];
    if (!(logit > -sampler_parts::infinity)) return -sampler_parts::infinity;
    const f64 relative = logit == largest_ ? 0.0 : static_cast<f64>(logit) - static_cast<f64>(largest_);
    constexpr f64 ln2 = 0.69314718055994531;
    return static_cast<f32>(std::fma(-log2_total_, ln2, relative));
  }
  /// The likeliest, best first, the lower id first among equals; fewer than asked for if fewer are possible.
  std::span<const TokenLogProbability> likeliest() const noexcept { return likeliest_; }

 private:
  LogProbabilities() = default;
  std::span<const f32> own() const noexcept { return {reinterpret_cast<const f32*>(logits_.data()), size_}; }

  // While logits are read, log_probability holds the logit.
  bool joins_likeliest(f32 logit) const noexcept {
    return logit > (likeliest_.size() < alternatives_ ? -sampler_parts::infinity : likeliest_.back().log_probability);
  }
  void find_likeliest(const f32* logits, std::size_t first_id) noexcept {
    for (std::size_t j = 0; j < sampler_parts::block; ++j) {
      if (!joins_likeliest(logits[j])) continue;
      const auto worse = [](f32 logit, const TokenLogProbability& t) { return logit > t.log_probability; };
      const auto at = std::upper_bound(likeliest_.begin(), likeliest_.end(), logits[j], worse);
      likeliest_.insert(at, {static_cast<token_t>(first_id + j), logits[j]});  // room was reserved
      if (likeliest_.size() > alternatives_) likeliest_.pop_back();
    }
  }

  Buffer logits_;
  std::size_t size_ = 0, alternatives_ = 0;
  f32 largest_ = -sampler_parts::infinity;
  f64 log2_total_ = 0;
  std::vector<TokenLogProbability> likeliest_;
};

}  // namespace tmodel::inline v0
