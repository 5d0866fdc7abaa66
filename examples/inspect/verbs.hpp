#pragma once
// The verbs of inspect; each returns the program's exit code. Results go to stdout, everything else to stderr.

#include <optional>
#include <string>

#include "program/program.hpp"

namespace inspect {

// model_verbs.cpp
int tensors(const std::string& file);
int info(const std::string& model, bool json);
int plan(const std::string& model, const program::DeviceChoice&, const program::ContextChoice&, int batch, bool json);
struct LogitsOptions {
  std::string ids, out;
  int rope_length = 0, start_position = 0;
};
int logits(const std::string& model, const program::DeviceChoice&, const program::ContextChoice&, const LogitsOptions&);
struct PerplexityOptions {
  std::string file;
  int chunks = 0;
};
int perplexity(const std::string& model, const program::DeviceChoice&, const program::ContextChoice&,
               const PerplexityOptions&);

// families_verb.cpp
int families(bool markdown);

// certify.cpp
struct CertifyOptions {
  std::string reference, json;
  bool all = false;
};
int certify(const std::string& model, const program::DeviceChoice&, const CertifyOptions&);

// text_verbs.cpp
struct TokensOptions {
  std::optional<std::string> text, file, decode, lines, tiktoken;
  bool raw = false, skip_special = false;
};
int tokens(const std::string& model, const TokensOptions&);
struct PromptOptions {
  std::string messages, chat_template, now;
};
int prompt(const std::string& model, const PromptOptions&);

// both
tmodel::expected<std::string> read_all(const std::string& path);
tmodel::expected<std::vector<tmodel::token_t>> parse_ids(const std::string& text);

}  // namespace inspect
