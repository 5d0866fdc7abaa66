// Sampling against plain implementations in f64 with full sorts, its distribution, its edge cases, and its promises:
// the same bits anywhere, no allocation while drawing.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "io/counted_new.hpp"
#include "tmodel/text/sampler.hpp"

namespace {

using namespace tmodel;

constexpr f32 inf = std::numeric_limits<f32>::infinity(), nan = std::numeric_limits<f32>::quiet_NaN();

std::vector<f32> random_logits(std::size_t n, unsigned seed, f32 deviation = 3) {
  std::mt19937 generator(seed);
  std::vector<f32> logits(n);
  for (f32& l : logits) {  // a sum of uniforms: std's distributions differ between libraries
    l = 0;
    for (int i = 0; i < 4; ++i) l += static_cast<f32>(generator() >> 8) * 0x1p-24f - 0.5f;
    l *= deviation * 1.7f;
  }
  return logits;
}

Sampler make(const SamplerOptions& options, std::size_t n) {
  auto sampler = Sampler::create(options, static_cast<int>(n));
  EXPECT_TRUE(sampler) << sampler.error().message();
  return std::move(*sampler);
}

token_t draw(Sampler& sampler, std::vector<f32> logits, std::uint64_t position, std::span<const token_t> history = {}) {
  return sampler(logits, history, {.seed = 1, .sequence = 2, .position = position});
}

/// Probabilities that the steps leave, computed plainly.
std::vector<f64> plain(const std::vector<f32>& logits, const SamplerOptions& o) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  std::vector<f64> p(logits.size(), 0);
  for (const std::size_t i : order) p[i] = std::exp((static_cast<f64>(logits[i]) - logits[order[0]]) / o.temperature);
  const auto normalise = [&] {
    const f64 sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (f64& x : p) x /= sum;
  };
  const auto keep_first = [&](const std::vector<std::size_t>& by, f64 mass) {
    f64 sum = 0;
    for (const std::size_t i : by) {
      const f64 own = p[i];
      if (sum >= mass) p[i] = 0;
      sum += own;
    }
    normalise();
  };
  if (o.top_k > 0)
    for (std::size_t i = static_cast<std::size_t>(o.top_k); i < order.size(); ++i) p[order[i]] = 0;
  normalise();
  if (o.top_p < 1) keep_first(order, o.top_p);
  const f64 largest = p[order[0]];
  for (f64& x : p)
    if (x < o.min_p * largest) x = 0;
  normalise();
  if (o.typical_p < 1) {
    f64 entropy = 0;
    for (const f64 x : p)
      if (x > 0) entropy -= x * std::log(x);
    std::vector<std::size_t> by;
    for (const std::size_t i : order)
      if (p[i] > 0) by.push_back(i);
    std::stable_sort(by.begin(), by.end(), [&](std::size_t a, std::size_t b) {
      return std::fabs(-std::log(p[a]) - entropy) < std::fabs(-std::log(p[b]) - entropy);
    });
    keep_first(by, o.typical_p);
  }
  return p;
}

TEST(PortableExp, is_within_one_unit_in_the_last_place) {
  EXPECT_EQ(portable_exp(0.f), 1.f);
  EXPECT_EQ(portable_exp(-inf), 0.f);
  EXPECT_EQ(portable_exp(inf), inf);
  EXPECT_EQ(portable_exp(100.f), inf);
  EXPECT_EQ(portable_exp(-200.f), 0.f);
  EXPECT_TRUE(std::isnan(portable_exp(nan)));
  for (f64 x = -103; x < 88.7; x += 0.0037) {
    const auto argument = static_cast<f32>(x);
    const f64 exact = std::exp(static_cast<f64>(argument));
    const auto rounded = static_cast<f32>(exact);
    const f64 unit = static_cast<f64>(std::nextafter(rounded, inf)) - static_cast<f64>(rounded);
    ASSERT_LE(std::fabs(static_cast<f64>(portable_exp(argument)) - exact), unit) << argument;
  }
}

