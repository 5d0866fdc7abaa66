// generate: asks a model once, or chats with it. The answer goes to stdout, everything else to stderr.

#include <csignal>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>

#include "generate/progress.hpp"
#include "program/program.hpp"

const unsigned program::required_features = program::compiled_for();

namespace {

using namespace tmodel;
using program::report;
using Clock = std::chrono::steady_clock;

std::atomic<bool> interrupted{false};

// Once: end the answer. Twice: end the program, with the status that a shell expects.
extern "C" void on_interrupt(int) {
  if (interrupted.exchange(true)) ::_exit(130);
}

struct Options {
  std::string model, prompt, file, system_prompt, chat_template;
  bool raw = false, timings = false, show_plan = false, list_devices = false, chat = false;
  int max_tokens = 0;
  std::size_t max_memory = 0;  // MB
  std::uint64_t seed = 0;
  std::optional<float> temperature, top_p;
  std::optional<int> top_k;
  std::vector<std::string> stop;
  program::DeviceChoice device;
  program::ContextChoice context;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

LocalTime now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return {local.tm_year + 1900, local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec};
}

SamplerOptions sampling(const Options& o, const Language* language) {
  SamplerOptions s = language != nullptr && !o.raw ? language->sampling() : SamplerOptions{};
  if (o.temperature) s.temperature = *o.temperature;
  if (o.top_k) s.top_k = *o.top_k;
  if (o.top_p) s.top_p = *o.top_p;
  return s;
}

struct Timing {
  Clock::time_point start = Clock::now();
  std::optional<Clock::time_point> first;
  void text() {
    if (!first) first = Clock::now();
  }
  void print(double load, const Generation& g) const {
    const Clock::time_point begun = first.value_or(Clock::now());
    const double prompt = std::chrono::duration<double>(begun - start).count();
    const double rest = seconds_since(begun);
    std::fprintf(stderr, "load %.0f ms, prompt %d tokens %.1f tok/s, answer %d tokens %.1f tok/s, ended by: %s\n", load * 1e3, g.prompt_tokens,
                 g.prompt_tokens / std::max(prompt, 1e-9), g.tokens, std::max(g.tokens - 1, 0) / std::max(rest, 1e-9),
                 std::string(name_of(g.reason)).c_str());
  }
};

bool write_out(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

template <class B>
class Talk {
 public:
  Talk(const Options& options, const Pretrained<B>& model, double load) : o_(options), model_(model), load_(load) {}

  int raw(const std::string& prompt) {
    const Language* language = model_.language();
    if (language == nullptr) return report(Error{Errc::unsupported, "the model came without a tokenizer", o_.model, {}, {}, {}});
    auto ids = language->tokenizer().encode(prompt);
    if (!ids) return report(ids.error());
    auto session = model_.session();
    if (!session) return report(session.error());
    auto sampler = Sampler::create(sampling(o_, language), model_.config().vocab);
    if (!sampler) return report(sampler.error());
    Timing timing;
    program::ProgressBar bar("prompt");
    const auto progress = [&](int done, int total) { bar.show(done, total); };
    const auto on_text = [&](std::string_view text) { return bar.clear(), timing.text(), write_out(text); };
    auto g = generate(*session, language->tokenizer(), *sampler, *ids,
                      {.max_tokens = o_.max_tokens, .stop = o_.stop, .end_tokens = language->end_tokens(), .continue_text = true, .seed = o_.seed,
                       .cancel = &interrupted, .prompt_progress = progress, .on_text = on_text});
    bar.clear();
    if (!g) return report(g.error());
    write_out("\n");
    if (o_.timings) timing.print(load_, *g);
    return program::ok;
  }

  int open_chat() {
    ChatOptions c{.system_prompt = o_.system_prompt, .max_tokens = o_.max_tokens, .sampling = sampling(o_, model_.language()), .stop = o_.stop,
                  .seed = o_.seed, .session = program::session_options(o_.context), .now = now()};
    if (!o_.chat_template.empty()) {
      std::ifstream in(o_.chat_template, std::ios::binary);
      if (!in) return report(Error{Errc::io, "cannot open the file", o_.chat_template, {}, {}, {}});
      c.chat_template.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto chat = Chat<B>::make(model_, std::move(c));
    if (!chat) return report(chat.error());
    chat_.emplace(std::move(*chat));
    return program::ok;
  }

  int ask(const std::string& question) {
    Timing timing;
    program::ProgressBar bar("prompt");
    const auto progress = [&](int done, int total) { bar.show(done, total); };
    const auto on_text = [&](std::string_view text) { return bar.clear(), timing.text(), write_out(text); };
    auto answer = chat_->ask(question, {.cancel = &interrupted, .prompt_progress = progress, .on_text = on_text});
    bar.clear();
    if (!answer && answer.error().code == Errc::cancelled) return program::ok;
    if (!answer) return report(answer.error());
    write_out("\n");
    if (o_.timings) timing.print(load_, answer->generation);
    return program::ok;
  }

  int converse() {
    const bool terminal = ::isatty(STDIN_FILENO) != 0;
    if (terminal) std::fprintf(stderr, "Ask something. Ctrl-C ends an answer, Ctrl-D the chat.\n");
    for (std::string line;;) {
      if (terminal) std::fprintf(stderr, "> ");
      interrupted = false;
      if (!std::getline(std::cin, line)) break;
      if (line.empty()) continue;
      if (const int code = ask(line); code != program::ok && !terminal) return code;
    }
    if (terminal) std::fprintf(stderr, "\n");
    return program::ok;
  }

 private:
  const Options& o_;
  const Pretrained<B>& model_;
  double load_;
  std::optional<Chat<B>> chat_;
};

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
  for (const tmodel::opencl::DeviceInfo& d : *devices) std::printf("opencl:%d  %s (%s)\n", d.index, d.name.c_str(), d.platform.c_str());
#endif
  return program::ok;
}

template <class B>
int run_model(const Options& o, const typename B::Options& backend) {
  using Model = AnyTransformer<B, program::Families>;
  const auto start = Clock::now();
  program::ProgressBar bar("loading");
  const auto stage = [&](std::string_view name) { bar.say(name); };
  LoadOptions load{.session = program::session_options(o.context), .memory_limit = o.max_memory * 1000000,
                   .missing_format = o.device.missing_format(), .text = TextUse::required};
  if (o.show_plan) {
    const auto plan = Model::plan(o.model, load);
    if (!plan) return report(plan.error());
    std::printf("%zu bytes: %s mapped, %s allocated\n", plan->total(), program::readable_bytes((*plan)[Purpose::weights_mapped]).c_str(),
                program::readable_bytes(plan->total() - (*plan)[Purpose::weights_mapped]).c_str());
    return program::ok;
  }
  load.progress = stage;
  auto model = Model::load(o.model, load, backend);
  bar.clear();
  if (!model) return report(model.error());
  Talk<B> talk(o, *model, seconds_since(start));

  std::string prompt = o.prompt;
  const bool from_stdin = o.prompt == "-" || (o.prompt.empty() && o.file.empty() && !o.chat && ::isatty(STDIN_FILENO) == 0);
  if (from_stdin) prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (!o.file.empty()) {
    std::ifstream in(o.file, std::ios::binary);
    if (!in) return report(Error{Errc::io, "cannot open the file", o.file, {}, {}, {}});
    prompt.assign(std::istreambuf_iterator<char>(in), {});
  }
  const bool one_shot = from_stdin || !prompt.empty();
  if (o.raw) return one_shot ? talk.raw(prompt) : program::report_usage("--raw needs a prompt");
  if (const int code = talk.open_chat(); code != program::ok) return code;
  return one_shot ? talk.ask(prompt) : talk.converse();
}

}  // namespace

int program::run(int argc, char** argv) {
  CLI::App app("Asks a language model once (-p, -f or a pipe), or chats with it.");
  Options o;
  app.set_version_flag("--version", std::to_string(TMODEL_VERSION_MAJOR) + "." + std::to_string(TMODEL_VERSION_MINOR) + "." +
                                        std::to_string(TMODEL_VERSION_PATCH));
  app.add_option("-m,--model", o.model, "GGUF file or model folder");
  app.add_option("-p,--prompt", o.prompt, "Question; - reads it from stdin");
  app.add_option("-f,--file", o.file, "Read the question from a file");
  app.add_option("--system-prompt,--sys", o.system_prompt, "System prompt");
  app.add_option("-n,--max-tokens,--predict,--n-predict", o.max_tokens, "Longest answer in tokens, 0: until the context is full")->check(CLI::Range(0, 1 << 30));
  app.add_flag("--raw", o.raw, "Continue the text as it is, without a chat template");
  app.add_flag("--chat", o.chat, "Read one question per line from stdin, even from a pipe");
  app.add_option("--chat-template", o.chat_template, "Jinja file in place of the model's template");
  app.add_option("--temp,--temperature", o.temperature, "Sampling temperature, 0: always the likeliest token; default: the model's");
  app.add_option("--top-k", o.top_k, "Draw from the k likeliest tokens, 0: all");
  app.add_option("--top-p", o.top_p, "Draw from the likeliest tokens of this total probability");
  app.add_option("-s,--seed", o.seed, "Seed of the drawing")->capture_default_str();
  app.add_option("--stop", o.stop, "Text that ends the answer; may stand several times");
  app.add_option("--max-memory", o.max_memory, "Refuse to load above so many MB, mapped weights not counted");
  app.add_flag("--plan", o.show_plan, "Print the memory plan and exit");
  app.add_flag("--timings", o.timings, "Print times after the answer");
  app.add_flag("--list-devices", o.list_devices, "Print what --backend takes and exit");
  add_device_options(app, o.device);
  add_context_options(app, o.context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return report_usage(e.what());
  }
  if (o.list_devices) return list_devices();
  if (o.model.empty()) return report_usage("--model is missing; see --help");

  struct sigaction action {};
  action.sa_handler = on_interrupt;  // without SA_RESTART: a read that waits for input ends
  ::sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);     // a closed pipe ends the answer through write_out
  return with_backend(o.device, [&]<class B>(const typename B::Options& options) { return run_model<B>(o, options); });
}
