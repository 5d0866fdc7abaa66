#pragma once
// generate(): prompt -> tokens -> streamed text, over any session, tokenizer and sampler. Says why it ended.

#include <string>
#include <vector>

#include "tmodel/model/session.hpp"
#include "tmodel/text/sampler.hpp"
#include "tmodel/text/stop.hpp"
#include "tmodel/text/stream_decoder.hpp"
#include "tmodel/text/tokenizer.hpp"

namespace tmodel::inline v0 {

struct GenerateOptions {
  int max_tokens = 0;                          ///< 0: until the context is full
  std::span<const std::string> stop = {};      ///< never printed, not even in part
  std::span<const token_t> end_tokens = {};    ///< ids that end the text
  bool continue_text = false;                  ///< the text goes on from the prompt's: a first space is kept
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;                  ///< tells parallel answers with one seed apart
  const std::atomic<bool>* cancel = nullptr;
  FunctionRef<void(int done, int total)> prompt_progress = {};
  FunctionRef<bool(std::string_view)> on_text = {};  ///< whole characters only; false ends
};

struct Generation {
  StopReason reason = StopReason::none;
  int prompt_tokens = 0;
  int tokens = 0;  ///< drawn, the end token not counted
};

/// Appends the prompt, then draws and appends tokens until a rule says stop. An error leaves the session with what was
/// computed. Errors: those of Session::append(); once the prompt is read, a full context and a set cancel flag are
/// reasons to stop and no errors.
template <class SessionT, TextTokenizer TokenizerT, TokenSampler SamplerT>
expected<Generation> generate(SessionT& session, const TokenizerT& tokenizer, SamplerT& sampler, std::span<const token_t> prompt,
                              const GenerateOptions& o) {
  return guard([&]() -> expected<Generation> {
    Generation result{.prompt_tokens = static_cast<int>(prompt.size())};
    TMODEL_CHECK(session.append(prompt, {.cancel = o.cancel, .progress = o.prompt_progress}));
    if (session.logits().empty()) return fail(Errc::bad_argument, "empty prompt", "generate");
    TMODEL_TRY(StreamDecoder stream, StreamDecoder::create(tokenizer));
    for (const token_t id : o.continue_text ? prompt : std::span<const token_t>()) stream.push(id);
    TMODEL_TRY(StopRules rules, StopRules::create({.end_tokens = o.end_tokens, .stop_strings = o.stop, .max_tokens = o.max_tokens}));
    const auto say = [&](std::string_view text) {
      if (!text.empty() && o.on_text && !o.on_text(text)) result.reason = StopReason::caller;
    };

    while (result.reason == StopReason::none) {
      const DrawKey key{.seed = o.seed, .sequence = o.sequence, .position = static_cast<std::uint64_t>(session.length())};
      const token_t id = sampler(session.logits(), session.tokens(), key);
      const StopRules::Step step = rules.push(id, rules.is_end(id) ? std::string_view() : stream.push(id));
      result.reason = step.reason;
      say(step.text);
      if (result.reason != StopReason::none) break;
      if (auto appended = session.append(std::span(&id, 1), {.cancel = o.cancel}); !appended) {
        if (appended.error().code == Errc::context_full) result.reason = StopReason::context_full;
        else if (appended.error().code == Errc::cancelled) result.reason = StopReason::cancelled;
        else return tl::unexpected<Error>(std::move(appended).error());
      }
    }
    result.tokens = rules.tokens();
    if (result.reason != StopReason::stop_string && result.reason != StopReason::caller) {
      say(rules.push_rest(stream.finish()));  // half a character that the text ended in
      say(rules.finish());
    }
    return result;
  });
}

}  // namespace tmodel::inline v0
