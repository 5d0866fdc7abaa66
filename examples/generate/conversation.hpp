#pragma once
// What the program does with a Chat<B>, behind one interface: the loops are compiled once, whatever the backends.

#include "tmodel/chat.hpp"

namespace program {

class Conversation {
 public:
  virtual ~Conversation() = default;
  virtual tmodel::expected<tmodel::Answer> ask(std::string_view question, const tmodel::AskOptions&) = 0;
  virtual tmodel::expected<tmodel::Answer> ask_again(const tmodel::AskOptions&) = 0;
  virtual bool undo() = 0;
  virtual void clear() = 0;
  virtual tmodel::expected<void> set_system_prompt(std::string_view text) = 0;
  virtual const std::vector<tmodel::Message>& messages() const = 0;
  virtual bool is_greedy() const = 0;
  virtual int context_used() const = 0;
  virtual int context_size() const = 0;

  std::string_view system_prompt() const {
    return !messages().empty() && messages()[0].role == "system" ? std::string_view(messages()[0].content)
                                                                 : std::string_view();
  }
};

template <class B>
class ConversationOn final : public Conversation {
 public:
  explicit ConversationOn(tmodel::Chat<B> chat) : chat_(std::move(chat)) {}
  tmodel::expected<tmodel::Answer> ask(std::string_view question, const tmodel::AskOptions& o) override {
    return chat_.ask(question, o);
  }
  tmodel::expected<tmodel::Answer> ask_again(const tmodel::AskOptions& o) override { return chat_.ask_again(o); }
  bool undo() override { return chat_.undo(); }
  void clear() override { chat_.clear(); }
  tmodel::expected<void> set_system_prompt(std::string_view text) override { return chat_.set_system_prompt(text); }
  const std::vector<tmodel::Message>& messages() const override { return chat_.messages(); }
  bool is_greedy() const override { return chat_.sampling().temperature <= 0; }
  int context_used() const override { return chat_.session().length(); }
  int context_size() const override { return chat_.session().capacity(); }

 private:
  tmodel::Chat<B> chat_;
};

}  // namespace program