TEST(PortableExp, has_these_bits_everywhere) {
  std::uint64_t hash = 0;
  for (int i = -3000; i < 2500; ++i)
    hash = hash * 31 + std::bit_cast<std::uint32_t>(portable_exp(static_cast<f32>(i) * 0.03125f + 0.01f));
  for (int i = 0; i < 2000; ++i) hash = hash * 31 + exp_weight(static_cast<f32>(i) * -0.015f);
  EXPECT_EQ(hash, std::uint64_t{11525672962358074513u});
  EXPECT_EQ(exp_weight(0.f), std::uint64_t{1} << 40);
  EXPECT_EQ(exp_weight(-28.6f), 0u);
  EXPECT_EQ(exp_weight(-inf), 0u);
  EXPECT_EQ(exp_weight(nan), 0u);
}

TEST(Philox, gives_the_published_vectors) {  // Random123's kat_vectors
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Greedy, takes_the_largest_logit_and_the_lowest_id_among_equals) {
  Sampler greedy = make({}, 200);
  std::vector<f32> logits(200, 0);
  EXPECT_EQ(draw(greedy, logits, 0), 0);
  logits[130] = logits[70] = logits[199] = 2;
  EXPECT_EQ(draw(greedy, logits, 0), 70);
  logits[70] = nan;
  EXPECT_EQ(draw(greedy, logits, 0), 130);
  logits[5] = inf;
  EXPECT_EQ(draw(greedy, logits, 0), 5);
  EXPECT_EQ(draw(greedy, {-1, -0.5f, -2}, 0), 1);
  EXPECT_EQ(draw(greedy, {-0.f, 0.f}, 0), 0);
  EXPECT_EQ(draw(greedy, {nan, nan}, 0), -1);
  EXPECT_EQ(draw(greedy, {-inf, nan}, 0), -1);
  EXPECT_EQ(draw(greedy, {}, 0), -1);
}

TEST(Sampler, never_chooses_what_is_not_possible) {
  for (const SamplerOptions& o :
       {SamplerOptions{.temperature = 1}, SamplerOptions{.temperature = 1, .top_k = 2},
        SamplerOptions{.temperature = 1, .top_p = 0.9f}, SamplerOptions{.temperature = 1, .min_p = 0.1f},
        SamplerOptions{.temperature = 1, .typical_p = 0.9f}, SamplerOptions{.temperature = 1e-30f}}) {
    Sampler sampler = make(o, 5);
    for (std::uint64_t i = 0; i < 200; ++i) {
      EXPECT_EQ(draw(sampler, {nan, -inf, 3, nan, -inf}, i), 2);
      EXPECT_EQ(draw(sampler, {nan, 5, 3, inf, -inf}, i), 3);
      const token_t either = draw(sampler, {inf, 5, 3, inf, nan}, i);
      EXPECT_TRUE(either == 0 || either == 3);
      EXPECT_EQ(draw(sampler, {nan, nan, -inf}, i), -1);
      EXPECT_EQ(draw(sampler, {}, i), -1);
    }
  }
}

