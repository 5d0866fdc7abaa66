// Sampling against plain implementations with full sorts: in f64 for its distribution, in integers for the very token.
// Its edge cases, and no allocation while drawing. (The same tokens anywhere: tests/model/test_same_bits.cpp.)

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "io/counted_new.hpp"
#include "tmodel/text/log_probabilities.hpp"
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

/// The token that the documented steps choose, with full sorts over all tokens.
token_t plain_choice(const std::vector<f32>& logits, const SamplerOptions& o, const DrawKey& key) {
  const auto at = [](auto& of, token_t id) -> auto& { return of[static_cast<std::size_t>(id)]; };
  f32 largest = -inf;
  for (const f32 l : logits) largest = l > largest ? l : largest;
  std::vector<std::int32_t> octaves(logits.size(), vanishing_octaves);
  std::vector<std::uint64_t> weights(logits.size());
  std::vector<token_t> kept;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const f32 below = (largest - logits[i]) * (sampler_parts::log2_e / o.temperature);
    if (logits[i] == largest)
      octaves[i] = 0;
    else if (below < 41)
      octaves[i] = static_cast<std::int32_t>(below * 0x1p25f);
    weights[i] = exp2_weight(octaves[i]);
    if (logits[i] > -inf) kept.push_back(static_cast<token_t>(i));
  }
  const auto total = [&] {
    std::uint64_t sum = 0;
    for (const token_t id : kept) sum += at(weights, id);
    return sum;
  };
  const auto keep_mass = [&](f32 part) {
    const f64 wanted = std::max(1.0, std::ceil(static_cast<f64>(part) * static_cast<f64>(total())));
    std::uint64_t sum = 0;
    std::size_t n = 0;
    while (n < kept.size() && static_cast<f64>(sum) < wanted) sum += at(weights, kept[n++]);
    kept.resize(n);
  };
  std::stable_sort(kept.begin(), kept.end(), [&](token_t a, token_t b) { return at(logits, a) > at(logits, b); });
  if (o.top_k > 0 && static_cast<std::size_t>(o.top_k) < kept.size()) kept.resize(static_cast<std::size_t>(o.top_k));
  if (o.top_p < 1) keep_mass(o.top_p);
  const f64 least = std::max(1.0, std::ceil(static_cast<f64>(o.min_p) * 0x1p40));
  if (o.min_p > 0) std::erase_if(kept, [&](token_t id) { return static_cast<f64>(at(weights, id)) < least; });
  if (o.typical_p < 1) {
    f64 moments = 0;
    for (const token_t id : kept) moments += static_cast<f64>(at(weights, id)) * static_cast<f64>(at(octaves, id));
    const f64 mean = moments / static_cast<f64>(total());
    const auto distance = [&](token_t id) { return std::fabs(static_cast<f64>(at(octaves, id)) - mean); };
    std::sort(kept.begin(), kept.end());
    std::stable_sort(kept.begin(), kept.end(), [&](token_t a, token_t b) { return distance(a) < distance(b); });
    keep_mass(o.typical_p);
  }
  std::sort(kept.begin(), kept.end());
  std::uint64_t point = high_product(draw_bits(key), total());
  for (const token_t id : kept) {
    if (point < at(weights, id)) return id;
    point -= at(weights, id);
  }
  return -1;
}

TEST(Weights, are_powers_of_two) {
  EXPECT_EQ(exp2_weight(0), std::uint64_t{1} << 40);
  EXPECT_EQ(exp2_weight(1 << 25), std::uint64_t{1} << 39);
  EXPECT_EQ(exp2_weight(vanishing_octaves), 0u);
  EXPECT_EQ(exp2_weight(vanishing_octaves - 1), 1u);
  EXPECT_EQ(fixed_octaves(inf), vanishing_octaves);
  EXPECT_EQ(fixed_octaves(nan), vanishing_octaves);
  EXPECT_EQ(fixed_octaves(-nan), vanishing_octaves);
  EXPECT_EQ(fixed_octaves(40.99999f), static_cast<std::int32_t>(40.99999f * 0x1p25f));
  std::uint64_t before = exp2_weight(0);
  for (std::int32_t octaves = 0; octaves < vanishing_octaves; octaves += octaves < 5000 ? 1 : 4999) {
    const std::uint64_t weight = exp2_weight(octaves);
    const f64 exact = std::exp2(40 - static_cast<f64>(octaves) * 0x1p-25);
    ASSERT_LE(std::fabs(static_cast<f64>(weight) - exact), 0.5 + 1.1e-7 * exact) << octaves;
    ASSERT_LE(weight, before) << octaves;
    before = weight;
  }
  for (int whole = 0; whole < 41; ++whole)  // where pieces of the polynomial meet
    for (std::int32_t i = -2000; i < 2000; ++i) {
      const std::int32_t octaves = std::max((whole << 25) + i, 1);
      ASSERT_LE(exp2_weight(octaves), exp2_weight(octaves - 1)) << octaves;
    }
}

