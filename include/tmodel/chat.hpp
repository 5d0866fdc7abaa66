#pragma once
// Chat: a conversation by messages. Each question renders the whole history through the model's template; what the
// session has computed already is kept as far as the token ids agree. A history that outgrows the context loses its
// oldest turns.

#include <algorithm>
#include <string>
#include <vector>

#include "tmodel/generate.hpp"
#include "tmodel/text/template_end_tokens.hpp"
#include "tmodel/transformer.hpp"

namespace tmodel::inline v0 {

/// What a question does when the prompt leaves too little of the context for the answer.
enum class WhenTooLong : std::uint8_t {
  drop_turns,  ///< the oldest turns leave the history: whole ones, since templates want user and assistant to
               ///< alternate. A turn is a user message with all that follows it. System messages at the start stay, and
               ///< so does the question. What is left may still leave less room than wished; Errc::context_full if it
               ///< does not fit
  error,       ///< Errc::context_full if the prompt does not fit; the history stays whole
};

struct ChatOptions {
  std::string system_prompt = {};                         ///< empty: the template's own, if it has one
  int max_tokens = 0;                                     ///< of an answer; 0: until the context is full
  std::optional<SamplerOptions> sampling = std::nullopt;  ///< none: the model's generation_config, else greedy
  std::vector<std::string> stop = {};
  std::uint64_t seed = 0;
  std::string chat_template = {};  ///< Jinja source; empty: the model's
  SessionOptions session = {};
  std::optional<LocalTime> now =
      std::nullopt;                ///< what templates see as the present; without it one that asks is an error
  bool ignore_end_tokens = false;  ///< they are never drawn: answers go on to max_tokens, a stop string, a full context
  WhenTooLong when_too_long = WhenTooLong::drop_turns;
  int answer_room = 0;  ///< positions that old turns make way for; 0: max_tokens, or a quarter of the context. Never
                        ///< more than half of it
};

struct Answer {
  std::string text;
  Generation generation;     ///< its prompt_tokens are those that were computed for this answer
  int cached_tokens = 0;     ///< of the prompt, computed for an earlier answer
  int dropped_messages = 0;  ///< left the history before this answer, see WhenTooLong
};

struct AskOptions {
  const std::atomic<bool>* cancel = nullptr;
  FunctionRef<void(int done, int total)> prompt_progress = {};
  FunctionRef<bool(std::string_view)> on_text = {};  ///< streams the answer; false ends it
  FunctionRef<void(int messages)> on_drop =
      {};  ///< so many messages will leave the history; before the prompt is computed
};

template <class B>
class Chat {
 public:
  /// `model` must outlive the chat. Errors: unsupported (no tokenizer or template), bad_template, bad_argument,
  /// out_of_memory...
  static expected<Chat> make(const Pretrained<B>& model, ChatOptions options = {}) {
    return guard([&]() -> expected<Chat> {
      const Language* language = model.language();
      if (language == nullptr)
        return fail(Errc::unsupported, "a chat needs the model's tokenizer", model.model().metadata().where);
      const std::string* own = language->chat_template();
      const std::string source = !options.chat_template.empty() ? options.chat_template
                                 : own != nullptr               ? *own
                                                                : std::string();
      if (source.empty())
        return fail(Errc::unsupported, "the model has no chat template", model.model().metadata().where, {}, {},
                    "pass one, or use generate() with plain text");
      if (options.answer_room < 0)
        return fail(Errc::bad_argument, "answer room", "chat options", "0 or more",
                    std::to_string(options.answer_room));
      TMODEL_TRY(ChatTemplate chat_template, ChatTemplate::parse(source, "chat template"));
      TMODEL_TRY(Session<B> session, model.session(options.session));
      std::vector<token_t> ends(language->end_tokens().begin(), language->end_tokens().end());
      TMODEL_CHECK(add_template_end_tokens(ends, chat_template, language->tokenizer(), language->special_tokens(),
                                           {.now = options.now}));
      SamplerOptions sampling = options.sampling.value_or(language->sampling());
      if (options.ignore_end_tokens) sampling.banned.insert(sampling.banned.end(), ends.begin(), ends.end());
      TMODEL_TRY(Sampler sampler, Sampler::create(std::move(sampling), model.config().vocab));
      Chat chat{language, std::move(chat_template), std::move(session), std::move(sampler)};
      chat.end_tokens_ = std::move(ends);
      if (!options.system_prompt.empty()) chat.messages_.push_back({"system", options.system_prompt});
      chat.options_ = std::move(options);
      return chat;
    });
  }