TEST(Sampler, draws_from_the_distribution_that_its_steps_leave) {
  const std::size_t n = 300;
  for (const SamplerOptions& o :
       {SamplerOptions{.temperature = 1}, SamplerOptions{.temperature = 0.7f}, SamplerOptions{.temperature = 2},
        SamplerOptions{.temperature = 1, .top_k = 1}, SamplerOptions{.temperature = 1, .top_k = 20},
        SamplerOptions{.temperature = 1, .top_p = 0.8f}, SamplerOptions{.temperature = 1, .top_p = 0.05f},
        SamplerOptions{.temperature = 1, .min_p = 0.05f}, SamplerOptions{.temperature = 1, .typical_p = 0.6f},
        SamplerOptions{.temperature = 1.3f, .top_k = 50, .top_p = 0.9f, .min_p = 0.02f},
        SamplerOptions{.temperature = 0.9f, .top_k = 80, .top_p = 0.95f, .min_p = 0.01f, .typical_p = 0.9f}}) {
    SCOPED_TRACE(::testing::Message() << "T " << o.temperature << " k " << o.top_k << " p " << o.top_p << " m " << o.min_p
                                    << " t " << o.typical_p);
    const std::vector<f32> logits = random_logits(n, 5);
    const std::vector<f64> p = plain(logits, o);
    Sampler sampler = make(o, n);
    const int draws = 20'000;
    std::vector<int> counts(n, 0);
    for (int i = 0; i < draws; ++i) {
      const token_t id = draw(sampler, logits, static_cast<std::uint64_t>(i));
      ASSERT_GE(id, 0);
      ++counts[static_cast<std::size_t>(id)];
    }
    // Chi-square over the tokens with at least 5 expected draws, the others together.
    f64 chi = 0, rest = 0;
    int cells = 0, rest_count = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (p[i] == 0) {
        ASSERT_EQ(counts[i], 0) << i;
      }
      const f64 expected = p[i] * draws;
      if (expected < 5) {
        rest += expected;
        rest_count += counts[i];
        continue;
      }
      chi += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++cells;
    }
    if (rest > 1) {
      chi += (rest_count - rest) * (rest_count - rest) / rest;
      ++cells;
    }
    const f64 freedom = std::max(cells - 1, 1);
    EXPECT_LT(chi, freedom + 5 * std::sqrt(2 * freedom));  // five deviations: a fixed seed, so no flicker
  }
}

TEST(Sampler, keeps_exactly_the_tokens_that_a_full_sort_keeps) {
  std::mt19937 random(9);
  for (int round = 0; round < 300; ++round) {
    const std::size_t n = 1 + random() % 700;
    std::vector<f32> logits = random_logits(n, static_cast<unsigned>(random()), static_cast<f32>(random() % 5) + 0.2f);
    if (round % 3 == 0)
      for (f32& l : logits) l = std::round(l);  // many ties
    SamplerOptions o{.temperature = 1};
    o.top_k = static_cast<int>(random() % (n + 2));
    if (round % 2) o.top_p = static_cast<f32>(1 + random() % 99) / 100;
    if (round % 5 == 0) o.min_p = static_cast<f32>(random() % 50) / 100;
    const std::vector<f64> p = plain(logits, o);
    Sampler sampler = make(o, n);
    std::map<token_t, int> seen;
    for (std::uint64_t i = 0; i < 400; ++i) ++seen[draw(sampler, logits, i)];
    for (const auto& [id, count] : seen) {
      ASSERT_GE(id, 0);
      ASSERT_GT(p[static_cast<std::size_t>(id)], 0) << round;
    }
    for (std::size_t i = 0; i < n; ++i)
      if (p[i] > 0.06) {
        EXPECT_TRUE(seen.count(static_cast<token_t>(i))) << round;
      }
  }
}

TEST(Sampler, breaks_ties_in_favour_of_the_lower_id) {
  const std::vector<f32> flat(1000, 1.5f);
  Sampler top = make({.temperature = 1, .top_k = 7}, 1000);
  Sampler nucleus = make({.temperature = 1, .top_p = 0.0065f}, 1000);
  std::vector<bool> seen_top(7), seen_nucleus(7);
  for (std::uint64_t i = 0; i < 300; ++i) {
    const auto a = static_cast<std::size_t>(draw(top, flat, i)), b = static_cast<std::size_t>(draw(nucleus, flat, i));
    ASSERT_LT(a, 7u);
    ASSERT_LT(b, 7u);
    seen_top[a] = seen_nucleus[b] = true;
  }
  EXPECT_EQ(seen_top, std::vector<bool>(7, true));
  EXPECT_EQ(seen_nucleus, std::vector<bool>(7, true));
}

