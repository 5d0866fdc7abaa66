// A chat's history: what leaves it when the context is short, and that it is as before after an error.

#include <gtest/gtest.h>

#include <numeric>

#include "io/tiny_files.hpp"
#include "tmodel/backends/reference.hpp"
#include "tmodel/chat.hpp"
#include "tmodel/families/llama.hpp"

namespace {

using namespace tmodel;

using ChatBackend = Reference<f32>;
using ChatModel = Transformer<LlamaTraits, ChatBackend>;

/// Bytes are tokens, so that sizes are easy to foresee: a message costs its text and four tokens, a prompt one token
/// more for the space that this kind of tokenizer puts in front.
constexpr const char* markers = "{% for m in messages %}<{{ m['role'][0] }}:{{ m['content'] }}>{% endfor %}";
constexpr std::size_t around = 4;

class ChatTest : public ::testing::Test {
 protected:
  std::string file = tmodel::testing::tiny_gguf().build();
  ChatModel model = load();

  ChatModel load() {
    auto loaded =
        ChatModel::load(tmodel::testing::bytes_of(file), {.text = TextUse::required}, {.executor = {}, .threads = 1});
    EXPECT_TRUE(loaded) << loaded.error().message();
    if (!loaded) std::exit(1);
    return std::move(*loaded);
  }
  Chat<ChatBackend> open(ChatOptions o = {}) {
    if (o.chat_template.empty()) o.chat_template = markers;
    if (o.max_tokens == 0) o.max_tokens = 1;
    auto opened = chat(model, std::move(o));
    EXPECT_TRUE(opened) << opened.error().message();
    if (!opened) std::exit(1);
    return std::move(*opened);
  }
  static ChatOptions with_context(int context, int answer_room = 1) {
    ChatOptions o;
    o.session = {.context = context};
    o.answer_room = answer_room;
    return o;
  }
};

std::string roles(const std::vector<Message>& messages) {
  std::string out;
  for (const Message& m : messages) out += m.role[0];
  return out;
}
std::string questions(const std::vector<Message>& messages) {
  std::string out;
  for (const Message& m : messages)
    if (m.role == "user") out += m.content[0];
  return out;
}
bool same(const std::vector<Message>& a, const std::vector<Message>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Message& x, const Message& y) { return x.role == y.role && x.content == y.content; });
}

TEST_F(ChatTest, old_turns_leave_whole_and_the_answer_is_that_of_the_shorter_history) {
  ChatOptions o = with_context(200, 20);
  o.system_prompt = "SYS";
  auto c = open(o);
  int dropped = 0, told = 0;
  for (char name = 'a'; name <= 'z'; ++name) {
    const std::string question(30, name);
    const std::vector<Message> before = c.messages();
    const auto note = [&](int messages) { told += messages; };
    const auto answer = c.ask(question, {.on_drop = note});
    ASSERT_TRUE(answer) << answer.error().message();
    dropped += answer->dropped_messages;
    EXPECT_EQ(dropped, told);
    EXPECT_EQ(answer->dropped_messages % 2, 0) << "a turn is a question and its answer";
    EXPECT_EQ(answer->cached_tokens + answer->generation.prompt_tokens, c.session().length())
        << "one token, not appended";
    EXPECT_EQ(c.messages().size() + static_cast<std::size_t>(answer->dropped_messages), before.size() + 2);
    ASSERT_EQ(c.messages()[0].content, "SYS");
    EXPECT_EQ(c.messages()[c.messages().size() - 2].content, question);
    EXPECT_GE(questions(c.messages()).size(), name > 'a' ? 2u : 1u)
        << "the turn before the question stays while it fits";

    // A chat that never knew the dropped turns gives the same answer.
    auto fresh = open(o);
    fresh.messages() = {c.messages().begin(), c.messages().end() - 2};
    const auto same_answer = fresh.ask(question);
    ASSERT_TRUE(same_answer);
    EXPECT_EQ(same_answer->text, answer->text);
    EXPECT_EQ(same_answer->dropped_messages, 0);
  }
  EXPECT_GT(dropped, 20);
}