TEST(Weights, have_a_logarithm) {
  for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, std::uint64_t{1} << 40,
                                (std::uint64_t{1} << 40) + 1, std::uint64_t{0x123456789ABCDEF}, ~std::uint64_t{0}}) {
    EXPECT_LE(log2_of(n), std::log2(static_cast<f64>(n)) + 1e-14) << n;
    EXPECT_NEAR(log2_of(n), std::log2(static_cast<f64>(n)), 0x1p-31) << n;
  }
}

// The lines "philox4x32 10" of tests/kat_vectors in Random123, the authors' own implementation.
TEST(Philox, gives_the_published_vectors) {
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
        SamplerOptions{.temperature = 1, .top_p = 0.9f, .min_p = 0.1f},
        SamplerOptions{.temperature = 1, .top_k = 30, .min_p = 0.1f},
        SamplerOptions{.temperature = 1, .top_k = 30, .top_p = 0.7f},
        SamplerOptions{.temperature = 1, .top_k = 30, .typical_p = 0.7f},
        SamplerOptions{.temperature = 1, .top_p = 0.8f, .typical_p = 0.7f},
        SamplerOptions{.temperature = 2, .min_p = 0.05f, .typical_p = 0.7f},
        SamplerOptions{.temperature = 0.9f, .top_k = 80, .top_p = 0.95f, .min_p = 0.01f, .typical_p = 0.9f}}) {
    SCOPED_TRACE(::testing::Message() << "T " << o.temperature << " k " << o.top_k << " p " << o.top_p << " m "
                                      << o.min_p << " t " << o.typical_p);
    const std::vector<f32> logits = random_logits(n, 5);
    const std::vector<f64> p = plain(logits, o);
    Sampler sampler = make(o, n);
    const int draws = 5'000;
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

/// Options that a seed chooses, each truncation in about half of the cases.
SamplerOptions some_options(std::mt19937& random, std::size_t n) {
  SamplerOptions o{.temperature = static_cast<f32>(1 + random() % 30) / 10};
  const auto part = [&] { return static_cast<f32>(1 + random() % 999) / 1000; };
  if (random() % 2) o.top_k = static_cast<int>(random() % (random() % 2 ? n + 2 : 60));
  if (random() % 2) o.top_p = part();
  if (random() % 2) o.min_p = part() * part() * part();
  if (random() % 2) o.typical_p = part();
  return o;
}

TEST(Sampler, chooses_the_token_that_full_sorts_choose) {
  std::mt19937 random(9);
  for (int round = 0; round < 300; ++round) {
    // Up to 16,000 tokens: many blocks, so that the guesses about the best ones count.
    const std::size_t n = 1 + random() % (round % 20 == 0 ? 16'000 : 900);
    std::vector<f32> logits = random_logits(n, static_cast<unsigned>(random()), static_cast<f32>(random() % 5) + 0.05f);
    switch (round % 5) {
      case 0:
        for (f32& l : logits) l = std::round(l * 2) / 2;  // many ties
        break;
      case 1:
        for (int i = 0; i < 20; ++i) logits[random() % n] += 12;  // as of a model that is sure
        break;
      case 2:
        for (f32& l : logits)
          if (random() % 3 == 0) l = random() % 2 ? -inf : nan;
        logits[random() % n] = 0.25f;
        break;
      case 3:
        for (f32& l : logits) l = l < 0 ? -0.f : 0.f;  // two kinds of zero are one number
        break;
      default:
        break;
    }
    const SamplerOptions o = some_options(random, n);
    Sampler sampler = make(o, n);
    for (std::uint64_t i = 0; i < 20; ++i)
      ASSERT_EQ(draw(sampler, logits, i), plain_choice(logits, o, {.seed = 1, .sequence = 2, .position = i}))
          << "round " << round << " n " << n << " T " << o.temperature << " k " << o.top_k << " p " << o.top_p << " m "
          << o.min_p << " t " << o.typical_p;
  }
}

TEST(Sampler, takes_extreme_temperatures_and_logits) {
  const std::vector<f32> logits = random_logits(500, 12);
  const token_t best = Sampler::argmax(logits);
  Sampler cold = make({.temperature = 1e-6f}, 500), coldest = make({.temperature = 5e-39f}, 500);
  Sampler hottest = make({.temperature = 3e38f}, 500), only_best = make({.temperature = 1e30f, .top_k = 1}, 500);
  std::vector<int> seen(500);
  for (std::uint64_t i = 0; i < 5000; ++i) {
    EXPECT_EQ(draw(cold, logits, i), best);
    EXPECT_EQ(draw(coldest, logits, i), best);
    EXPECT_EQ(draw(only_best, logits, i), best);
    ++seen[static_cast<std::size_t>(draw(hottest, logits, i))];
  }
  f64 chi = 0;
  for (const int n : seen) chi += (n - 10) * (n - 10) / 10.0;
  EXPECT_LT(chi, 499 + 5 * std::sqrt(2 * 499.0));  // even
  Sampler warm = make({.temperature = 1, .top_p = 0.9f, .typical_p = 0.9f}, 4);
  EXPECT_EQ(draw(warm, {3e38f, -3e38f, 1, 2}, 0), 0);
  EXPECT_EQ(draw(warm, {-3e38f, -inf, -3.4e38f, nan}, 0), 0);
  EXPECT_EQ(draw(warm, {-inf, -inf, -inf, -3e38f}, 0), 3);
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
  std::vector<f32> ones(131, 1), masked = ones;
  const std::uint64_t three_words[] = {~std::uint64_t{0}, 0, 0b100};
  apply_mask(masked, three_words);
  for (std::size_t i = 0; i < 131; ++i) EXPECT_EQ(masked[i], i < 64 || i == 130 ? 1 : -inf) << i;
  apply_mask(ones, {});
  EXPECT_EQ(ones, std::vector<f32>(131, 1));
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
  for (const std::size_t n : {std::size_t{1}, std::size_t{64}, std::size_t{1000}, std::size_t{20'000}}) {
    const std::vector<f32> logits = random_logits(n, 8);
    f64 sum = 0;
    for (const f32 l : logits) sum += std::exp(static_cast<f64>(l));
    std::vector<token_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    const auto logit = [&](token_t id) { return logits[static_cast<std::size_t>(id)]; };
    std::stable_sort(order.begin(), order.end(), [&](token_t a, token_t b) { return logit(a) > logit(b); });
    for (const int alternatives : {0, 1, 5, 20}) {
      if (static_cast<std::size_t>(alternatives) > n) continue;
      auto p = LogProbabilities::create(static_cast<int>(n), alternatives);
      ASSERT_TRUE(p);
      p->read(logits);
      for (std::size_t i = 0; i < n; i += 17) {
        const f64 exact = static_cast<f64>(logits[i]) - std::log(sum);
        ASSERT_NEAR(p->of(static_cast<token_t>(i)), exact, 2e-7 + 1e-7 * std::fabs(exact));
      }
      ASSERT_EQ(p->likeliest().size(), static_cast<std::size_t>(alternatives));
      for (std::size_t i = 0; i < p->likeliest().size(); ++i) {
        EXPECT_EQ(p->likeliest()[i].id, order[i]);
        EXPECT_EQ(p->likeliest()[i].log_probability, p->of(order[i]));
      }
    }
  }
}

TEST(LogProbabilities, have_edges) {
  auto p = LogProbabilities::create(5, 5);
  ASSERT_TRUE(p);
  p->read(std::vector<f32>{1, 2, nan, 2, -inf});
  ASSERT_EQ(p->likeliest().size(), 3u);
  EXPECT_EQ(p->likeliest()[0].id, 1);  // the lower id first
  EXPECT_EQ(p->likeliest()[1].id, 3);
  EXPECT_EQ(p->likeliest()[2].id, 0);
  EXPECT_NEAR(p->of(3), -std::log(2 + std::exp(-1.0)), 1e-6);
  for (const token_t id : {2, 4, 5, -1}) EXPECT_EQ(p->of(id), -inf);
  p->read(std::vector<f32>{7, inf, inf});
  EXPECT_NEAR(p->of(2), -std::log(2.0), 1e-6);
  EXPECT_EQ(p->of(0), -inf);
  EXPECT_EQ(p->likeliest().size(), 3u);
  p->read(std::vector<f32>{nan, -inf});
  EXPECT_TRUE(p->likeliest().empty());
  EXPECT_EQ(p->of(0), -inf);
  p->read({});
  EXPECT_TRUE(p->likeliest().empty());
  p->read(std::vector<f32>{0, -100, -3e38f});  // far below the smallest weight
  EXPECT_EQ(p->of(0), 0);
  EXPECT_EQ(p->of(1), -100);
  EXPECT_EQ(p->of(2), -3e38f);
  EXPECT_FALSE(LogProbabilities::create(0, 0));
  EXPECT_FALSE(LogProbabilities::create(10, -1));
  EXPECT_FALSE(LogProbabilities::create(10, 11));

  const std::vector<f32> logits = random_logits(3000, 2);
  auto many = LogProbabilities::create(3000, 20);
  const long before = tmodel::testing::Allocations::calls;
  for (int i = 0; i < 5; ++i) many->read(logits);
  EXPECT_EQ(tmodel::testing::Allocations::calls, before);
}

}  // namespace
