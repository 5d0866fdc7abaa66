#pragma once
// The chat template of a model: found in its files, parsed once, rendered for each conversation.
// Source: transformers' apply_chat_template (variables, trim_blocks and lstrip_blocks on, tojson, strftime_now).

#include <memory>
#include <optional>
#include <span>

#include "tmodel/core/json.hpp"
#include "tmodel/core/metadata.hpp"
#include "tmodel/text/jinja/evaluator.hpp"
#include "tmodel/text/jinja/parser.hpp"

namespace tmodel::inline v0 {

/// What a rendering may use besides its variables.
struct RenderOptions {
  /// The time that strftime_now shows. The library never reads a clock; without it such a template is an error.
  std::optional<LocalTime> now{};
  jinja::Limits limits{};
};

/// A rendered prompt.
struct Rendered {
  std::string text;
  /// Byte ranges that come from marked strings (message content), sorted and disjoint. A tokenizer must not match
  /// special tokens there, or the user could write control tokens.
  std::vector<Range> content;
};

/// A parsed template. Immutable: copies share it, and render may run on several threads.
class ChatTemplate {
 public:
  /// `where` names the source in errors, followed by ":line:column".
  /// Errors: bad_template (syntax), unsupported (a construct of Jinja2 that is not here, by name), out_of_memory.
  static expected<ChatTemplate> parse(std::string_view source, std::string_view where) {
    return guard([&]() -> expected<ChatTemplate> {
      auto parsed = jinja::Parser::parse(source);
      if (!parsed) return located(std::move(parsed).error(), where);
      ChatTemplate result;
      result.template_ = std::make_shared<const jinja::Template>(std::move(*parsed));
      result.where_ = where;
      return result;
    });
  }

  /// Renders with a dict of variables: messages, tools, add_generation_prompt, bos_token and what else it reads.
  /// Errors: bad_template (what the template raises, wrong types, limits), unsupported, bad_argument, out_of_memory.
  expected<Rendered> render(const jinja::Value& variables, const RenderOptions& options = {}) const {
    return guard([&]() -> expected<Rendered> {
      if (!template_ || !variables.is(jinja::Kind::dict) || variables.depth() > jinja::max_value_depth)
        return fail(Errc::bad_argument, "template variables must be a dict of bounded depth", where_);
      jinja::Evaluator evaluator(*template_, variables, options.now, options.limits);
      auto text = evaluator.run();
      if (!text) return located(std::move(text).error(), where_);
      return Rendered{std::move(text->bytes), std::move(text->marks)};
    });
  }

  std::string_view source() const noexcept {
    return template_ ? std::string_view(template_->source) : std::string_view();
  }

