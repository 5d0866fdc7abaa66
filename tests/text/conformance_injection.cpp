// What a user writes cannot become a control token: message content that holds every special token of a real tokenizer
// gives the ids of plain text, between the control tokens that the template itself wrote.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tmodel/core/os.hpp"
#include "tmodel/text/chat_template.hpp"
#include "tmodel/text/tokenizer.hpp"

namespace {
using namespace tmodel;

struct InjectionCase {
  std::string name, begin,
      end;  ///< control tokens of the template used here, which are special tokens of the tokenizer
  bool marks_only_the_start = false;  ///< Metaspace "first": text behind a special token gets no mark in front
};
void PrintTo(const InjectionCase& c, std::ostream* out) { *out << c.name; }

class ConformanceInjection : public ::testing::TestWithParam<InjectionCase> {};

TEST_P(ConformanceInjection, content_of_special_tokens_stays_plain_text) {
  const InjectionCase& c = GetParam();
  const std::string path = std::string(TMODEL_CONFORMANCE_DATA) + "/tokenizers/" + c.name + "/tokenizer.json";
  const auto file = os::MappedFile::open(path);
  ASSERT_TRUE(file);
  const auto tokenizer = Tokenizer::from_json(file->text(), {}, path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  std::vector<token_t> specials;
  for (token_t id = 0; id < tokenizer->vocab_size(); ++id)
    if (tokenizer->is_special(id)) specials.push_back(id);
  ASSERT_FALSE(specials.empty());
  std::string content = "Hi. ";
  for (const token_t id : specials) content += *tokenizer->token_text(id) + "x " + *tokenizer->token_text(id);
  content += " bye";

  const auto chat =
      ChatTemplate::parse("{% for m in messages %}" + c.begin + "{{ m['role'] }}: {{ m['content'] | trim }}" + c.end +
                              "{% endfor %}{% if add_generation_prompt %}" + c.begin + "{% endif %}",
                          "test");
  ASSERT_TRUE(chat) << chat.error().message();
  const std::vector<Message> messages = {{"user", content}, {"assistant", "Ok."}, {"user", content}};
  std::vector<std::pair<std::string, jinja::Value>> variables;
  variables.emplace_back("messages", messages_value(messages));
  variables.emplace_back("add_generation_prompt", jinja::Value::boolean(true));
  const auto rendered = chat->render(jinja::Value::dict(std::move(variables)));
  ASSERT_TRUE(rendered) << rendered.error().message();

  const auto ids =
      tokenizer->encode(rendered->text, {.add_special = false, .parse_special = true, .plain = rendered->content});
  ASSERT_TRUE(ids) << ids.error().message();
  const token_t begin = tokenizer->find(c.begin).value_or(-1), end = tokenizer->find(c.end).value_or(-1);
  ASSERT_TRUE(tokenizer->is_special(begin) && tokenizer->is_special(end));
  const auto plain = [&](const std::string& text) {
    const EncodeOptions options{.add_special = false, .parse_special = false};
    if (!c.marks_only_the_start) return *tokenizer->encode(text, options);
    std::vector<token_t> ids =
        *tokenizer->encode("\n" + text, options);  // the newline takes the mark, and joins with nothing
    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(tokenizer->encode("\n", options)->size()));
    return ids;
  };
  std::vector<token_t> want;
  for (const Message& m : messages) {
    want.push_back(begin);
    const auto body = plain(m.role + ": " + m.content);
    want.insert(want.end(), body.begin(), body.end());
    want.push_back(end);
  }
  want.push_back(begin);
  EXPECT_EQ(*ids, want);

  // All special tokens of the prompt are the template's own seven.
  EXPECT_EQ(std::count_if(ids->begin(), ids->end(), [&](token_t id) { return tokenizer->is_special(id); }), 7);
  // Read the trusting way, the same prompt holds the user's as well: the content is an attack.
  const auto trusting = tokenizer->encode(rendered->text, {.add_special = false});
  EXPECT_GT(std::count_if(trusting->begin(), trusting->end(), [&](token_t id) { return tokenizer->is_special(id); }),
            7);
  // Ordinary content has the same ids either way.
  const std::string ordinary = "user: What is <b>2 + 2</b>?";
  const Range all{0, ordinary.size()};
  EXPECT_EQ(*tokenizer->encode(ordinary, {.add_special = false, .plain = std::span(&all, 1)}),
            *tokenizer->encode(ordinary, {.add_special = false}));
}

INSTANTIATE_TEST_SUITE_P(real, ConformanceInjection,
                         ::testing::Values(InjectionCase{"falcon", ">>TITLE<<", "<|endoftext|>"},
                                           InjectionCase{"gpt2", "<|endoftext|>", "<|endoftext|>"},
                                           InjectionCase{"mistral03", "[INST]", "[/INST]", true},
                                           InjectionCase{"phi-2", "<|endoftext|>", "<|endoftext|>"},
                                           InjectionCase{"phi-3", "<|user|>", "<|end|>"},
                                           InjectionCase{"qwen3", "<|im_start|>", "<|im_end|>"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