TEST(Sampler, applies_bias_bans_and_masks_first) {
  const std::vector<f32> logits = {1, 5, 3, 2, 0};
  Sampler banned = make({.banned = {1, 2}}, 5);
  EXPECT_EQ(draw(banned, logits, 0), 3);
  Sampler biased = make({.logit_bias = {{4, 10.f}, {1, -inf}}}, 5);
  EXPECT_EQ(draw(biased, logits, 0), 4);
  Sampler random = make({.temperature = 1, .banned = {0, 1, 2, 3}}, 5);
  EXPECT_EQ(draw(random, logits, 0), 4);
  Sampler plain_greedy = make({}, 100);
  std::vector<f32> many(100, 0);
  many[70] = 1;
  const std::uint64_t allowed[] = {0b1000, 0};
  EXPECT_EQ(plain_greedy(many, {}, {}, allowed), 3);
  const std::uint64_t first_word_only[] = {0b10000};
  EXPECT_EQ(plain_greedy(many, {}, {}, first_word_only), -1);  // 4 went with the first mask: logits are overwritten
}

TEST(Sampler, penalises_what_stands_in_the_window) {
  const std::vector<f32> logits = {2, -2, 1.5f, 0, 0};
  const std::vector<token_t> history = {0, 1, 0, 99, -1};
  const auto after = [&](const SamplerOptions& o) {
    Sampler sampler = make(o, 5);
    std::vector<f32> changed = logits;
    sampler(changed, history, {});
    std::vector<f32> again = logits;
    sampler(again, history, {});
    EXPECT_EQ(changed, again);  // the counts are clean after each draw
    return changed;
  };
  EXPECT_EQ(after({.repetition_penalty = 2}), (std::vector<f32>{1, -4, 1.5f, 0, 0}));
  EXPECT_EQ(after({.frequency_penalty = 0.5f}), (std::vector<f32>{1, -2.5f, 1.5f, 0, 0}));
  EXPECT_EQ(after({.presence_penalty = 0.5f}), (std::vector<f32>{1.5f, -2.5f, 1.5f, 0, 0}));
  EXPECT_EQ(after({.repetition_penalty = 2, .frequency_penalty = 0.5f, .presence_penalty = 0.25f}),
            (std::vector<f32>{-0.25f, -4.75f, 1.5f, 0, 0}));
  EXPECT_EQ(after({.presence_penalty = 0.5f, .penalty_window = 3}), (std::vector<f32>{1.5f, -2, 1.5f, 0, 0}));
  EXPECT_EQ(after({.presence_penalty = 0.5f, .penalty_window = 0}), logits);
}

TEST(Sampler, gives_these_tokens_for_this_seed_everywhere) {
  const std::vector<f32> logits = random_logits(32000, 3);
  std::uint64_t hash = 0;
  for (const SamplerOptions& o :
       {SamplerOptions{.temperature = 0.8f}, SamplerOptions{.temperature = 0.8f, .top_k = 40},
        SamplerOptions{.temperature = 0.8f, .top_p = 0.95f}, SamplerOptions{.temperature = 0.8f, .typical_p = 0.9f},
        SamplerOptions{.temperature = 1.1f,
        .top_k = 100,
        .top_p = 0.9f,
        .min_p = 0.05f,
        .repetition_penalty = 1.1f,
        .frequency_penalty = 0.3f}}) {
    Sampler sampler = make(o, logits.size());
    std::vector<token_t> history;
    for (std::uint64_t i = 0; i < 60; ++i) {
      history.push_back(draw(sampler, logits, i, history));
      hash = hash * 1000003 + static_cast<std::uint64_t>(history.back());
    }
  }
  EXPECT_EQ(hash, std::uint64_t{3616897548951641107u});
}

