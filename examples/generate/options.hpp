#pragma once
// The options of generate and what they mean for the sampler. Spellings that users of llama.cpp and mlx-lm know.

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "program/program.hpp"

namespace program {

struct Options {
  std::string model, prompt, file, system_prompt, system_prompt_file, chat_template, seed_text = "0";
  bool raw = false, timings = false, show_plan = false, list_devices = false, chat = false, json = false,
       stream = false;
  bool ignore_eos = false;
  int max_tokens = 0;
  std::size_t max_memory = 0;  // MB
  std::uint64_t seed = 0;
  std::optional<float> temperature, top_p, min_p, typical_p, repeat_penalty, frequency_penalty, presence_penalty;
  std::optional<int> top_k, repeat_last_n;
  std::vector<std::string> stop, logit_bias;
  DeviceChoice device;
  ContextChoice context;
};

constexpr const char* help_footer =
    R"(Exit status: 0 ok (an answer that Ctrl-C ended is one), 1 usage, 2 model or file, 3 memory, 4 device, 130 Ctrl-C.

In a chat, /help lists the commands. Old turns are forgotten as wholes when the context is short of room for an answer:
--max-tokens, or a quarter of the context. NO_COLOR and TERM=dumb are respected.

--json writes one object a line; "type" says what it is:
  {"type":"answer","text":...,"reason":...,"dropped_messages":...,"prompt_tokens":...,"cached_tokens":...,
   "answer_tokens":...,"context_used":...,"context_size":...,"seed":...,"load_seconds":...,"prompt_seconds":...,
   "answer_seconds":...}
      reason: end_of_text, stop_string, token_limit, context_full, cancelled; cached_tokens of prompt_tokens were
      computed for an earlier answer
  {"type":"delta","text":...}                  a piece of the answer to come, with --stream
  {"type":"error","code":...,"message":...}    in place of an answer
With --chat (or a terminal) it reads one JSON value a line: "question", {"question":...} or {"command":...,"text":...}.
The commands are those of a chat: regen gives an answer; clear, undo and system give {"type":command,"messages":count};
history gives {"type":"history","messages":[{"role":...,"content":...}...]}, stats {"type":"stats",...}. A line that
fails gives an error object, and the next one is read.)";

inline void add_options(CLI::App& app, Options& o) {
  app.add_option("-m,--model", o.model, "GGUF file or model folder");
  app.add_option("-p,--prompt", o.prompt, "Question; - reads it from stdin");
  app.add_option("-f,--file", o.file, "Read the question from a file");
  app.add_option("--system-prompt,--sys", o.system_prompt, "System prompt (also -sys)");
  app.add_option("--system-prompt-file", o.system_prompt_file, "Read the system prompt from a file")
      ->excludes("--system-prompt");
  app.add_option("-n,--max-tokens,--predict,--n-predict", o.max_tokens,
                 "Longest answer in tokens, 0 or -1: until the context is full")
      ->check(CLI::Range(-1, 1 << 30));
  app.add_flag("--raw", o.raw, "Continue the text as it is, without a chat template");
  app.add_flag("--chat", o.chat, "Chat, from a pipe too: one question per line");
  app.add_option("--chat-template", o.chat_template, "Jinja file in place of the model's template");
  app.add_flag("--json", o.json, "Write JSON lines, see below");
  app.add_flag("--stream", o.stream, "With --json: the pieces of an answer too, as they come")->needs("--json");

  constexpr const char* sampling =
      "Sampling, in this order of steps (default: what the model's generation_config says)";
  const auto option = [&](const char* name, auto& value, const char* text) {
    return app.add_option(name, value, text)->group(sampling);
  };
  option("--logit-bias", o.logit_bias,
         "TOKEN+X or TOKEN-X: added to a token's logit; -inf forbids it; may stand several times");
  app.add_flag("--ignore-eos", o.ignore_eos, "Forbid the tokens that end an answer")->group(sampling);
  option("--repeat-penalty,--repetition-penalty", o.repeat_penalty,
         "Divides the logits of tokens that were there; 1: none");
  option("--frequency-penalty", o.frequency_penalty, "Subtracted for each time that a token was there");
  option("--presence-penalty", o.presence_penalty, "Subtracted once if a token was there");
  option("--repeat-last-n", o.repeat_last_n,
         "Last tokens that the penalties look at, the prompt's too; -1: all of them");
  option("--temp,--temperature", o.temperature, "0: always the likeliest token");
  option("--top-k", o.top_k, "Draw from the k likeliest tokens, 0: all");
  option("--top-p", o.top_p, "Draw from the likeliest tokens of this total probability");
  option("--min-p", o.min_p, "Draw from tokens at least so likely relative to the likeliest");
  option("--typical,--typical-p", o.typical_p,
         "Draw from the tokens nearest to the expected information, of this total probability");
  option("-s,--seed", o.seed_text, "Seed of the drawing, -1: another one each time")->capture_default_str();

  app.add_option("--stop", o.stop, "Text that ends the answer; may stand several times");
  app.add_option("--max-memory", o.max_memory, "Refuse to load above so many MB, mapped weights not counted");
  app.add_flag("--plan", o.show_plan, "Print the memory plan and exit");
  app.add_flag("--timings", o.timings, "Print times after the answer");
  app.add_flag("--list-devices", o.list_devices, "Print what --backend takes and exit");
  add_device_options(app, o.device);
  add_context_options(app, o.context);
  app.footer(help_footer);
}

