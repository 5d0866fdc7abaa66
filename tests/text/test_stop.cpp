// Stop rules: every split of a stop string over token borders, overlapping candidates, nothing half-printed, nothing
// held back without need.

#include <gtest/gtest.h>

#include <random>

#include "io/counted_new.hpp"
#include "tmodel/text/stop.hpp"

namespace {

using namespace tmodel;

StopStrings make(const std::vector<std::string>& strings) {
  auto stops = StopStrings::create(strings);
  EXPECT_TRUE(stops) << stops.error().message();
  return std::move(*stops);
}

/// What is shown of a text cut at the bits of `cuts`, and whether it stopped.
std::pair<std::string, bool> shown(StopStrings& stops, std::string_view text, std::uint64_t cuts) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= text.size(); ++i) {
    if (i != text.size() && (cuts >> (i - 1) & 1) == 0) continue;
    out += stops.push(text.substr(begin, i - begin));
    begin = i;
  }
  const bool stopped = stops.stopped();
  out += stops.finish();
  return {out, stopped};
}

/// The same by definition: the stop string that completes first, the longest of those.
std::pair<std::string, bool> plain(std::string_view text, const std::vector<std::string>& strings) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& s : strings)
      if (s.size() <= end && text.substr(end - s.size(), s.size()) == s) longest = std::max(longest, s.size());
    if (longest != 0) return {std::string(text.substr(0, end - longest)), true};
  }
  return {std::string(text), false};
}

TEST(StopStrings, are_found_over_every_split_into_tokens) {
  const std::vector<std::vector<std::string>> sets = {{"END"},        {"aab"},
                                                      {"abab", "ba"}, {"abc", "bcd", "c!"},
                                                      {"a"},          {"\n\nUser:", "\n\n\n"},
                                                      {"aaa", "aa"},  {"xyz", "yzx", "zxyw"}};
  const std::vector<std::string> texts = {"some END tail",  "aaaab",    "abaabab", "xabcd!", "bbba",
                                          "hi\n\nUser: no", "xyxyzxyw", "ENEND",   "no stop"};
  for (const auto& set : sets) {
    StopStrings stops = make(set);
    for (const std::string& text : texts) {
      const auto expected = plain(text, set);
      for (std::uint64_t cuts = 0; cuts<std::uint64_t{1} << (text.size() - 1); cuts += text.size()> 11 ? 7 : 1)
        ASSERT_EQ(shown(stops, text, cuts), expected) << text << " with " << set[0] << " cut as " << cuts;
    }
  }
}

TEST(StopStrings, hold_back_only_what_may_become_one) {
  StopStrings stops = make({"abcd", "bx"});
  EXPECT_EQ(stops.push("zzab"), "zz");
  EXPECT_EQ(stops.held(), 2u);
  EXPECT_EQ(stops.push("c"), "");
  EXPECT_EQ(stops.push("q"), "abcq");
  EXPECT_EQ(stops.held(), 0u);
  EXPECT_EQ(stops.push("ab"), "");
  EXPECT_EQ(stops.push("b"), "ab");  // the second b may begin bx
  EXPECT_EQ(stops.push("x more"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.push("ignored"), "");
  EXPECT_EQ(stops.finish(), "");
  EXPECT_FALSE(stops.stopped());
  EXPECT_EQ(stops.push("abc"), "");
  EXPECT_EQ(stops.finish(), "abc");
}

TEST(StopStrings, agree_with_the_definition_on_random_texts) {
  std::mt19937 random(3);
  const auto text_of = [&](std::size_t n) {
    std::string s;
    for (std::size_t i = 0; i < n; ++i) s += static_cast<char>('a' + random() % 2);
    return s;
  };
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> set;
    for (std::size_t i = 1 + random() % 4; i > 0; --i) set.push_back(text_of(2 + random() % 7));
    StopStrings stops = make(set);
    const std::string text = text_of(1 + random() % 60);
    ASSERT_EQ(shown(stops, text, random() | (std::uint64_t{random()} << 32)), plain(text, set));
  }
}

TEST(StopStrings, of_none_pass_everything) {
  StopStrings stops = make({});
  EXPECT_EQ(stops.push("abc"), "abc");
  EXPECT_EQ(stops.push(""), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, refuse_what_cannot_be_meant) {
  EXPECT_FALSE(StopStrings::create(std::vector<std::string>{"a", ""}));
  EXPECT_FALSE(StopStrings::create(std::vector<std::string>{"\xA9 begins inside a character"}));
  EXPECT_FALSE(StopStrings::create(std::vector<std::string>{std::string(max_stop_bytes + 1, 'a')}));
  EXPECT_TRUE(StopStrings::create(std::vector<std::string>{std::string(max_stop_bytes, 'a')}));
}

TEST(StopStrings, allocate_nothing_while_text_streams) {
  StopStrings stops = make({"</answer>", "<<<<<<"});
  const long before = tmodel::testing::Allocations::calls;
  std::size_t bytes = 0;
  for (int i = 0; i < 1000; ++i) bytes += stops.push("a token </ans <<<< of text").size();
  EXPECT_EQ(tmodel::testing::Allocations::calls, before);
  EXPECT_EQ(bytes, 26000u);
}

TEST(StopRules, end_at_whatever_comes_first) {
  const std::vector<token_t> ends = {7, 2};
  const std::vector<std::string> strings = {"stop"};
  int asked = 0;
  const auto over = [&](token_t id, std::string_view text) { return ++asked > 3 || id == 99 || text == "bye"; };
  auto rules = StopRules::create({.end_tokens = ends, .stop_strings = strings, .max_tokens = 4, .is_over = over});
  ASSERT_TRUE(rules);
  EXPECT_TRUE(rules->is_end(2));
  EXPECT_FALSE(rules->is_end(3));

  EXPECT_EQ(rules->push(1, "hi s").reason, StopReason::none);
  EXPECT_EQ(rules->push(7, "</s>").reason, StopReason::end_token);
  EXPECT_EQ(rules->finish(), "s");

  asked = 0;
  EXPECT_EQ(rules->push(1, "a st").text, "a ");
  const auto stopped = rules->push(1, "op b");
  EXPECT_EQ(stopped.reason, StopReason::stop_string);
  EXPECT_EQ(asked, 2);  // the token that completes a stop string too
  EXPECT_EQ(stopped.text, "");
  EXPECT_EQ(rules->finish(), "");

  asked = 0;
  EXPECT_EQ(rules->push(99, "x").reason, StopReason::caller);
  rules->finish();
  EXPECT_EQ(rules->push(1, "bye").reason, StopReason::caller);
  rules->finish();

  asked = -100;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rules->push(1, "x").reason, StopReason::none);
  EXPECT_EQ(rules->push(1, "x").reason, StopReason::max_tokens);
  EXPECT_EQ(rules->tokens(), 4);
  EXPECT_FALSE(StopRules::create({.max_tokens = -1}));
}

}  // namespace
