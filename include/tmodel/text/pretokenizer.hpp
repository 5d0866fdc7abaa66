#pragma once
// Pre-tokenisers: what cuts normalised text into the pieces that are encoded one by one. A list of simple steps, run
// depth first, so that no list of pieces is ever held. Semantics: the tokenizers library's pre_tokenizers.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/byte_level.hpp"
#include "tmodel/text/regex.hpp"

namespace tmodel::inline v0::tokenization {

/// What becomes of the text that a splitting step matches.
enum class SplitBehavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Where Metaspace puts a mark in front.
enum class PrependScheme : std::uint8_t { always, first, never };

struct PreTokenizerStep {
  enum class Kind : std::uint8_t {
    split_regex,    ///< at matches of `regex`
    split_text,     ///< at places of `text`
    split_numeric,  ///< at characters of category N
    split_punctuation,
    split_space,
    prefix_space,  ///< puts a space in front unless there is one
    mark_spaces,   ///< Metaspace: spaces become `text`, and one is put in front by `scheme`
    map_bytes,     ///< ByteLevel: bytes become characters of the byte alphabet
  };
  Kind kind = Kind::split_regex;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  ///< what does not match counts as the match
  PrependScheme scheme = PrependScheme::always;
  std::string text;  ///< not empty where it is used
  std::optional<Regex> regex;
};

/// Room for one text. Each thread has its own.
struct PreTokenizerScratch {
  RegexScratch regex;
  std::vector<std::string> texts;  ///< one a step that changes the text
};

class PreTokenizer {
 public:
  std::vector<PreTokenizerStep> steps;

  /// Calls sink(piece), which returns expected<void>, for every piece of text (valid UTF-8, not empty). at_start: text
  /// stands at the start of the whole input. Errors: the sink's; bad_argument (a regular expression gave up).
  template <class Sink>
  expected<void> run(std::string_view text, bool at_start, PreTokenizerScratch& scratch, Sink&& sink) const {
    scratch.texts.resize(steps.size());
    return run_from(0, text, at_start, scratch, sink);
  }

  std::size_t memory_bytes() const noexcept {
    std::size_t bytes = steps.capacity() * sizeof(PreTokenizerStep);
    for (const PreTokenizerStep& step : steps) bytes += step.regex ? step.regex->memory_bytes() : 0;
    return bytes;
  }

 private:
  template <class Sink>
  expected<void> run_from(std::size_t index, std::string_view text, bool at_start, PreTokenizerScratch& scratch,
                          Sink& sink) const {
    if (text.empty()) return {};
    if (index == steps.size()) return sink(text);
    using Kind = PreTokenizerStep::Kind;
    const PreTokenizerStep& step = steps[index];
    const auto piece = [&](std::size_t begin, std::size_t end) -> expected<void> {
      return run_from(index + 1, text.substr(begin, end - begin), at_start && begin == 0, scratch, sink);
    };
    const auto by_class = [&](auto in_class) -> expected<void> {
      Splitter splitter(step, piece);
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_length_of(text[i]);
        if (in_class(decode_utf8(text.substr(i)))) TMODEL_CHECK(splitter.match(i, i + n));
        i += n;
      }
      return splitter.finish(text.size());
    };
    switch (step.kind) {
      case Kind::split_numeric:
        return by_class([](char32_t c) { return is_numeric(c); });
      case Kind::split_punctuation:
        return by_class([](char32_t c) { return is_punctuation(c); });
      case Kind::split_space:
        return by_class([](char32_t c) { return is_space(c); });
      case Kind::split_text: {
        Splitter splitter(step, piece);
        for (std::size_t at = text.find(step.text); at != std::string_view::npos;
             at = text.find(step.text, at + step.text.size()))
          TMODEL_CHECK(splitter.match(at, at + step.text.size()));
        return splitter.finish(text.size());
      }
      case Kind::split_regex: {
        Splitter splitter(step, piece);
        TMODEL_CHECK(for_each_match(*step.regex, text, scratch.regex,
                                    [&](std::size_t begin, std::size_t end) { return splitter.match(begin, end); }));
        return splitter.finish(text.size());
      }
      default:
        break;
    }
    std::string& changed = scratch.texts[index];
    changed.clear();
    if (step.kind == Kind::map_bytes) {
      append_mapped(changed, text);
    } else if (step.kind == Kind::prefix_space) {
      if (text[0] == ' ') return run_from(index + 1, text, at_start, scratch, sink);
      changed.append(" ").append(text);
    } else {
      const bool marked = text[0] == ' ' || text.substr(0, step.text.size()) == step.text;
      if (!marked && (step.scheme == PrependScheme::always || (step.scheme == PrependScheme::first && at_start)))
        changed += step.text;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t space = std::min(text.find(' ', at), text.size());
        changed.append(text.substr(at, space - at));
        if (space < text.size()) changed += step.text;
        at = space + 1;
      }
    }
    return run_from(index + 1, changed, at_start, scratch, sink);
  }

  /// Turns matches, in order, into pieces by a step's behaviour.
  template <class Emit>
  class Splitter {
   public:
    Splitter(const PreTokenizerStep& step, const Emit& emit)
        : behavior_(step.behavior), invert_(step.invert), emit_(emit) {}
    expected<void> match(std::size_t begin, std::size_t end) {
      if (done_ != begin) TMODEL_CHECK(part(done_, begin, invert_));
      done_ = end;
      return part(begin, end, !invert_);
    }
    expected<void> finish(std::size_t size) {
      if (done_ != size) TMODEL_CHECK(part(done_, size, invert_));
      return holds_ ? emit_(begin_, end_) : expected<void>{};
    }

   private:
    expected<void> part(std::size_t begin, std::size_t end, bool is_match) {
      if (behavior_ == SplitBehavior::isolated) return emit_(begin, end);
      if (behavior_ == SplitBehavior::removed) return is_match ? expected<void>{} : emit_(begin, end);
      const bool joins = holds_ && (behavior_ == SplitBehavior::contiguous             ? is_match == held_match_
                                    : behavior_ == SplitBehavior::merged_with_previous ? is_match && !held_match_
                                                                                       : !is_match && held_match_);
      held_match_ = is_match;
      if (joins) {
        end_ = end;
        return {};
      }
      const bool had = std::exchange(holds_, true);
      const std::size_t old_begin = std::exchange(begin_, begin), old_end = std::exchange(end_, end);
      return had ? emit_(old_begin, old_end) : expected<void>{};
    }
    SplitBehavior behavior_;
    bool invert_, holds_ = false, held_match_ = false;
    const Emit& emit_;
    std::size_t begin_ = 0, end_ = 0, done_ = 0;
  };
};

}  // namespace tmodel::inline v0::tokenization
