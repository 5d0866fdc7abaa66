#pragma once
// Language: what turns text into tokens and back for one model: tokenizer, chat template, end tokens, sampling
// defaults. Read from a GGUF's metadata or from the files of a model folder; needs no weights.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tmodel/io/model_files.hpp"
#include "tmodel/text/chat_template.hpp"
#include "tmodel/text/sampler.hpp"
#include "tmodel/text/tokenizer.hpp"

namespace tmodel::inline v0 {

class Language {
 public:
  /// Whether the files hold a tokenizer that read() understands or refuses by name.
  static bool is_in(const ModelFiles& files) {
    return !files.tokenizer_json.empty() || !files.tokenizer_model.empty() ||
           files.source.metadata.has("tokenizer.ggml.model");
  }

  /// Errors: bad_file, bad_metadata, unsupported (tokenizer kind, template construct), bad_template.
  static expected<Language> read(const ModelFiles& files) {
    return guard([&]() -> expected<Language> {
      Language l;
      const Metadata& m = files.source.metadata;
      if (!files.tokenizer_json.empty()) {
        TMODEL_TRY(l.tokenizer_,
                   Tokenizer::from_json(files.tokenizer_json, files.tokenizer_config_json, "tokenizer.json"));
      } else if (m.has("tokenizer.ggml.model")) {
        TMODEL_TRY(l.tokenizer_, Tokenizer::from_gguf(m));
      } else if (!files.tokenizer_model.empty()) {
        TMODEL_TRY(l.tokenizer_, Tokenizer::from_sentencepiece(files.tokenizer_model, files.tokenizer_config_json,
                                                               "tokenizer.model"));
      } else {
        return fail(Errc::bad_file, "no tokenizer", m.where,
                    "tokenizer.json, tokenizer.model, or a GGUF with a vocabulary");
      }
      TMODEL_TRY(l.templates_, find_chat_templates({.chat_template_jinja = files.chat_template_jinja,
                                                    .chat_template_json = files.chat_template_json,
                                                    .tokenizer_config_json = files.tokenizer_config_json}));
      if (l.templates_.empty()) {
        TMODEL_TRY(l.templates_, find_chat_templates(m));
      }
      for (const auto& [name, id] :
           {std::pair("bos_token", l.tokenizer_->bos()), std::pair("eos_token", l.tokenizer_->eos())}) {
        if (id < 0) continue;
        TMODEL_TRY(std::string text, l.tokenizer_->token_text(id));
        l.special_tokens_.emplace_back(name, std::move(text));
      }
      l.end_tokens_.assign(l.tokenizer_->end_tokens().begin(), l.tokenizer_->end_tokens().end());
      l.read_sampling_defaults(m);
      return l;
    });
  }

  const Tokenizer& tokenizer() const noexcept { return *tokenizer_; }
  /// Source of the chat template, nullptr if the model has none. With tools the one called "tool_use" goes first.
  const std::string* chat_template(bool tools = false) const noexcept {
    for (const std::string_view name : {tools ? "tool_use" : "default", "default"})
      for (const NamedTemplate& t : templates_)
        if (t.name == name) return &t.source;
    return nullptr;
  }
  /// bos_token and eos_token with their texts, as templates read them.
  std::span<const std::pair<std::string, std::string>> special_tokens() const noexcept { return special_tokens_; }
  /// What the model's generation_config.json asks for; greedy without one.
  const SamplerOptions& sampling() const noexcept { return sampling_; }

  /// Ids that end an answer: the tokenizer's and the configuration's.
  std::span<const token_t> end_tokens() const noexcept { return end_tokens_; }
  void add_end_tokens(std::span<const token_t> ids) {
    for (const token_t id : ids)
      if (std::find(end_tokens_.begin(), end_tokens_.end(), id) == end_tokens_.end()) end_tokens_.push_back(id);
  }
  std::size_t memory_bytes() const noexcept {
    std::size_t bytes = tokenizer_->memory_bytes();
    for (const NamedTemplate& t : templates_) bytes += t.source.size();
    return bytes;
  }

 private:
  void read_sampling_defaults(const Metadata& m) {
    if (!m.boolean("generation_config.do_sample").value_or(false)) return;
    sampling_.temperature = static_cast<f32>(m.number("generation_config.temperature").value_or(1.0));
    sampling_.top_k = static_cast<int>(m.integer("generation_config.top_k").value_or(50));
    sampling_.top_p = static_cast<f32>(m.number("generation_config.top_p").value_or(1.0));
    sampling_.min_p = static_cast<f32>(m.number("generation_config.min_p").value_or(0.0));
    sampling_.typical_p = static_cast<f32>(m.number("generation_config.typical_p").value_or(1.0));
    sampling_.repetition_penalty = static_cast<f32>(m.number("generation_config.repetition_penalty").value_or(1.0));
  }

  std::optional<Tokenizer> tokenizer_;
  std::vector<NamedTemplate> templates_;
  std::vector<std::pair<std::string, std::string>> special_tokens_;
  std::vector<token_t> end_tokens_;
  SamplerOptions sampling_;
};

}  // namespace tmodel::inline v0
