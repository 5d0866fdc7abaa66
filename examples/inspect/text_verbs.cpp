// Verbs of inspect that need no weights: tokens and prompt.

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "inspect/verbs.hpp"

namespace inspect {

using namespace tmodel;
using program::report;
using program::report_usage;

tmodel::expected<std::string> read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::io, "cannot open the file", path);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) return fail(Errc::io, "cannot read the file", path);
  return text;
}

tmodel::expected<std::vector<token_t>> parse_ids(const std::string& text) {
  std::vector<token_t> ids;
  const char* at = text.c_str();
  const auto blank = [](char c) { return c == ' ' || c == ',' || c == '[' || c == ']' || c == '\n' || c == '\t'; };
  while (*at != '\0') {
    if (blank(*at)) {
      ++at;
      continue;
    }
    char* end = nullptr;
    const long id = std::strtol(at, &end, 10);
    if (end == at || (!blank(*end) && *end != '\0') || id < 0 || id > 0x7FFFFFFF)
      return fail(Errc::bad_argument, "token ids", {}, "whole numbers separated by commas", at);
    ids.push_back(static_cast<token_t>(id));
    at = end;
  }
  return ids;
}

namespace {

std::string json_array(std::span<const token_t> ids) {
  std::string out = "[";
  for (const token_t id : ids) out += (out.size() > 1 ? ", " : "") + std::to_string(id);
  return out + "]";
}

/// One line of JSON to one line of JSON, {"error": ...} where it cannot be.
std::string convert_line(const Tokenizer& tokenizer, const std::string& line, const TokensOptions& o) {
  const auto dump = [](const nlohmann::json& j) {
    return j.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  };
  const auto error = [&](const std::string& what) { return dump({{"error", what}}); };
  const auto json = JsonDocument::parse(line, "line");
  if (!json) return error(json.error().message());
  if (json->root().is_string()) {
    const auto ids = tokenizer.encode(json->root().string(), {.add_special = !o.raw, .parse_special = !o.raw});
    return ids ? json_array(*ids) : error(ids.error().message());
  }
  std::vector<token_t> ids;
  for (Json id = json->root().first(); id; id = id.next())
    ids.push_back(static_cast<token_t>(std::clamp<std::int64_t>(id.integer().value_or(-1), -1, 0x7FFFFFFF)));
  const auto text = tokenizer.decode(ids, o.skip_special);
  return text ? dump(*text) : error(text.error().message());
}

int convert_lines(const Tokenizer& tokenizer, const TokensOptions& o) {
  std::ifstream file;
  if (*o.lines != "-") file.open(*o.lines, std::ios::binary);
  std::istream& in = *o.lines == "-" ? std::cin : file;
  if (!in) return report(Error{Errc::io, "cannot open the file", *o.lines, {}, {}, {}});
  for (std::string line; std::getline(in, line);) std::cout << convert_line(tokenizer, line, o) << '\n';
  return std::cout.flush() ? program::ok : program::model_error;
}

tmodel::expected<Tokenizer> read_tiktoken(const std::string& model, const std::string& options_file) {
  TMODEL_TRY(const std::string ranks, read_all(model));
  TMODEL_TRY(const std::string text, read_all(options_file));
  TMODEL_TRY(const JsonDocument document, JsonDocument::parse(text, options_file));
  const Json json = document.root();
  std::vector<std::pair<std::string_view, token_t>> special;
  for (Json item = json["special_tokens"].first(); item; item = item.next())
    special.emplace_back(item.key(),
                         static_cast<token_t>(std::clamp<std::int64_t>(item.integer().value_or(-1), -1, 0x7FFFFFFF)));
  return Tokenizer::from_tiktoken(ranks,
                                  {.pattern = json["pattern"].string(),
                                   .special_tokens = special,
                                   .bos = json["bos_token"].string(),
                                   .eos = json["eos_token"].string(),
                                   .add_bos = json["add_bos_token"].boolean(),
                                   .add_eos = json["add_eos_token"].boolean()},
                                  model);
}

int tokens(const Tokenizer& tokenizer, const TokensOptions& o) {
  if (o.lines) return convert_lines(tokenizer, o);
  if (o.decode) {
    const auto ids = parse_ids(*o.decode);
    if (!ids) return report(ids.error());
    for (const token_t id : *ids)
      if (id >= tokenizer.vocab_size())
        return report_usage("token id " + std::to_string(id) + " is not in the vocabulary");
    const auto back = tokenizer.decode(*ids, o.skip_special);
    if (!back) return report(back.error());
    std::cout << *back << '\n';
    return program::ok;
  }
  std::string text = o.text.value_or("");
  if (o.file) {
    auto read = read_all(*o.file);
    if (!read) return report(read.error());
    text = std::move(*read);
  }
  const auto ids = tokenizer.encode(text, {.add_special = !o.raw, .parse_special = !o.raw});
  if (!ids) return report(ids.error());
  std::cout << json_array(*ids) << '\n';
  return std::cout.flush() ? program::ok : program::model_error;
}

}  // namespace