TEST_F(ChatTest, only_as_much_leaves_as_is_needed_and_a_quarter) {
  auto c = open(with_context(400, 40));  // 360 positions for a prompt; three quarters of them are 270
  for (const char name : {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}) {
    c.messages().push_back({"user", std::string(36, name)});
    c.messages().push_back({"assistant", "x"});
  }
  const std::size_t turn = 36 + around + 1 + around;  // 45: eight of them and the question are above 360
  ASSERT_EQ(c.prompt()->size(), 1 + 8 * turn);
  const auto answer = c.ask(std::string(20, 'q'));
  ASSERT_TRUE(answer);
  EXPECT_EQ(questions(c.messages()), "defghq");  // 1 + 5 * 45 + 24 = 250; with c it would be 295
  EXPECT_EQ(answer->dropped_messages, 6);
  EXPECT_EQ(c.ask("r")->dropped_messages, 0);
}

TEST_F(ChatTest, a_prompt_that_just_fits_keeps_everything) {
  auto c = open(with_context(100, 10));
  c.messages() = {{"user", std::string(30, 'a')}, {"assistant", "x"}};
  const std::size_t before = c.prompt()->size();
  const auto fits = c.ask(std::string(90 - before - around, 'b'));
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->dropped_messages, 0);
  EXPECT_EQ(fits->generation.prompt_tokens, 90);
  c.undo();
  const auto too_long = c.ask(std::string(91 - before - around, 'b'));
  ASSERT_TRUE(too_long);
  EXPECT_EQ(too_long->dropped_messages, 2);
}

TEST_F(ChatTest, the_room_is_max_tokens_or_a_quarter_and_at_most_half) {
  const auto largest_kept = [&](ChatOptions o) {
    o.session = {.context = 100};
    auto c = open(std::move(o));
    int largest = 0;
    for (int n = 20; n < 90; ++n) {
      c.messages() = {{"user", "a"}, {"assistant", "x"}};
      const auto answer = c.ask(std::string(static_cast<std::size_t>(n), 'b'));
      EXPECT_TRUE(answer);
      if (answer && answer->dropped_messages == 0) largest = answer->cached_tokens + answer->generation.prompt_tokens;
    }
    return largest;
  };
  EXPECT_EQ(largest_kept({.max_tokens = 30}), 70);
  EXPECT_EQ(largest_kept({.max_tokens = 99}), 50);
  EXPECT_EQ(largest_kept({.max_tokens = 30, .answer_room = 5}), 95);
  ChatOptions stops_at_once;  // without max_tokens
  stops_at_once.answer_room = 25;
  EXPECT_EQ(largest_kept(stops_at_once), 75);
  ChatOptions bad;
  bad.answer_room = -1;
  EXPECT_EQ(chat(model, bad).error().code, Errc::bad_argument);
}

TEST_F(ChatTest, a_question_beyond_the_context_is_an_error_and_the_history_stays) {
  auto c = open(with_context(100));
  ASSERT_TRUE(c.ask("hello"));
  const std::vector<Message> before = c.messages();
  const auto answer = c.ask(std::string(120, 'b'));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::context_full);
  EXPECT_SAYS(answer.error().message(), "100");
  EXPECT_TRUE(same(c.messages(), before));
  // One that leaves no room for an answer of the wished length, but fits, is answered.
  ASSERT_TRUE(c.ask(std::string(95, 'b')));
  EXPECT_EQ(roles(c.messages()), "ua");
}

TEST_F(ChatTest, the_other_policy_keeps_everything) {
  ChatOptions o = with_context(100);
  o.when_too_long = WhenTooLong::error;
  auto c = open(o);
  c.messages() = {{"user", std::string(60, 'a')}, {"assistant", "x"}};
  const std::vector<Message> before = c.messages();
  EXPECT_EQ(c.ask(std::string(60, 'b')).error().code, Errc::context_full);
  EXPECT_TRUE(same(c.messages(), before));
  const auto answer = c.ask(std::string(20, 'b'));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->dropped_messages, 0);
}

TEST_F(ChatTest, after_a_cancelled_prompt_the_dropped_turns_are_back) {
  auto c = open(with_context(100));
  c.messages() = {{"system", "S"}, {"user", std::string(60, 'a')}, {"assistant", "x"}};
  const std::vector<Message> before = c.messages();
  const std::atomic<bool> cancel{true};
  int told = 0;
  const auto note = [&](int messages) { told = messages; };
  const auto answer = c.ask(std::string(40, 'b'), {.cancel = &cancel, .on_drop = note});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::cancelled);
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(same(c.messages(), before));
}

