#pragma once
// generate(): prompt -> tokens -> streamed text, over any session, tokenizer and sampler. Says why it ended.

#include <optional>
#include <string>
#include <vector>

#include "tmodel/model/session.hpp"
#include "tmodel/text/log_probabilities.hpp"
#include "tmodel/text/sampler.hpp"
#include "tmodel/text/stop.hpp"
#include "tmodel/text/stream_decoder.hpp"
#include "tmodel/text/tokenizer.hpp"

namespace tmodel::inline v0 {

/// What is said about a token when it was drawn.
struct DrawnToken {
  token_t id = -1;
  std::string_view text;    ///< what became visible with it; empty for an end token
  f32 log_probability = 0;  ///< under the model's own distribution, if that was asked for
  std::span<const TokenLogProbability>
      alternatives;  ///< the likeliest tokens, best first; the drawn one may be missing
};

struct GenerateOptions {
  int max_tokens = 0;                        ///< 0: until the context is full
  std::span<const std::string> stop = {};    ///< never printed, not even in part
  std::span<const token_t> end_tokens = {};  ///< ids that end the text
  bool continue_text = false;                ///< the text goes on from the prompt's: a first space is kept
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;  ///< tells parallel answers with one seed apart
  const std::atomic<bool>* cancel = nullptr;
  FunctionRef<void(int done, int total)> prompt_progress = {};
  FunctionRef<bool(std::string_view)> on_text = {};    ///< whole characters only; false ends
  FunctionRef<bool(const DrawnToken&)> on_token = {};  ///< every token, the end token too, before its text; false ends
  bool log_probabilities = false;                      ///< fill in DrawnToken's, see LogProbabilities
  int alternatives = 0;                                ///< how many of them, with log_probabilities
  /// Tokens that may come next, asked before each draw with the tokens so far; empty: all. Valid until it is asked
  /// again.
  FunctionRef<TokenMask(std::span<const token_t> tokens)> allowed = {};
};

struct Generation {
  StopReason reason = StopReason::none;
  int prompt_tokens = 0;
  int tokens = 0;  ///< drawn, the end token not counted
};

/// Appends the prompt, then draws and appends tokens until a rule says stop. An error leaves the session with what was
/// computed. Errors: those of Session::append(), bad_argument (no token can be chosen); once the prompt is read, a full
/// context and a set cancel flag are reasons to stop and no errors.
template <class SessionT, TextTokenizer TokenizerT, TokenSampler SamplerT>
expected<Generation> generate(SessionT& session, const TokenizerT& tokenizer, SamplerT& sampler,
                              std::span<const token_t> prompt, const GenerateOptions& o) {
  return guard([&]() -> expected<Generation> {
    Generation result{.prompt_tokens = static_cast<int>(prompt.size())};
    TMODEL_CHECK(session.append(prompt, {.cancel = o.cancel, .progress = o.prompt_progress}));
    if (session.logits().empty()) return fail(Errc::bad_argument, "empty prompt", "generate");
    TMODEL_TRY(StreamDecoder stream, StreamDecoder::create(tokenizer));
    for (const token_t id : o.continue_text ? prompt : std::span<const token_t>()) stream.push(id);
    std::optional<LogProbabilities> probabilities;
    if (o.log_probabilities) {
      TMODEL_TRY(probabilities, LogProbabilities::create(static_cast<int>(session.logits().size()), o.alternatives));
    }
    const auto report = [&](token_t id, std::string_view text) {
      if (!o.on_token) return true;
      DrawnToken token{.id = id, .text = text, .log_probability = 0, .alternatives = {}};
      if (probabilities) token.log_probability = probabilities->of(id), token.alternatives = probabilities->likeliest();
      return o.on_token(token);
    };
    const auto is_over = [&](token_t id, std::string_view text) { return !report(id, text); };
    TMODEL_TRY(
        StopRules rules,
        StopRules::create(
            {.end_tokens = o.end_tokens, .stop_strings = o.stop, .max_tokens = o.max_tokens, .is_over = is_over}));
    bool closed = false;  // on_text wants no more
    const auto say = [&](std::string_view text) {
      if (text.empty() || closed || !o.on_text || o.on_text(text)) return;
      closed = true;
      result.reason = StopReason::caller;
    };

    while (result.reason == StopReason::none) {
      const DrawKey key{
          .seed = o.seed, .sequence = o.sequence, .position = static_cast<std::uint64_t>(session.length())};
      if (probabilities) probabilities->read(session.logits());
      if (o.allowed) apply_mask(session.logits(), o.allowed(session.tokens()));
      const token_t id = sampler(session.logits(), session.tokens(), key);
      if (id < 0)
        return fail(Errc::bad_argument, "no token can be chosen", "generate",
                    "a finite logit of a token that is allowed");
      const bool is_end = rules.is_end(id);
      if (is_end) report(id, {});
      const StopRules::Step step = rules.push(id, is_end ? std::string_view() : stream.push(id));
      result.reason = step.reason;
      say(step.text);
      if (result.reason != StopReason::none) break;
      if (auto appended = session.append(std::span(&id, 1), {.cancel = o.cancel}); !appended) {
        if (appended.error().code == Errc::context_full)
          result.reason = StopReason::context_full;
        else if (appended.error().code == Errc::cancelled)
          result.reason = StopReason::cancelled;
        else
          return tl::unexpected<Error>(std::move(appended).error());
      }
    }
    result.tokens = rules.tokens();
    if (result.reason != StopReason::stop_string) {
      say(rules.push_rest(stream.finish()));  // half a character that the text ended in
      say(rules.finish());
    }
    return result;
  });
}

}  // namespace tmodel::inline v0
