#pragma once
// Damages templates in seeded ways and renders what still parses: the driver of the mutation tests. Nothing may crash,
// take longer than `slowest`, or give more than the limits allow. TMODEL_TEMPLATE_MUTATIONS sets how many.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "text/template_generator.hpp"

namespace tmodel::random_templates {

/// Longest rendering under sanitizers on a busy machine. Measured: see HACKING.md.
inline constexpr std::chrono::seconds slowest{120};

inline std::uint64_t mutation_count(std::uint64_t otherwise) {
  const char* text = std::getenv("TMODEL_TEMPLATE_MUTATIONS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// 1: letters and digits, 2: white space, 0: signs.
inline int kind_of(char c) {
  const auto byte = static_cast<unsigned char>(c);
  const bool is_letter = byte == '_' || byte >= 0x80 || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
  return is_letter || (byte >= '0' && byte <= '9') ? 1 : byte == ' ' || byte == '\n' ? 2 : 0;
}

inline bool is_keyword(std::string_view word) {
  constexpr std::string_view keywords[] = {
      "for",       "in",   "if", "else", "elif", "endif", "endfor", "set", "call",     "endcall", "filter",
      "endfilter", "with", "is", "not",  "and",  "or",    "macro",  "raw", "endmacro", "endwith", "endset"};
  return std::find(std::begin(keywords), std::end(keywords), word) != std::end(keywords);
}

/// The template as words, runs of white space, and signs.
inline std::vector<std::string> tokens_of(std::string_view source) {
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (i != 0 && kind_of(source[i]) != 0 && kind_of(source[i]) == kind_of(source[i - 1]))
      tokens.back() += source[i];
    else
      tokens.emplace_back(1, source[i]);
  }
  return tokens;
}

/// One to four damages to bytes or tokens of a template, or a splice with another one. Half of them put a word in
/// another's place, which most often still parses.
inline std::string mutate(const std::string& source, const std::string& other, TemplateGenerator& random) {
  constexpr std::string_view words[] = {"99999",
                                        "range(99999)",
                                        "messages",
                                        "loop.length",
                                        "x|list",
                                        "0",
                                        "-1",
                                        "messages|tojson",
                                        "s[::-1]",
                                        "[x, x]",
                                        "caller()",
                                        "namespace(a=x)",
                                        "x|indent(99)",
                                        "none",
                                        "'%9999s'|format(1)",
                                        "s|center(99999)",
                                        "true",
                                        "missing",
                                        "s|replace('', s)",
                                        "d.items()",
                                        "(x, 1)",
                                        "f(f)",
                                        "x|map('string')",
                                        "x|batch(2)",
                                        "loop.changed(x)",
                                        "x|sort",
                                        "s * 999",
                                        "9.5",
                                        "x|unique",
                                        "'\\ud83d'",
                                        "x|dictsort"};
  constexpr std::string_view pieces[] = {"{%",
                                         "%}",
                                         "{{",
                                         "}}",
                                         "-",
                                         "|",
                                         "(",
                                         ")",
                                         "[",
                                         "]",
                                         "'",
                                         "~",
                                         "**",
                                         "{#",
                                         " in ",
                                         " if ",
                                         ".x",
                                         " not ",
                                         "\xff",
                                         "\n",
                                         "*",
                                         "=",
                                         ",",
                                         "\\",
                                         " is ",
                                         " else ",
                                         "{% endfor %}",
                                         "{% endif %}",
                                         "{% for x in messages %}",
                                         "{% macro f(a) %}",
                                         "{% endmacro %}",
                                         "{% set x = x %}"};
  std::vector<std::string> tokens = tokens_of(source);
  for (std::size_t n = 1 + random.below(random.below(4) != 0 ? 2 : 4); n > 0 && !tokens.empty(); --n) {
    const auto place = [&] { return tokens.begin() + static_cast<std::ptrdiff_t>(random.below(tokens.size())); };
    const auto word = [&] {
      auto found = place();
      for (int tries = 0; tries < 20 && (kind_of((*found)[0]) != 1 || is_keyword(*found)); ++tries) found = place();
      return found;
    };
    const auto at = place();
    switch (random.below(14)) {
      case 0:
        tokens.erase(at);
        break;
      case 1:
        tokens.insert(at, *place());
        break;
      case 2:
        std::swap(*at, *place());
        break;
      case 3:
        tokens.insert(at, std::string(random.pick(pieces)));
        break;
      case 4:  // a byte
        (*at)[random.below(at->size())] = static_cast<char>(random.below(256));
        break;
      case 5: {  // some of it again
        const auto from = place();
        const auto length = std::min(tokens.end() - from, static_cast<std::ptrdiff_t>(random.below(60)));
        const std::vector<std::string> again(from, from + length);
        tokens.insert(at, again.begin(), again.end());
        break;
      }
      case 6: {  // the end of another
        const std::vector<std::string> rest = tokens_of(other);
        const auto length = static_cast<std::ptrdiff_t>(random.below(rest.size() + 1));
        tokens.erase(at, tokens.end());
        tokens.insert(tokens.end(), rest.end() - length, rest.end());
        break;
      }
      case 7:
      case 8:
      case 9:
        *word() = *word();
        break;
      default:
        *word() = random.pick(words);
    }
  }
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

/// Mutates `sources` and as many generated templates, and renders them with one of `contexts`.
inline void survive_mutations(const std::vector<std::string>& sources, const std::vector<jinja::Value>& contexts,
                              std::uint64_t count) {
  using Clock = std::chrono::steady_clock;
  const RenderOptions options{.now = LocalTime{.year = 2025, .month = 7, .day = 10, .hour = 12}, .limits = {}};
  Clock::duration worst{};
  std::uint64_t worst_case = 0, parsed_cases = 0, rendered_cases = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    TemplateGenerator random(i);
    const auto source = [&] { return sources.empty() || random.below(2) ? random.make() : random.pick(sources); };
    const std::string first = source(), second = source(), mutated = mutate(first, second, random);
    const jinja::Value context = contexts.empty() || random.below(2) ? random.variables() : random.pick(contexts);
    const auto begin = Clock::now();
    auto parsed = ChatTemplate::parse(mutated, "mutated");
    parsed_cases += parsed.has_value();
    if (parsed) {
      auto rendered = parsed->render(context, options);
      rendered_cases += rendered.has_value();
      if (rendered) {
        EXPECT_LE(rendered->text.size(), options.limits.output_bytes) << "case " << i;
      }
    } else {
      EXPECT_NE(parsed.error().where.find(':'), std::string::npos) << "case " << i << ": " << parsed.error().message();
    }
    if (const auto took = Clock::now() - begin; took > worst) worst = took, worst_case = i;
    ASSERT_LT(worst, slowest) << "case " << i << "\n" << mutated;
  }
  EXPECT_GT(parsed_cases, count / 5);  // the mutations are not all syntax errors
  EXPECT_GT(rendered_cases, count / 20);
  std::printf("%llu mutated templates, %llu parsed, %llu rendered; the slowest, case %llu, took %lld ms\n",
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(parsed_cases),
              static_cast<unsigned long long>(rendered_cases), static_cast<unsigned long long>(worst_case),
              static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(worst).count()));
}

}  // namespace tmodel::random_templates
