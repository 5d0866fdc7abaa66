#pragma once
// The end tokens that a chat template names: whatever special token it writes behind an assistant's message. Some
// configurations do not list it (base models' files with a chat template, for one), and the answer would run on.

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tmodel/text/chat_template.hpp"
#include "tmodel/text/concepts.hpp"

namespace tmodel::inline v0 {

/// Adds the token to `ends` if it is not there yet. A template that cannot render a short conversation, or that writes
/// no special token there, names none. Errors: out_of_memory.
template <TextTokenizer T>
expected<void> add_template_end_tokens(std::vector<token_t>& ends, const ChatTemplate& chat_template,
                                       const T& tokenizer,
                                       std::span<const std::pair<std::string, std::string>> special_tokens,
                                       const RenderOptions& options = {}) {
  return guard([&]() -> expected<void> {
    using jinja::Value;
    const Message messages[] = {{"user", "a"}, {"assistant", "b"}};
    std::vector<std::pair<std::string, Value>> variables;
    for (const auto& [name, text] : special_tokens) variables.emplace_back(name, Value::string(text));
    variables.emplace_back("messages", messages_value(messages));
    variables.emplace_back("add_generation_prompt", Value::boolean(false));
    auto rendered = chat_template.render(Value::dict(std::move(variables)), options);
    if (!rendered && rendered.error().code == Errc::out_of_memory) return out_of_memory();
    if (!rendered || rendered->content.empty()) return {};
    const Range& answer = rendered->content.back();
    const std::string_view behind = std::string_view(rendered->text).substr(answer.end);
    TMODEL_TRY(const std::vector<token_t> ids, tokenizer.encode(behind, {.add_special = false}));
    for (const token_t id : ids) {
      const bool is_new = std::find(ends.begin(), ends.end(), id) == ends.end();
      if (tokenizer.is_special(id) && is_new) ends.push_back(id);
      if (tokenizer.is_special(id) || tokenizer.piece(id).find_first_not_of(" \n") != std::string_view::npos) break;
    }
    return {};
  });
}

}  // namespace tmodel::inline v0
