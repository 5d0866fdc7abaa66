// generate: asks a model once, or chats with it. The answer goes to stdout, everything else to stderr.

#include <ctime>
#include <iostream>

#include "generate/chat_loop.hpp"
#include "generate/json_loop.hpp"

const unsigned program::required_features = program::compiled_for();

namespace {

using namespace tmodel;
using namespace program;

LocalTime now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return {local.tm_year + 1900, local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec};
}

/// The question that the command line or a pipe gives; none: a chat.
expected<std::optional<std::string>> given_prompt(const Options& o) {
  if (!o.file.empty()) {
    TMODEL_TRY(std::string text, read_file(o.file));
    return o.raw ? std::move(text) : without_last_newline(std::move(text));
  }
  if (o.prompt == "-" || (o.prompt.empty() && !o.chat && ::isatty(STDIN_FILENO) == 0)) {
    std::string text(std::istreambuf_iterator<char>(std::cin), {});
    if (!o.raw) text = without_last_newline(std::move(text));
    if (text.empty()) return fail(Errc::bad_argument, "the question is empty", "stdin");
    return text;
  }
  if (!o.prompt.empty()) return o.prompt;
  return std::nullopt;
}

template <class B>
int answer_raw(const Options& o, const Pretrained<B>& model, const SamplerOptions& sampler_options,
               const std::string& prompt, Stats& stats) {
  const Language& language = *model.language();
  auto ids = language.tokenizer().encode(prompt);
  if (!ids) return report(ids.error());
  auto session = model.session();
  if (!session) return report(session.error());
  auto sampler = Sampler::create(sampler_options, model.config().vocab);
  if (!sampler) return report(sampler.error());
  stats.context_size = session->capacity();
  Speaker speaker(o, stats, false);
  return speaker.speak([&](const AskOptions& ask) -> expected<Answer> {
    Answer answer;
    const auto on_text = [&](std::string_view text) { return answer.text += text, ask.on_text(text); };
    TMODEL_TRY(answer.generation, generate(*session, language.tokenizer(), *sampler, *ids,
                                           {.max_tokens = o.max_tokens,
                                            .stop = o.stop,
                                            .end_tokens = language.end_tokens(),
                                            .continue_text = true,
                                            .seed = o.seed,
                                            .cancel = ask.cancel,
                                            .prompt_progress = ask.prompt_progress,
                                            .on_text = on_text}));
    stats.context_used = session->length();
    return answer;
  });
}

template <class B>
expected<std::unique_ptr<Conversation>> open_chat(const Options& o, const Pretrained<B>& model,
                                                  SamplerOptions sampler_options) {
  ChatOptions c{.system_prompt = o.system_prompt,
                .max_tokens = o.max_tokens,
                .sampling = std::move(sampler_options),
                .stop = o.stop,
                .seed = o.seed,
                .session = session_options(o.context),
                .now = now(),
                .ignore_end_tokens = o.ignore_eos};
  if (!o.system_prompt_file.empty()) {
    TMODEL_TRY(c.system_prompt, read_file(o.system_prompt_file));
    c.system_prompt = without_last_newline(std::move(c.system_prompt));
  }
  if (!o.chat_template.empty()) {
    TMODEL_TRY(c.chat_template, read_file(o.chat_template));
  }
  TMODEL_TRY(Chat<B> chat, Chat<B>::make(model, std::move(c)));
  return std::unique_ptr<Conversation>(std::make_unique<ConversationOn<B>>(std::move(chat)));
}

int converse(const Options& o, Conversation& conversation, const std::optional<std::string>& prompt, Stats& stats) {
  stats.context_size = conversation.context_size();
  if (prompt && !o.chat) {
    Speaker speaker(o, stats, false);
    return speaker.speak([&](const AskOptions& ask) {
      auto answer = conversation.ask(*prompt, ask);
      stats.context_used = conversation.context_used();
      return answer;
    });
  }
  if (o.json) return JsonLoop(conversation, o, stats).run(prompt.value_or(""));
  return ChatLoop(conversation, o, stats).run(prompt.value_or(""));
}

template <class B>
int run_model(const Options& o, const typename B::Options& backend) {
  using Model = AnyTransformer<B, Families>;
  const auto start = std::chrono::steady_clock::now();
  ProgressBar bar("loading");
  const auto stage = [&](std::string_view name) { bar.say(name); };
  LoadOptions load{.session = session_options(o.context),
                   .memory_limit = o.max_memory * 1000000,
                   .missing_format = o.device.missing_format(),
                   .text = TextUse::required};
  if (o.show_plan) {
    const auto plan = Model::plan(o.model, load);
    if (!plan) return report(plan.error());
    std::printf("%zu bytes: %s mapped, %s allocated\n", plan->total(),
                readable_bytes((*plan)[Purpose::weights_mapped]).c_str(),
                readable_bytes(plan->total() - (*plan)[Purpose::weights_mapped]).c_str());
    return ok;
  }
  load.progress = stage;
  auto model = Model::load(o.model, load, backend);
  bar.clear();
  if (!model) return report(model.error());
  Stats stats;
  stats.seed = o.seed;
  stats.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  auto sampler_options = sampling(o, *model->language());
  if (!sampler_options) return report(sampler_options.error());
  const bool in_vain = draws_in_vain(o, *sampler_options);
  const auto prompt = given_prompt(o);
  if (!prompt) return report(prompt.error());
  if (o.raw)
    return *prompt ? answer_raw<B>(o, *model, *sampler_options, **prompt, stats) : report_usage("--raw needs a prompt");
  auto conversation = open_chat<B>(o, *model, std::move(*sampler_options));
  if (!conversation) return report(conversation.error());
  if (in_vain) terminal::note("note: at temperature 0 nothing is drawn; see --temp");
  return converse(o, **conversation, *prompt, stats);
}

int list_devices() {
#if PROGRAM_WITH_REFERENCE
  std::printf("reference\n");
#endif
#if PROGRAM_WITH_CPU
  std::printf("cpu\n");
#endif
#if PROGRAM_WITH_OPENCL
  const auto devices = tmodel::opencl::list_devices();
  if (!devices) return report(devices.error());
  for (const tmodel::opencl::DeviceInfo& d : *devices)
    std::printf("opencl:%d  %s (%s)\n", d.index, d.name.c_str(), d.platform.c_str());
#endif
  return ok;
}

}  // namespace

int program::run(int argc, char** argv) {
  CLI::App app("Asks a language model once (-p, -f or a pipe), or chats with it.", "generate");
  Options o;
  app.set_version_flag("--version", std::to_string(TMODEL_VERSION_MAJOR) + "." + std::to_string(TMODEL_VERSION_MINOR) +
                                        "." + std::to_string(TMODEL_VERSION_PATCH));
  add_options(app, o);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  std::replace(arguments.begin(), arguments.end(), std::string("-sys"),
               std::string("--system-prompt"));      // as llama.cpp has it
  std::reverse(arguments.begin(), arguments.end());  // the order that parse() takes them in
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return report_usage(e.what());
  }
  if (const std::string problem = complete(o); !problem.empty()) return report_usage(problem);
  if (o.list_devices) return list_devices();
  signals::install();
  return with_backend(o.device, [&]<class B>(const typename B::Options& options) { return run_model<B>(o, options); });
}