TEST(Sampler, depends_on_seed_sequence_and_position) {
  const std::vector<f32> logits = random_logits(5000, 4, 1);
  Sampler sampler = make({.temperature = 1}, logits.size());
  const auto at = [&](DrawKey key) {
    std::vector<f32> copy = logits;
    return sampler(copy, {}, key);
  };
  const token_t first = at({1, 2, 3});
  EXPECT_EQ(at({1, 2, 3}), first);
  int differ = 0;
  for (std::uint64_t i = 4; i < 12; ++i)
    differ += (at({i, 2, 3}) != first) + (at({1, i, 3}) != first) + (at({1, 2, i}) != first) +
              (at({1, 2, 3 | (i << 32)}) != first);
  EXPECT_GE(differ, 31);
}

TEST(Sampler, allocates_nothing_while_it_draws) {
  const std::vector<f32> logits = random_logits(2000, 6);
  Sampler sampler = make(
      {.temperature = 1, .top_k = 50, .top_p = 0.9f, .min_p = 0.01f, .typical_p = 0.9f, .repetition_penalty = 1.2f},
      2000);
  std::vector<f32> copy(2000);
  const std::vector<token_t> history = {1, 2, 3, 1};
  const long before = tmodel::testing::Allocations::calls;
  token_t sum = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    std::copy(logits.begin(), logits.end(), copy.begin());
    sum += sampler(copy, history, {.seed = i});
  }
  EXPECT_EQ(tmodel::testing::Allocations::calls, before);
  EXPECT_GT(sum, 0);
}

TEST(Sampler, refuses_options_that_cannot_be_meant) {
  const std::vector<SamplerOptions> bad = {{.temperature = -1},
                                           {.temperature = nan},
                                           {.temperature = inf},
                                           {.temperature = 1e-45f},
                                           {.top_k = -1},
                                           {.top_p = 0},
                                           {.top_p = 1.1f},
                                           {.top_p = nan},
                                           {.min_p = -0.1f},
                                           {.min_p = 2},
                                           {.min_p = nan},
                                           {.typical_p = 0},
                                           {.repetition_penalty = 0},
                                           {.repetition_penalty = nan},
                                           {.frequency_penalty = inf},
                                           {.presence_penalty = nan},
                                           {.penalty_window = -2},
                                           {.logit_bias = {{100, 1.f}}},
                                           {.logit_bias = {{-1, 1.f}}},
                                           {.logit_bias = {{1, nan}}},
                                           {.logit_bias = {{1, inf}}},
                                           {.banned = {100}},
                                           {.banned = {-1}}};
  for (std::size_t i = 0; i < bad.size(); ++i) {
    auto sampler = Sampler::create(bad[i], 100);
    ASSERT_FALSE(sampler) << i;
    EXPECT_EQ(sampler.error().code, Errc::bad_argument);
  }
  EXPECT_FALSE(Sampler::create({}, 0));
  EXPECT_FALSE(Sampler::create({}, max_sampled_vocab + 1));
}

TEST(LogProbabilities, are_those_of_softmax) {
  const std::vector<f32> logits = random_logits(1000, 8);
  f64 sum = 0;
  for (const f32 l : logits) sum += std::exp(static_cast<f64>(l));
  for (const token_t id : {0, 17, 999})
    EXPECT_NEAR(log_probability(logits, id), static_cast<f64>(logits[static_cast<std::size_t>(id)]) - std::log(sum),
                1e-5);
  std::vector<TokenLogProbability> best(5);
  ASSERT_EQ(likeliest(logits, best), 5u);
  EXPECT_EQ(best[0].id, Sampler::argmax(logits));
  for (std::size_t i = 1; i < 5; ++i) EXPECT_GE(best[i - 1].log_probability, best[i].log_probability);
  const std::vector<f32> ties = {1, 2, nan, 2, -inf};
  ASSERT_EQ(likeliest(ties, best), 3u);
  EXPECT_EQ(best[0].id, 1);
  EXPECT_EQ(best[1].id, 3);
  EXPECT_EQ(best[2].id, 0);
  EXPECT_EQ(log_probability(ties, 4), -inf);
  EXPECT_EQ(log_probability(ties, 2), -inf);
  EXPECT_EQ(log_probability(ties, 7), -inf);
}

}  // namespace
