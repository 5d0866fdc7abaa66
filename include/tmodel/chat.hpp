#pragma once
// Chat: a conversation by messages. Each question renders the whole history through the model's template; what the
// session has computed already is kept as far as the token ids agree.

#include <string>
#include <vector>

#include "tmodel/generate.hpp"
#include "tmodel/transformer.hpp"

namespace tmodel::inline v0 {

struct ChatOptions {
  std::string system_prompt = {};            ///< empty: the template's own, if it has one
  int max_tokens = 0;                        ///< of an answer; 0: until the context is full
  std::optional<SamplerOptions> sampling = std::nullopt;    ///< none: the model's generation_config, else greedy
  std::vector<std::string> stop = {};
  std::uint64_t seed = 0;
  std::string chat_template = {};                 ///< Jinja source; empty: the model's
  SessionOptions session = {};
  std::optional<LocalTime> now = std::nullopt;              ///< what templates see as the present; without it one that asks is an error
};

struct Answer {
  std::string text;
  Generation generation;
};

struct AskOptions {
  const std::atomic<bool>* cancel = nullptr;
  FunctionRef<void(int done, int total)> prompt_progress = {};
  FunctionRef<bool(std::string_view)> on_text = {};  ///< streams the answer; false ends it
};

template <class B>
class Chat {
 public:
  /// `model` must outlive the chat. Errors: unsupported (no tokenizer or template), bad_template, out_of_memory...
  static expected<Chat> make(const Pretrained<B>& model, ChatOptions options = {}) {
    return guard([&]() -> expected<Chat> {
      const Language* language = model.language();
      if (language == nullptr) return fail(Errc::unsupported, "a chat needs the model's tokenizer", model.model().metadata().where);
      const std::string* own = language->chat_template();
      const std::string source = !options.chat_template.empty() ? options.chat_template : own != nullptr ? *own : std::string();
      if (source.empty())
        return fail(Errc::unsupported, "the model has no chat template", model.model().metadata().where, {}, {},
                    "pass one, or use generate() with plain text");
      TMODEL_TRY(ChatTemplate chat_template, ChatTemplate::parse(source, "chat template"));
      TMODEL_TRY(Session<B> session, model.session(options.session));
      TMODEL_TRY(Sampler sampler, Sampler::create(options.sampling.value_or(language->sampling()), model.config().vocab));
      Chat chat{language, std::move(chat_template), std::move(session), std::move(sampler)};
      if (!options.system_prompt.empty()) chat.messages_.push_back({"system", options.system_prompt});
      chat.options_ = std::move(options);
      return chat;
    });
  }

  /// Adds a user message and generates the answer, which joins the history. After an error or a cancelled prompt the
  /// history is as before.
  expected<Answer> ask(std::string_view question, const AskOptions& o = {}) {
    return guard([&]() -> expected<Answer> {
      messages_.push_back({"user", std::string(question)});
      auto answer = reply(o);
      if (answer) messages_.push_back({"assistant", answer->text});
      else messages_.pop_back();
      return answer;
    });
  }

  /// The messages so far, the system prompt included.
  const std::vector<Message>& messages() const noexcept { return messages_; }
  std::vector<Message>& messages() noexcept { return messages_; }
  const Session<B>& session() const noexcept { return session_; }

  /// The prompt that the next answer starts from. What messages say cannot become a special token in it.
  expected<Rendered> render() const {
    return guard([&]() -> expected<Rendered> {
      std::vector<std::pair<std::string, jinja::Value>> variables;
      for (const auto& [name, text] : language_->special_tokens()) variables.emplace_back(name, jinja::Value::string(text));
      variables.emplace_back("messages", messages_value(messages_));
      variables.emplace_back("add_generation_prompt", jinja::Value::boolean(true));
      return chat_template_.render(jinja::Value::dict(std::move(variables)), {.now = options_.now});
    });
  }
  expected<std::vector<token_t>> prompt() const {
    TMODEL_TRY(const Rendered rendered, render());
    return language_->tokenizer().encode(rendered.text, {.add_special = false, .parse_special = true, .plain = rendered.content});
  }

 private:
  Chat(const Language* language, ChatTemplate chat_template, Session<B> session, Sampler sampler)
      : language_(language), chat_template_(std::move(chat_template)), session_(std::move(session)), sampler_(std::move(sampler)) {}

  expected<Answer> reply(const AskOptions& o) {
    TMODEL_TRY(const std::vector<token_t> ids, prompt());
    if (ids.empty()) return fail(Errc::bad_template, "the template rendered nothing", "chat template");
    std::size_t common = 0;
    const auto have = session_.tokens();
    while (common < have.size() && common + 1 < ids.size() && have[common] == ids[common]) ++common;
    TMODEL_CHECK(session_.rewind(static_cast<pos_t>(common)));

    Answer answer;
    const auto on_text = [&](std::string_view text) {
      answer.text += text;
      return !o.on_text || o.on_text(text);
    };
    TMODEL_TRY(answer.generation, generate(session_, language_->tokenizer(), sampler_, std::span(ids).subspan(common),
                                           {.max_tokens = options_.max_tokens, .stop = options_.stop, .end_tokens = language_->end_tokens(),
                                            .seed = options_.seed, .cancel = o.cancel, .prompt_progress = o.prompt_progress, .on_text = on_text}));
    return answer;
  }

  const Language* language_;
  ChatTemplate chat_template_;
  Session<B> session_;
  Sampler sampler_;
  ChatOptions options_;
  std::vector<Message> messages_;
};

/// chat(model): a Chat over a Transformer or AnyTransformer.
template <class B>
expected<Chat<B>> chat(const Pretrained<B>& model, ChatOptions options = {}) {
  return Chat<B>::make(model, std::move(options));
}

}  // namespace tmodel::inline v0
