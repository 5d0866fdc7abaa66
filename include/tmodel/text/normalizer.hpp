#pragma once
// Normalisers of tokenizer.json: what happens to a piece of text before it is split. A list of steps.
// Kinds and semantics: the tokenizers library's normalizers.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/regex.hpp"
#include "tmodel/text/sentencepiece_rules.hpp"
#include "tmodel/text/unicode.hpp"

namespace tmodel::inline v0::tokenization {

struct NormalizerStep {
  enum class Kind : std::uint8_t {
    unicode,
    replace_text,
    replace_regex,
    prepend,
    strip,
    lowercase,
    precompiled,   ///< a charsmap, as the tokenizers library applies it
    sentencepiece  ///< all of sentencepiece's preparation
  };
  Kind kind = Kind::unicode;
  NormalForm form = NormalForm::nfc;  ///< unicode
  std::string pattern;                ///< replace_text; not empty
  std::string content;                ///< what replaces it; prepend
  std::optional<Regex> regex;         ///< replace_regex
  bool left = false, right = false;   ///< strip
  SentencePieceRules rules;           ///< precompiled (its charsmap alone), sentencepiece
};

class Normalizer {
 public:
  std::vector<NormalizerStep> steps;

  bool empty() const noexcept { return steps.empty(); }

  /// Normalises text (valid UTF-8) into out. front_cut: the first characters of text are gone, so that what is first
  /// now did not stand at its start. Errors: bad_argument (a regular expression gave up).
  expected<void> apply(std::string_view text, std::string& out, RegexScratch& scratch, bool& front_cut) const {
    front_cut = false;
    out.assign(text);
    std::string next;
    for (const NormalizerStep& step : steps) {
      next.clear();
      switch (step.kind) {
        case NormalizerStep::Kind::unicode:
          TMODEL_CHECK(normalize(step.form, out, next));
          break;
        case NormalizerStep::Kind::replace_text:
          front_cut |= replace_text(step, out, next);
          break;
        case NormalizerStep::Kind::replace_regex: {
          TMODEL_TRY(const bool cut, replace_regex(step, out, next, scratch));
          front_cut |= cut;
          break;
        }
        case NormalizerStep::Kind::prepend:
          if (!out.empty()) next = step.content + out;
          break;
        case NormalizerStep::Kind::strip:
          front_cut |= strip(step, out, next);
          break;
        case NormalizerStep::Kind::lowercase:
          for (std::size_t i = 0; i < out.size(); i += utf8_length_of(out[i]))
            append_lower(next, decode_utf8(std::string_view(out).substr(i)));
          break;
        case NormalizerStep::Kind::precompiled:
          front_cut |= precompiled(step.rules.charsmap, out, next);
          break;
        case NormalizerStep::Kind::sentencepiece:
          step.rules.apply(out, next);
          break;
      }
      out.swap(next);
    }
    return {};
  }

  std::size_t memory_bytes() const noexcept {
    std::size_t bytes = steps.capacity() * sizeof(NormalizerStep);
    for (const NormalizerStep& step : steps)
      bytes += (step.regex ? step.regex->memory_bytes() : 0) + step.rules.bytes();
    return bytes;
  }

 private:
  /// The tokenizers library looks up whole grapheme clusters of less than six bytes, then characters, and takes the
  /// shortest rule that fits the start; the rest of a cluster whose start a rule fits is lost with it.
  static bool precompiled(const Charsmap& map, std::string_view in, std::string& out) {
    bool cut = false;
    for (std::size_t begin = 0; begin < in.size();) {
      const std::size_t end = grapheme_end(in, begin);
      if (end - begin < 6) {
        if (const auto rule = map.shortest(in.substr(begin, end - begin))) {
          out += rule->replacement;
          cut |= begin == 0 && out.empty();
          begin = end;
          continue;
        }
      }
      for (; begin < end; begin += utf8_length_of(in[begin])) {
        const std::string_view one = in.substr(begin, utf8_length_of(in[begin]));
        const auto rule = map.shortest(one);
        out += rule ? rule->replacement : one;
        cut |= begin == 0 && out.empty();
      }
    }
    return cut;
  }
  static bool replace_text(const NormalizerStep& step, std::string_view in, std::string& out) {
    bool cut = false;
    for (std::size_t at = 0;;) {
      const std::size_t found = in.find(step.pattern, at);
      if (found == std::string_view::npos) return (out.append(in.substr(at)), cut);
      out.append(in.substr(at, found - at)).append(step.content);
      cut |= found == 0 && step.content.empty();
      at = found + step.pattern.size();
    }
  }
  static expected<bool> replace_regex(const NormalizerStep& step, std::string_view in, std::string& out,
                                      RegexScratch& scratch) {
    bool cut = false;
    std::size_t done = 0;
    TMODEL_CHECK(for_each_match(*step.regex, in, scratch, [&](std::size_t begin, std::size_t end) {
      out.append(in.substr(done, begin - done)).append(step.content);
      cut |= begin == 0 && end > 0 && step.content.empty();
      done = end;
    }));
    out.append(in.substr(done));
    return cut;
  }
  static bool strip(const NormalizerStep& step, std::string_view in, std::string& out) {
    std::size_t begin = 0, end = in.size();
    while (step.left && begin < end && is_space(decode_utf8(in.substr(begin)))) begin += utf8_length_of(in[begin]);
    while (step.right && end > begin && is_space(last_of_utf8(in.substr(0, end)))) {
      do --end;
      while ((static_cast<unsigned char>(in[end]) & 0xC0u) == 0x80u);
    }
    out.append(in.substr(begin, end - begin));
    return begin > 0;
  }
};

}  // namespace tmodel::inline v0::tokenization