  /// Adds a user message and generates the answer, which joins the history; one that was cancelled joins as far as it
  /// came. After an error, and a cancelled prompt is one, the history is as before.
  expected<Answer> ask(std::string_view question, const AskOptions& o = {}) {
    return guard([&]() -> expected<Answer> {
      messages_.push_back({"user", std::string(question)});
      attempt_ = 0;
      auto answer = reply(o);
      if (!answer) messages_.pop_back();
      return answer;
    });
  }

  /// Another answer to the last question, in place of the one in the history. The same seed draws other tokens; at
  /// temperature 0 the answer is the same. Errors: bad_argument (there is no question), as ask().
  expected<Answer> ask_again(const AskOptions& o = {}) {
    return guard([&]() -> expected<Answer> {
      const std::size_t question = last_question();
      if (question == messages_.size()) return fail(Errc::bad_argument, "there is no question yet", "chat");
      std::vector<Message> old = take(question + 1, messages_.size());
      ++attempt_;
      auto answer = reply(o);
      if (!answer) put_back(messages_.size(), old);
      return answer;
    });
  }

  /// Takes the last question and its answer back; false: there is none.
  bool undo() {
    const std::size_t question = last_question();
    if (question == messages_.size()) return false;
    messages_.erase(at(question), messages_.end());
    return true;
  }
  /// Forgets all but the system messages at the start.
  void clear() { messages_.erase(at(first_turn()), messages_.end()); }

  /// In place of the system messages at the start; empty: none. Errors: out_of_memory.
  expected<void> set_system_prompt(std::string_view text) {
    return guard([&]() -> expected<void> {
      std::vector<Message> fresh;
      fresh.reserve(messages_.size() + 1);
      if (!text.empty()) fresh.push_back({"system", std::string(text)});
      std::move(at(first_turn()), messages_.end(), std::back_inserter(fresh));
      messages_ = std::move(fresh);
      return {};
    });
  }

  /// The messages so far, the system prompt included.
  const std::vector<Message>& messages() const noexcept { return messages_; }
  std::vector<Message>& messages() noexcept { return messages_; }
  const Session<B>& session() const noexcept { return session_; }
  /// Ids that end an answer: the model's, and what its template writes behind one.
  std::span<const token_t> end_tokens() const noexcept { return end_tokens_; }
  const SamplerOptions& sampling() const noexcept { return sampler_.options(); }

  /// The prompt that the next answer starts from. What messages say cannot become a special token in it.
  expected<Rendered> render() const {
    return guard([&]() -> expected<Rendered> {
      std::vector<std::pair<std::string, jinja::Value>> variables;
      for (const auto& [name, text] : language_->special_tokens())
        variables.emplace_back(name, jinja::Value::string(text));
      variables.emplace_back("messages", messages_value(messages_));
      variables.emplace_back("add_generation_prompt", jinja::Value::boolean(true));
      return chat_template_.render(jinja::Value::dict(std::move(variables)), {.now = options_.now});
    });
  }
  expected<std::vector<token_t>> prompt() const {
    TMODEL_TRY(const Rendered rendered, render());
    return language_->tokenizer().encode(rendered.text,
                                         {.add_special = false, .parse_special = true, .plain = rendered.content});
  }

 private:
  Chat(const Language* language, ChatTemplate chat_template, Session<B> session, Sampler sampler)
      : language_(language),
        chat_template_(std::move(chat_template)),
        session_(std::move(session)),
        sampler_(std::move(sampler)) {}

  /// Answers what the messages end with; the answer joins them. After an error they are as before.
  expected<Answer> reply(const AskOptions& o) {
    std::vector<Message> dropped;
    auto answer = guard([&]() -> expected<Answer> {
      messages_.reserve(messages_.size() + 1);  // the last step cannot fail then
      TMODEL_TRY(const std::vector<token_t> ids, prompt_that_fits(dropped));
      if (!dropped.empty()) o.on_drop(static_cast<int>(dropped.size()));
      TMODEL_TRY(Answer a, compute(ids, o));
      a.dropped_messages = static_cast<int>(dropped.size());
      std::string copy = a.text;
      messages_.push_back({"assistant", std::move(copy)});
      return a;
    });
    if (!answer) put_back(first_turn(), dropped);
    return answer;
  }