TEST_F(ChatTest, another_answer_draws_other_tokens_and_the_same_ones_in_another_run) {
  ChatOptions o;
  o.max_tokens = 12;
  o.seed = 5;
  o.sampling = SamplerOptions{.temperature = 100};
  for (token_t id = 0; id < model.config().vocab; ++id)  // letters, so that texts differ where tokens do
    if (id < 3 + 'a' || id > 3 + 'z') o.sampling->banned.push_back(id);
  const auto run = [&] {
    auto c = open(o);
    std::vector<std::string> texts{c.ask("hello")->text};
    for (int i = 0; i < 3; ++i) {
      const auto again = c.ask_again();
      EXPECT_TRUE(again);
      EXPECT_EQ(roles(c.messages()), "ua");
      EXPECT_EQ(c.messages()[1].content, again->text);
      texts.push_back(again->text);
    }
    return texts;
  };
  const std::vector<std::string> texts = run();
  EXPECT_EQ(run(), texts);
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(texts[i], texts[j]);
}

TEST_F(ChatTest, another_answer_is_the_same_at_temperature_0_and_reads_one_token_again) {
  ChatOptions o;
  o.max_tokens = 6;
  auto c = open(o);
  EXPECT_EQ(c.ask_again().error().code, Errc::bad_argument);
  const auto first = c.ask("hello");
  const auto again = c.ask_again();
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->text, again->text);
  EXPECT_EQ(again->generation.prompt_tokens, 1);
  EXPECT_EQ(again->cached_tokens + 1, first->generation.prompt_tokens);
  const std::vector<Message> before = c.messages();
  const std::atomic<bool> cancel{true};
  EXPECT_FALSE(c.ask_again({.cancel = &cancel}));
  EXPECT_TRUE(same(c.messages(), before));
}

TEST_F(ChatTest, end_tokens_can_be_forbidden_those_of_the_template_too) {
  ChatOptions o;
  o.max_tokens = 5;
  o.chat_template = "{% for m in messages %}{{ m['content'] }}<s>{% endfor %}";  // <s> ends an answer, as </s> does
  o.sampling = SamplerOptions{.logit_bias = {{1, 1000.f}, {2, 900.f}}};
  auto c = open(o);
  const auto ended = c.ask("hello");
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->generation.reason, StopReason::end_token);
  EXPECT_EQ(ended->generation.tokens, 0);
  o.ignore_end_tokens = true;
  auto d = open(o);
  const auto not_ended = d.ask("hello");
  ASSERT_TRUE(not_ended);
  EXPECT_EQ(not_ended->generation.reason, StopReason::max_tokens);
}

TEST_F(ChatTest, undo_and_clear_keep_the_system_prompt) {
  ChatOptions o;
  o.system_prompt = "S";
  auto c = open(o);
  EXPECT_FALSE(c.undo());
  ASSERT_TRUE(c.ask("a") && c.ask("b"));
  EXPECT_EQ(roles(c.messages()), "suaua");
  EXPECT_TRUE(c.undo());
  EXPECT_EQ(questions(c.messages()), "a");
  ASSERT_TRUE(c.ask("c"));
  c.clear();
  EXPECT_EQ(roles(c.messages()), "s");
  EXPECT_FALSE(c.undo());
  ASSERT_TRUE(c.set_system_prompt("T"));
  ASSERT_TRUE(c.ask("d"));
  EXPECT_EQ(c.messages()[0].content, "T");
  ASSERT_TRUE(c.set_system_prompt(""));
  EXPECT_EQ(roles(c.messages()), "ua");
  ASSERT_TRUE(c.set_system_prompt("U"));
  EXPECT_EQ(roles(c.messages()), "sua");
  EXPECT_EQ(c.messages()[0].content, "U");
}

TEST_F(ChatTest, what_the_template_writes_behind_an_answer_ends_one_too) {
  const auto ends = [&](const char* chat_template) {
    ChatOptions o;
    o.chat_template = chat_template;
    const auto c = open(o);
    return std::vector<token_t>(c.end_tokens().begin(), c.end_tokens().end());
  };
  EXPECT_EQ(ends(markers), std::vector<token_t>{2});
  EXPECT_EQ(ends("{% for m in messages %}{{ m.content }}<s>\n{% endfor %}"), (std::vector<token_t>{2, 1}));
}

}  // namespace
