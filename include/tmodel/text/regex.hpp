#pragma once
// Regular expressions of tokenizers: compiled once, matched by many threads. The only PCRE2 include of the library.
// PCRE2 10.42 carries Unicode 14; UTF and UCP are on, its JIT is used where the system allows it.

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <memory>
#include <string>
#include <string_view>

#include "tmodel/core/error.hpp"
#include "tmodel/text/unicode.hpp"

namespace tmodel::inline v0::tokenization {

/// Room for one search; each thread has its own. May be empty if memory was short: find() then reports it.
class RegexScratch {
 public:
  RegexScratch() : data_(pcre2_match_data_create_8(1, nullptr)) {}

 private:
  friend class Regex;
  struct Free {
    void operator()(pcre2_match_data_8* p) const noexcept { pcre2_match_data_free_8(p); }
  };
  std::unique_ptr<pcre2_match_data_8, Free> data_;
};

/// A compiled expression. const calls need no lock.
class Regex {
 public:
  enum class Found : std::uint8_t { yes, no, failed };
  struct Match {
    std::size_t begin = 0, end = 0;
  };

  /// pattern: PCRE2's syntax (see regex_syntax.hpp). Errors: bad_file (it does not compile), out_of_memory.
  static expected<Regex> compile(std::string_view pattern, std::string_view where) {
    struct FreeContext {
      void operator()(pcre2_compile_context_8* p) const noexcept { pcre2_compile_context_free_8(p); }
    };
    const std::unique_ptr<pcre2_compile_context_8, FreeContext> context(pcre2_compile_context_create_8(nullptr));
    if (!context) return fail(Errc::out_of_memory);
    pcre2_set_newline_8(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_bsr_8(context.get(), PCRE2_BSR_UNICODE);
    int number = 0;
    PCRE2_SIZE offset = 0;
    Regex regex;
    regex.code_.reset(pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(pattern.data()), pattern.size(),
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &number, &offset,
                                      context.get()));
    if (!regex.code_) {
      PCRE2_UCHAR8 text[160] = {};
      pcre2_get_error_message_8(number, text, sizeof text);
      return fail(Errc::bad_file, "regular expression does not compile", where, {},
                  reinterpret_cast<const char*>(text));
    }
    regex.jit_ = pcre2_jit_compile_8(regex.code_.get(), PCRE2_JIT_COMPLETE) == 0;
    return regex;
  }

  /// First match at or after `start`. subject is valid UTF-8 and start a border of characters; both are not checked.
  /// failed: the expression gave up (its own backtracking limit) or memory was short.
  Found find(std::string_view subject, std::size_t start, RegexScratch& scratch, Match& match) const noexcept {
    pcre2_match_data_8* data = scratch.data_.get();
    if (data == nullptr) return Found::failed;
    const auto* text = reinterpret_cast<PCRE2_SPTR8>(subject.data());
    int result = PCRE2_ERROR_JIT_STACKLIMIT;
    if (jit_) result = pcre2_jit_match_8(code_.get(), text, subject.size(), start, 0, data, nullptr);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)  // or no JIT: the interpreter keeps its state on the heap
      result =
          pcre2_match_8(code_.get(), text, subject.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, nullptr);
    if (result == PCRE2_ERROR_NOMATCH) return Found::no;
    if (result < 0) return Found::failed;
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer_8(data);
    match = {found[0], found[1]};
    return Found::yes;
  }

  /// Bytes of the compiled expression and its machine code.
  std::size_t memory_bytes() const noexcept {
    std::size_t code = 0, machine = 0;
    pcre2_pattern_info_8(code_.get(), PCRE2_INFO_SIZE, &code);
    pcre2_pattern_info_8(code_.get(), PCRE2_INFO_JITSIZE, &machine);
    return code + machine;
  }

 private:
  struct Free {
    void operator()(pcre2_code_8* p) const noexcept { pcre2_code_free_8(p); }
  };
  std::unique_ptr<pcre2_code_8, Free> code_;
  bool jit_ = false;
};

/// Calls fn(begin, end) for every match, in order; an empty match right behind the former match does not count.
/// fn returns void or expected<void>. Errors: fn's; bad_argument (the expression gave up on this text).
template <class Fn>
expected<void> for_each_match(const Regex& regex, std::string_view text, RegexScratch& scratch, Fn&& fn) {
  constexpr std::size_t never = static_cast<std::size_t>(-1);
  Regex::Match match;
  for (std::size_t at = 0, last_end = never; at <= text.size();) {
    const Regex::Found found = regex.find(text, at, scratch, match);
    if (found == Regex::Found::no) break;
    if (found == Regex::Found::failed || match.begin < at || match.end < match.begin)
      return fail(Errc::bad_argument, "a regular expression of the tokenizer gives up on this text");
    if (match.begin == match.end && match.end == last_end) {
      at += at < text.size() ? utf8_length_of(text[at]) : 1;
      continue;
    }
    at = last_end = match.end;
    if constexpr (std::is_void_v<decltype(fn(match.begin, match.end))>)
      fn(match.begin, match.end);
    else
      TMODEL_CHECK(fn(match.begin, match.end));
  }
  return {};
}

}  // namespace tmodel::inline v0::tokenization