  expected<Answer> compute(std::span<const token_t> ids, const AskOptions& o) {
    std::size_t common = 0;
    const auto have = session_.tokens();
    while (common < have.size() && common + 1 < ids.size() && have[common] == ids[common]) ++common;
    TMODEL_CHECK(session_.rewind(static_cast<pos_t>(common)));

    Answer answer{.text = {}, .generation = {}, .cached_tokens = static_cast<int>(common)};
    const auto on_text = [&](std::string_view text) {
      answer.text += text;
      return !o.on_text || o.on_text(text);
    };
    TMODEL_TRY(answer.generation, generate(session_, language_->tokenizer(), sampler_, ids.subspan(common),
                                           {.max_tokens = options_.max_tokens,
                                            .stop = options_.stop,
                                            .end_tokens = end_tokens_,
                                            .seed = options_.seed,
                                            .sequence = attempt_,
                                            .cancel = o.cancel,
                                            .prompt_progress = o.prompt_progress,
                                            .on_text = on_text}));
    return answer;
  }

  /// The prompt, after old turns have moved from the messages to `dropped` as far as need be.
  expected<std::vector<token_t>> prompt_that_fits(std::vector<Message>& dropped) {
    TMODEL_TRY(std::vector<token_t> ids, prompt());
    if (ids.empty()) return fail(Errc::bad_template, "the template rendered nothing", "chat template");
    if (options_.when_too_long == WhenTooLong::error) return ids;
    dropped.reserve(messages_.size());  // what has been taken cannot be lost then
    const int capacity = session_.capacity();
    const int room = options_.answer_room > 0  ? options_.answer_room
                     : options_.max_tokens > 0 ? options_.max_tokens
                                               : capacity / 4;
    const auto limit = static_cast<std::size_t>(capacity - std::min(room, capacity / 2));
    // The next prompt then differs from what is computed, from its start on. A quarter more goes at once, so that this
    // does not come with every question; but never the turn before the question for that.
    const std::size_t target = limit - limit / 4;
    for (bool must = ids.size() > limit; must || (!dropped.empty() && ids.size() > target); must = ids.size() > limit) {
      const std::size_t begin = first_turn(), end = next_question(begin + 1);
      if (end == messages_.size() || (!must && next_question(end + 1) == messages_.size())) break;
      std::vector<Message> turn = take(begin, end);
      dropped.insert(dropped.end(), std::make_move_iterator(turn.begin()), std::make_move_iterator(turn.end()));
      TMODEL_TRY(ids, prompt());
    }
    if (ids.size() > static_cast<std::size_t>(capacity))
      return fail(Errc::context_full, "the question is longer than the context", "chat",
                  "at most " + std::to_string(capacity) + " tokens", std::to_string(ids.size()),
                  "a larger context, or a shorter question or system prompt");
    return ids;
  }

  auto at(std::size_t index) { return messages_.begin() + static_cast<std::ptrdiff_t>(index); }
  /// Messages at the start that are no turn.
  std::size_t first_turn() const noexcept {
    std::size_t n = 0;
    while (n < messages_.size() && (messages_[n].role == "system" || messages_[n].role == "developer")) ++n;
    return n;
  }
  /// The first user message from `from` on, or the end.
  std::size_t next_question(std::size_t from) const noexcept {
    while (from < messages_.size() && messages_[from].role != "user") ++from;
    return std::min(from, messages_.size());
  }
  std::size_t last_question() const noexcept {
    for (std::size_t n = messages_.size(); n > 0; --n)
      if (messages_[n - 1].role == "user") return n - 1;
    return messages_.size();
  }
  std::vector<Message> take(std::size_t begin, std::size_t end) {
    std::vector<Message> taken(std::make_move_iterator(at(begin)), std::make_move_iterator(at(end)));
    messages_.erase(at(begin), at(end));
    return taken;
  }
  /// What take() took; needs no memory, since the vector does not shrink.
  void put_back(std::size_t where, std::vector<Message>& taken) {
    messages_.insert(at(where), std::make_move_iterator(taken.begin()), std::make_move_iterator(taken.end()));
  }

  const Language* language_;
  ChatTemplate chat_template_;
  Session<B> session_;
  Sampler sampler_;
  std::vector<token_t> end_tokens_;
  ChatOptions options_;
  std::vector<Message> messages_;
  std::uint64_t attempt_ = 0;  ///< how often the last question was asked again
};

/// chat(model): a Chat over a Transformer or AnyTransformer.
template <class B>
expected<Chat<B>> chat(const Pretrained<B>& model, ChatOptions options = {}) {
  return Chat<B>::make(model, std::move(options));
}

}  // namespace tmodel::inline v0