int tokens(const std::string& model, const TokensOptions& o) {
  if (int(o.text.has_value()) + int(o.file.has_value()) + int(o.decode.has_value()) + int(o.lines.has_value()) != 1)
    return report_usage("tokens takes one of TEXT, --file, --decode and --lines");
  if (o.tiktoken) {
    auto tokenizer = read_tiktoken(model, *o.tiktoken);
    return tokenizer ? tokens(*tokenizer, o) : report(tokenizer.error());
  }
  auto files = open_model(model, OpenWhat::no_weights);
  if (!files) return report(files.error());
  auto language = Language::read(*files);
  return language ? tokens(language->tokenizer(), o) : report(language.error());
}

namespace {

/// 2025-07-10T12:00, seconds optional.
std::optional<LocalTime> parse_time(const std::string& text) {
  LocalTime c;
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d", &y, &mo, &d, &h, &mi, &s) < 5) return std::nullopt;
  c.year = y, c.month = mo, c.day = d, c.hour = h, c.minute = mi, c.second = s;
  return c.is_valid() ? std::optional(c) : std::nullopt;
}

}  // namespace

int prompt(const std::string& model, const PromptOptions& o) {
  std::string source;
  std::optional<Language> language;
  if (model != "-") {
    auto files = open_model(model, OpenWhat::no_weights);
    if (!files) return report(files.error());
    auto read = Language::read(*files);
    if (!read) return report(read.error());
    language = std::move(*read);
  } else if (o.chat_template.empty()) {
    return report_usage("MODEL may be - only with --template");
  }
  if (!o.chat_template.empty()) {
    auto text = read_all(o.chat_template);
    if (!text) return report(text.error());
    source = std::move(*text);
    if (!o.chat_template.ends_with(".jinja")) {
      auto found =
          find_chat_template({.chat_template_jinja = {}, .chat_template_json = source, .tokenizer_config_json = {}});
      if (!found) return report(found.error());
      if (!*found)
        return report(Error{Errc::bad_template, "no chat_template in the file", o.chat_template, {}, {}, {}});
      source = std::move(**found);
    }
  }
  const auto text = read_all(o.messages);
  if (!text) return report(text.error());
  const auto document = JsonDocument::parse(*text, o.messages);
  if (!document) return report(document.error());
  if (!document->root()["messages"].is_array())
    return report(
        Error{Errc::bad_file, "no list of messages", o.messages, "a JSON object with the key messages", {}, {}});

  if (language && source.empty())
    if (const std::string* own = language->chat_template(document->root()["tools"].size() > 0)) source = *own;
  if (source.empty())
    return report(
        Error{Errc::unsupported, "the model has no chat template", model, {}, {}, "pass one with --template"});

  RenderOptions options;
  if (!o.now.empty()) {
    const auto now = parse_time(o.now);
    if (!now) return report_usage("--now takes a time such as 2025-07-10T12:00, got " + o.now);
    options.now = *now;
  } else {
    const std::time_t seconds = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&seconds, &local);
    options.now =
        LocalTime{local.tm_year + 1900, local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec};
  }
  auto parsed = ChatTemplate::parse(source, o.chat_template.empty() ? "chat template of " + model : o.chat_template);
  if (!parsed) return report(parsed.error());
  auto variables = jinja::chat_variables(
      document->root(), language ? language->special_tokens() : std::span<const std::pair<std::string, std::string>>());
  if (!variables) return report(variables.error());
  const auto rendered = parsed->render(*variables, options);
  if (!rendered) return report(rendered.error());
  std::cout << rendered->text << std::flush;
  return program::ok;
}

}  // namespace inspect