 private:
  static tl::unexpected<Error> located(jinja::Raised raised, std::string_view where) {
    Error error = std::move(*raised);
    error.where = std::string(where) + (error.where.empty() ? "" : ":" + error.where);
    return tl::unexpected<Error>(std::move(error));
  }
  std::shared_ptr<const jinja::Template> template_;
  std::string where_;
};

namespace jinja {

namespace detail {

inline expected<Value> value_of(Json json, bool marked) {
  switch (json.type()) {
    case JsonType::null:
      return Value::none();
    case JsonType::boolean:
      return Value::boolean(json.boolean());
    case JsonType::integer:
    case JsonType::unsigned_integer:
      if (const auto whole = json.integer()) return Value::integer(*whole);
      return fail(Errc::unsupported, "template variables: an integer beyond 64 bits");
    case JsonType::number:
      return Value::real(*json.number());
    case JsonType::string:
      return Value::string(json.string(), marked);
    case JsonType::array: {
      std::vector<Value> items;
      for (Json item = json.first(); item; item = item.next()) {
        TMODEL_TRY(Value value, value_of(item, marked));
        items.push_back(std::move(value));
      }
      return Value::list(std::move(items));
    }
    case JsonType::object:
      break;
  }
  std::vector<std::pair<Value, Value>> entries;
  for (Json item = json.first(); item; item = item.next()) {
    TMODEL_TRY(Value value, value_of(item, marked));
    entries.emplace_back(Value::string(item.key(), marked), std::move(value));
  }
  return Value::dict(std::move(entries));
}

/// A message's reasoning goes by three names; templates read the first or the second. As apply_chat_template has it.
inline void alias_reasoning(std::vector<std::pair<Value, Value>>& message) {
  const auto find = [&](std::string_view name) {
    return std::find_if(message.begin(), message.end(), [&](const auto& entry) { return entry.first.text() == name; });
  };
  for (const std::string_view name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto given = find(name);
    if (given == message.end() || given->second.is(Kind::none)) continue;
    const Value reasoning = given->second;
    if (const auto own = find("thinking"); own != message.end())
      std::rotate(message.begin(), own, own + 1);
    else
      message.emplace(message.begin(), Value::string("thinking"), reasoning);
    if (const auto own = find("reasoning_content"); own != message.end())
      own->second = reasoning;
    else
      message.emplace_back(Value::string("reasoning_content"), reasoning);
    return;
  }
}

/// Messages: everything is marked but the keys and the role, which templates build control tokens from.
inline expected<Value> messages_of(Json json) {
  std::vector<Value> messages;
  for (Json message = json.first(); message; message = message.next()) {
    if (!message.is_object()) {
      TMODEL_TRY(Value value, value_of(message, true));
      messages.push_back(std::move(value));
      continue;
    }
    std::vector<std::pair<Value, Value>> entries;
    for (Json item = message.first(); item; item = item.next()) {
      TMODEL_TRY(Value value, value_of(item, item.key() != "role"));
      entries.emplace_back(Value::string(item.key()), std::move(value));
    }
    alias_reasoning(entries);
    messages.push_back(Value::dict(std::move(entries)));
  }
  return Value::list(std::move(messages));
}

}  // namespace detail

/// A JSON value as a template sees it. `marked`: its strings count as message content. A missing value becomes none.
/// Errors: unsupported (an integer beyond int64), out_of_memory.
inline expected<Value> from_json(Json json, bool marked = false) {
  return guard([&] { return detail::value_of(json, marked); });
}

/// The variables of a chat request: {"messages": […], "tools": […], "add_generation_prompt": …, …}. Strings in
/// messages (their roles apart), tools and documents are marked as content. A message's reasoning is there by each of
/// its names: reasoning_content, thinking.
/// `special_tokens` ("bos_token" and its text...) are added where the request has none of that name.
/// Errors: bad_argument (not an object), those of from_json.
inline expected<Value> chat_variables(Json request,
                                      std::span<const std::pair<std::string, std::string>> special_tokens = {}) {
  return guard([&]() -> expected<Value> {
    if (!request.is_object()) return fail(Errc::bad_argument, "template variables must be a JSON object");
    std::vector<std::pair<Value, Value>> entries;
    for (Json item = request.first(); item; item = item.next()) {
      const bool outside = item.key() == "tools" || item.key() == "documents";
      TMODEL_TRY(Value value, item.key() == "messages" && item.is_array() ? detail::messages_of(item)
                                                                          : detail::value_of(item, outside));
      entries.emplace_back(Value::string(item.key()), std::move(value));
    }
    for (const auto& [name, text] : special_tokens)
      if (!request[name]) entries.emplace_back(Value::string(name), Value::string(text));
    return Value::dict(std::move(entries));
  });
}

}  // namespace jinja

/// One turn of a conversation. role: "system", "user", "assistant" or what the template knows.
struct Message {
  std::string role, content;
};

/// Messages as the template variable of that name; contents are marked. Allocates: call it inside guard().
inline jinja::Value messages_value(std::span<const Message> messages) {
  using jinja::Value;
  std::vector<Value> items;
  for (const Message& message : messages) {
    std::vector<std::pair<Value, Value>> entries;
    entries.emplace_back(Value::string("role"), Value::string(message.role));
    entries.emplace_back(Value::string("content"), Value::string(message.content, true));
    items.push_back(Value::dict(std::move(entries)));
  }
  return Value::list(std::move(items));
}

/// A template of a model; one that stands alone is called "default".
struct NamedTemplate {
  std::string name, source;
};

/// The files of a model folder that may hold templates, as texts; empty where a file is absent.
struct TemplateFiles {
  std::string_view chat_template_jinja, chat_template_json, tokenizer_config_json;
};

/// All templates of a model: of chat_template.jinja, else chat_template.json, else tokenizer_config.json, where the key
/// chat_template holds a string or a list of {name, template}. Empty if there is none.
/// Errors: bad_file (not JSON), bad_metadata (another type), out_of_memory.
inline expected<std::vector<NamedTemplate>> find_chat_templates(const TemplateFiles& files) {
  return guard([&]() -> expected<std::vector<NamedTemplate>> {
    std::vector<NamedTemplate> found;
    if (!files.chat_template_jinja.empty()) {
      found.push_back({"default", std::string(files.chat_template_jinja)});
      return found;
    }
    const std::pair<std::string_view, std::string_view> candidates[] = {
        {"chat_template.json", files.chat_template_json}, {"tokenizer_config.json", files.tokenizer_config_json}};
    for (const auto& candidate : candidates) {
      const std::string_view name = candidate.first, text = candidate.second;
      if (text.empty()) continue;
      TMODEL_TRY(const JsonDocument document, JsonDocument::parse(text, name));
      const Json value = document.root()["chat_template"];
      const auto wrong = [&] {
        return fail(Errc::bad_metadata, "chat_template is of a wrong type", name,
                    "a string or a list of {name, template}");
      };
      if (!value || value.is_null()) continue;
      if (value.is_string()) {
        found.push_back({"default", std::string(value.string())});
        return found;
      }
      if (!value.is_array()) return wrong();
      for (Json item = value.first(); item; item = item.next()) {
        if (!item["name"].is_string() || !item["template"].is_string()) return wrong();
        found.push_back({std::string(item["name"].string()), std::string(item["template"].string())});
      }
      if (!found.empty()) return found;
    }
    return found;
  });
}

/// All templates of a GGUF: tokenizer.chat_template and tokenizer.chat_template.NAME. Empty if there is none.
/// Errors: bad_metadata (another type), out_of_memory.
inline expected<std::vector<NamedTemplate>> find_chat_templates(const Metadata& metadata) {
  return guard([&]() -> expected<std::vector<NamedTemplate>> {
    constexpr std::string_view prefix = "tokenizer.chat_template";
    std::vector<NamedTemplate> found;
    for (const auto& [key, value] : metadata.all()) {
      if (!key.starts_with(prefix) || (key.size() > prefix.size() && key[prefix.size()] != '.')) continue;
      const auto* source = std::get_if<std::string>(&value);
      if (source == nullptr) return fail(Errc::bad_metadata, key + " is of a wrong type", metadata.where, "a string");
      found.push_back({key.size() > prefix.size() ? key.substr(prefix.size() + 1) : "default", *source});
    }
    return found;
  });
}

/// The template called `name` (transformers takes "tool_use" where tools are given and it exists); nullopt if the model
/// has no templates. Errors: bad_metadata if there are some, but none of that name; those of find_chat_templates.
inline expected<std::optional<std::string>> find_chat_template(const TemplateFiles& files,
                                                               std::string_view name = "default") {
  return guard([&]() -> expected<std::optional<std::string>> {
    TMODEL_TRY(std::vector<NamedTemplate> found, find_chat_templates(files));
    if (found.empty()) return std::optional<std::string>();
    std::string names;
    for (NamedTemplate& candidate : found) {
      if (candidate.name == name) return std::optional<std::string>(std::move(candidate.source));
      names += (names.empty() ? "" : ", ") + candidate.name;
    }
    return fail(Errc::bad_metadata, "the model has no chat template of this name", "chat_template", name, names);
  });
}

}  // namespace tmodel::inline v0
