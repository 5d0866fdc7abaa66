// inspect: what is in a model file, and what a model computes, for people and scripts. See README, "inspect".

#include "inspect/verbs.hpp"

const unsigned program::required_features = program::compiled_for();

int program::run(int argc, char** argv) {
  CLI::App app(
      "Looks into model files and computes with them. MODEL: a GGUF file, a safetensors folder, or a folder with a "
      "GGUF file.");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::to_string(TMODEL_VERSION_MAJOR) + "." + std::to_string(TMODEL_VERSION_MINOR) +
                                        "." + std::to_string(TMODEL_VERSION_PATCH));
  std::string model;
  bool json = false;
  int batch = 0;
  DeviceChoice device;
  ContextChoice context;
  inspect::LogitsOptions logits;
  inspect::PerplexityOptions perplexity;
  inspect::CertifyOptions certify;
  inspect::TokensOptions tokens;
  inspect::PromptOptions prompt;
  const auto verb = [&](const char* name, const char* help, const char* argument = "MODEL") {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->add_option(argument, model, std::string(argument) == "FILE" ? "A GGUF or .safetensors file" : "The model")
        ->required();
    return sub;
  };

  CLI::App* tensors_verb = verb("tensors", "Lists the tensors of one file as a container", "FILE");
  CLI::App* info_verb = verb("info", "Says what a model is");
  info_verb->add_flag("--json", json, "As JSON");
  bool markdown = false;
  CLI::App* families_verb = app.add_subcommand("families", "Lists the families, backends and formats of this build");
  families_verb->add_flag("--markdown", markdown, "As the tables of README");
  CLI::App* tokens_verb = verb("tokens", "Text to token ids, as a JSON array, and back");
  tokens_verb->add_option("TEXT", tokens.text, "The text");
  tokens_verb->add_option("--file", tokens.file, "Read the text from a file or pipe, as it is");
  tokens_verb->add_flag("--raw", tokens.raw, "Add no special tokens and read special-token text as plain text");
  tokens_verb->add_option("--decode", tokens.decode, "Ids, separated by commas: print their text");
  tokens_verb->add_flag("--skip-special", tokens.skip_special, "Leave special tokens out when decoding");
  tokens_verb->add_option("--lines", tokens.lines,
                          "Read JSON lines from a file, - is stdin: a text becomes its ids, a list of ids its text");
  tokens_verb->add_option("--tiktoken", tokens.tiktoken,
                          "MODEL is a tiktoken rank file; JSON file with its pattern and special_tokens {text: id}, "
                          "and perhaps bos_token, eos_token, add_bos_token, add_eos_token");
  CLI::App* prompt_verb = verb("prompt", "Renders a chat prompt");
  prompt_verb->add_option("MESSAGES", prompt.messages, "JSON file with messages, tools, add_generation_prompt...")
      ->required();
  prompt_verb->add_option("--template", prompt.chat_template,
                          "A .jinja file, or JSON with chat_template; MODEL may be - then");
  prompt_verb->add_option("--now", prompt.now, "The present for templates that ask, as 2025-07-10T12:00");
  CLI::App* logits_verb = verb("logits", "Writes the logits of every token as little-endian f32 [n, vocabulary]");
  logits_verb->add_option("--ids", logits.ids, "Token ids, separated by commas")->required();
  logits_verb->add_option("--out", logits.out, "File to write")->required();
  logits_verb
      ->add_option("--rope-length", logits.rope_length,
                   "Positions that dynamic rope scaling and longrope are computed for, default: up to the last id's")
      ->check(CLI::Range(0, 1 << 22));
  logits_verb->add_option("--start-position", logits.start_position, "Position of the first id, default 0")
      ->check(CLI::Range(0, 1 << 22));
  CLI::App* perplexity_verb = verb("perplexity", "Perplexity of a text");
  perplexity_verb->add_option("--file", perplexity.file, "The text")->required();
  perplexity_verb->add_option("--chunks", perplexity.chunks, "Chunks to score, 0: all")->check(CLI::Range(0, 1 << 30));
  CLI::App* plan_verb = verb("plan", "Says how much memory a model will take");
  plan_verb->add_option("--batch", batch, "Also a batch of so many sessions")->check(CLI::Range(0, 4096));
  plan_verb->add_flag("--json", json, "As JSON");
  CLI::App* certify_verb =
      verb("certify",
           "Compares every intermediate with a reference dump: exit code 0 if all are within the bound, 5 if not");
  certify_verb->add_option("--reference", certify.reference, "A dump that tools/reference_dump.py made")->required();
  certify_verb->add_option("--json", certify.json, "File for a report with every intermediate");
  certify_verb->add_flag("--all", certify.all, "A line for each layer, not only for the worst one");
  for (CLI::App* sub : {logits_verb, perplexity_verb, plan_verb, certify_verb}) add_device_options(*sub, device);
  for (CLI::App* sub : {logits_verb, perplexity_verb, plan_verb}) add_context_options(*sub, context);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return report_usage(e.what());
  }
  if (*tensors_verb) return inspect::tensors(model);
  if (*families_verb) return inspect::families(markdown);
  if (*info_verb) return inspect::info(model, json);
  if (*tokens_verb) return inspect::tokens(model, tokens);
  if (*prompt_verb) return inspect::prompt(model, prompt);
  if (*logits_verb) return inspect::logits(model, device, context, logits);
  if (*perplexity_verb) return inspect::perplexity(model, device, context, perplexity);
  if (*certify_verb) return inspect::certify(model, device, certify);
  return inspect::plan(model, device, context, batch, json);
}