/// What the parser does not check; an empty text: all is well.
inline std::string complete(Options& o) {
  o.max_tokens = std::max(o.max_tokens, 0);
  if (o.seed_text == "-1") {
    std::random_device device;
    o.seed = std::uint64_t{device()} << 32 | device();
  } else {
    const char* end = o.seed_text.data() + o.seed_text.size();
    const auto [at, problem] = std::from_chars(o.seed_text.data(), end, o.seed);
    if (problem != std::errc() || at != end)
      return "--seed takes -1 or a number from 0 to 2^64 - 1, got " + o.seed_text;
  }
  if (o.model.empty() && !o.list_devices) return "--model is missing; see --help";
  return {};
}

inline tmodel::expected<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return tmodel::fail(tmodel::Errc::io, "cannot open the file", path);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) return tmodel::fail(tmodel::Errc::io, "cannot read the file", path);
  return text;
}
/// Editors and echo end a text with a newline that is not meant.
inline std::string without_last_newline(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

/// "15043-1.5" as token and bias.
inline tmodel::expected<std::pair<tmodel::token_t, float>> parse_logit_bias(const std::string& text) {
  tmodel::token_t id = 0;
  const char* end = text.data() + text.size();
  const auto [sign, problem] = std::from_chars(text.data(), end, id);
  char* rest = nullptr;
  const float bias =
      problem == std::errc() && sign != end && (*sign == '+' || *sign == '-') ? std::strtof(sign, &rest) : 0;
  if (rest != end)
    return tmodel::fail(tmodel::Errc::bad_argument, "logit bias", "--logit-bias", "TOKEN+X or TOKEN-X", text);
  return std::pair(id, bias);
}

/// The model's defaults with the options over them.
inline tmodel::expected<tmodel::SamplerOptions> sampling(const Options& o, const tmodel::Language& language) {
  tmodel::SamplerOptions s = o.raw ? tmodel::SamplerOptions{} : language.sampling();
  s.temperature = o.temperature.value_or(s.temperature);
  s.top_k = o.top_k.value_or(s.top_k);
  s.top_p = o.top_p.value_or(s.top_p);
  s.min_p = o.min_p.value_or(s.min_p);
  s.typical_p = o.typical_p.value_or(s.typical_p);
  s.repetition_penalty = o.repeat_penalty.value_or(s.repetition_penalty);
  s.frequency_penalty = o.frequency_penalty.value_or(s.frequency_penalty);
  s.presence_penalty = o.presence_penalty.value_or(s.presence_penalty);
  s.penalty_window = o.repeat_last_n.value_or(s.penalty_window);
  for (const std::string& text : o.logit_bias) {
    TMODEL_TRY(const auto bias, parse_logit_bias(text));
    s.logit_bias.push_back(bias);
  }
  if (o.ignore_eos && o.raw)  // in a chat, ChatOptions knows more of them
    s.banned.insert(s.banned.end(), language.end_tokens().begin(), language.end_tokens().end());
  return s;
}
/// Whether the user chose how to draw where nothing is drawn.
inline bool draws_in_vain(const Options& o, const tmodel::SamplerOptions& s) {
  return s.temperature == 0 && (o.top_k || o.top_p || o.min_p || o.typical_p);
}

}  // namespace program
