#pragma once
// Translates the regular expressions of tokenizer.json, which are Oniguruma's (Ruby syntax), into PCRE2's.
// The two differ silently: \s, \w, \h, ^, $, {n}+, nested classes, scripts. What has no exact counterpart is refused.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/core/error.hpp"
#include "tmodel/text/byte_level.hpp"

namespace tmodel::inline v0::tokenization {

namespace detail {
// Members of Oniguruma's \s, without brackets: Unicode White_Space. PCRE2's own \s also has U+180E.
inline constexpr std::string_view space_members =
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
inline constexpr std::string_view other_than_space_members =
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x84\\x86-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{"
    "202e}"
    "\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";
// Members of Oniguruma's \w. Outside a class, and in \b, it also counts the superscripts and fractions of Latin-1.
inline constexpr std::string_view word_members =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{"
    "1f189}";
inline constexpr std::string_view latin_word_members = "\\xb2\\xb3\\xb9\\xbc-\\xbe";

inline constexpr std::array<std::string_view, 37> general_categories = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Cs", "Co", "Cn"};
inline constexpr std::array<std::string_view, 24> scripts = {
    "Arabic",   "Armenian", "Bengali",  "Bopomofo", "Cyrillic",  "Devanagari", "Ethiopic", "Georgian",
    "Greek",    "Gujarati", "Gurmukhi", "Han",      "Hangul",    "Hebrew",     "Hiragana", "Kannada",
    "Katakana", "Khmer",    "Lao",      "Latin",    "Malayalam", "Myanmar",    "Tamil",    "Thai"};

class RegexTranslator {
 public:
  RegexTranslator(std::string_view pattern, std::string_view where) : in_(pattern), where_(where) {}

  expected<std::string> run() {
    if (in_.size() > 65536) return refuse("a pattern longer than 65,536 bytes");
    if (valid_prefix(in_) != in_.size()) return refuse("a pattern that is not UTF-8");
    if (in_.substr(0, 4) == "(?i)") {
      out_ += "(?i)";
      caseless_.push_back(true);
      at_ = 4;
    } else {
      caseless_.push_back(false);
    }
    while (at_ < in_.size()) TMODEL_CHECK(item());
    if (!group_starts_.empty()) return refuse("an open group");
    return std::move(out_);
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  tl::unexpected<Error> refuse(std::string_view construct) const {
    return fail(Errc::unsupported, "regular expression has " + std::string(construct), where_, {},
                std::string(in_.substr(0, 200)));
  }
  bool next_is(std::string_view text) const { return in_.substr(at_, text.size()) == text; }
  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }

  expected<void> item() {
    switch (in_[at_]) {
      case '(':
        return open_group();
      case ')':
        if (group_starts_.empty()) return refuse("a ) without (");
        ++at_;
        out_ += ')';
        atom_ = group_starts_.back();
        group_starts_.pop_back();
        caseless_.pop_back();
        return {};
      case '|':
        ++at_;
        out_ += '|';
        atom_ = none;
        return {};
      case '[':
        return character_class();
      case '\\':
        return escape();
      case '*':
      case '+':
      case '?':
        return quantifier();
      case '{':
        return interval();
      case '^':
        return (++at_, out_ += "(?m:^)", atom_ = none, expected<void>{});  // Ruby: always by lines
      case '$':
        return (++at_, out_ += "(?m:$)", atom_ = none, expected<void>{});
      default:
        break;
    }
    const std::size_t n = utf8_length_of(in_[at_]);
    if (in_[at_] == ']' || in_[at_] == '}')
      atom("\\"), out_ += in_[at_];
    else
      atom(in_.substr(at_, n));
    at_ += n;
    return {};
  }

  expected<void> open_group() {
    static constexpr std::array<std::string_view, 8> kinds = {
        "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"};
    if (group_starts_.size() >= 50) return refuse("groups nested deeper than 50");
    group_starts_.push_back(out_.size());
    caseless_.push_back(caseless_.back());
    atom_ = none;
    if (!next_is("(?") && !next_is("(*")) return (++at_, out_ += '(', expected<void>{});
    for (const std::string_view kind : kinds) {
      if (!next_is(kind)) continue;
      if (kind == "(?i:") caseless_.back() = true;
      if (kind == "(?-i:") caseless_.back() = false;
      at_ += kind.size();
      out_ += kind;
      return {};
    }
    return refuse("the group " + std::string(in_.substr(at_, 5)));
  }

  /// * + ? with an optional ? or + behind.
  expected<void> quantifier() {
    if (atom_ == none) return refuse("a quantifier without something to repeat");
    out_ += in_[at_++];
    if (at_ < in_.size() && (in_[at_] == '?' || in_[at_] == '+')) out_ += in_[at_++];
    atom_ = none;
    return {};
  }

  expected<void> interval() {
    const std::size_t close = in_.find('}', at_);
    const std::string_view body = close == none ? std::string_view() : in_.substr(at_ + 1, close - at_ - 1);
    const auto digits = [](std::string_view s) {
      return s.size() <= 4 && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    const std::size_t comma = body.find(',');
    const std::string_view low = body.substr(0, comma), high = comma == none ? low : body.substr(comma + 1);
    if (body.empty() || body == "," || !digits(low) || !digits(high)) {  // Ruby takes it literally
      atom("\\{");
      ++at_;
      return {};
    }
    if (atom_ == none) return refuse("a quantifier without something to repeat");
    out_ += '{';
    out_ += low.empty() ? "0" : low;
    if (comma != none) (out_ += ',') += high;
    out_ += '}';
    at_ = close + 1;
    if (at_ < in_.size() && in_[at_] == '?') {
      if (comma == none) return refuse("{n}?");
      out_ += in_[at_++];
    } else if (at_ < in_.size() && in_[at_] == '+') {  // Ruby: a repeated repetition, not a possessive one
      out_.insert(atom_, "(?:");
      out_ += ")+";
      ++at_;
    }
    atom_ = none;
    return {};
  }

  expected<void> escape() {
    if (at_ + 1 >= in_.size()) return refuse("a backslash at its end");
    const char c = in_[at_ + 1];
    const auto bracketed = [&](std::string_view open, std::string_view members) {
      atom(open);
      (out_ += members) += ']';
      at_ += 2;
      return expected<void>{};
    };
    const auto assertion = [&](std::string_view text) {
      out_ += text;
      atom_ = none;
      at_ += 2;
      return expected<void>{};
    };
    const std::string word_class = std::string(word_members) + std::string(latin_word_members),
                      word = "[" + word_class + "]";
    switch (c) {
      case 's':
        return bracketed("[", space_members);
      case 'S':
        return bracketed("[^", space_members);
      case 'w':
        return bracketed("[", word_class);
      case 'W':
        return bracketed("[^", word_class);
      case 'h':
        return bracketed("[", "0-9a-fA-F");
      case 'H':
        return bracketed("[^", "0-9a-fA-F");
      case 'A':
      case 'z':
      case 'Z':
        return assertion(in_.substr(at_, 2));
      case 'b':
        return assertion("(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))");
      case 'B':
        return assertion("(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))");
      case 'R':
        return (atom("\\R"), at_ += 2, expected<void>{});
      default:
        break;
    }
    const std::size_t start = out_.size();
    TMODEL_CHECK(common_escape());
    atom_ = start;
    return {};
  }

  /// Escapes that mean the same inside and outside a class. Sets set_ if it stands for more than one character.
  expected<void> common_escape() {
    const char c = in_[at_ + 1];
    set_ = false;
    switch (c) {
      case 'd':
      case 'D':
        set_ = true;
        at_ += 2;
        out_ += c == 'd' ? "\\p{Nd}" : "\\P{Nd}";
        return {};
      case 'p':
      case 'P':
        return property();
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        out_ += in_.substr(at_, 2);
        at_ += 2;
        return {};
      case 'v':
        out_ += "\\x0b";
        at_ += 2;
        return {};
      case 'x':
      case 'u':
        return code_point();
      default:
        break;
    }
    const auto b = static_cast<unsigned char>(c);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || b < 0x20 || b == 0x7F)
      return refuse("the escape \\" + std::string(1, c));
    if (b < 0x80) out_ += '\\';
    const std::size_t n = utf8_length_of(c);
    out_ += in_.substr(at_ + 1, n);
    at_ += 1 + n;
    return {};
  }

  /// \xHH, \x{H...}, \uHHHH
  expected<void> code_point() {
    const bool braced = in_.substr(at_, 3) == "\\x{";
    const std::size_t begin = at_ + (braced ? 3 : 2);
    const std::size_t end = braced ? in_.find('}', begin) : begin + (in_[at_ + 1] == 'x' ? 2 : 4);
    if (end == none || end > in_.size() || end == begin || end - begin > 6) return refuse("a malformed code point");
    char32_t value = 0;
    for (const char c : in_.substr(begin, end - begin)) {
      const int digit = hex_digit(c);
      if (digit < 0) return refuse("a malformed code point");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    // \x80 to \xFF are raw bytes in Oniguruma, not characters.
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000) || (!braced && in_[at_ + 1] == 'x' && value >= 0x80))
      return refuse("the code point " + std::string(in_.substr(at_, end - at_ + braced)));
    static constexpr char hex[] = "0123456789abcdef";
    out_ += "\\x{";
    for (int shift = 20; shift >= 0; shift -= 4) out_ += hex[value >> shift & 15u];
    out_ += '}';
    at_ = end + braced;
    return {};
  }

  expected<void> property() {
    const std::size_t close = in_.find('}', at_);
    if (close == none || in_[at_ + 2] != '{') return refuse("a property without braces");
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    bool negated = in_[at_ + 1] == 'P';
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.remove_prefix(1);
    }
    const bool category =
        std::find(general_categories.begin(), general_categories.end(), name) != general_categories.end();
    const bool script = std::find(scripts.begin(), scripts.end(), name) != scripts.end();
    if (!category && !script) return refuse("the property " + std::string(name.substr(0, 40)));
    if (caseless_.back() && (name == "Lu" || name == "Ll" || name == "Lt")) return refuse("a case property in (?i)");
    out_ += negated ? "\\P{" : "\\p{";
    if (script) out_ += "sc:";  // PCRE2 would take Script_Extensions
    (out_ += name) += '}';
    at_ = close + 1;
    set_ = true;
    return {};
  }

  expected<void> character_class() {
    atom("[");
    ++at_;
    if (next_is("^")) out_ += in_[at_++];
    if (next_is("]")) return refuse("a class that is empty or starts with ]");
    bool single = false;  // the last member was one character, so that a range may start with it
    for (;;) {
      if (at_ >= in_.size()) return refuse("an open class");
      if (in_[at_] == ']') break;
      if (in_[at_] == '[') return refuse("a class within a class");
      if (next_is("&&")) return refuse("an intersection of classes");
      if (in_[at_] == '-') {
        ++at_;
        if (!single || next_is("]")) {
          out_ += "\\-";
          continue;
        }
        out_ += '-';
        TMODEL_CHECK(class_member());
        if (set_) return refuse("a range that ends in a set");
        single = false;
        continue;
      }
      TMODEL_CHECK(class_member());
      single = !set_;
    }
    ++at_;
    out_ += ']';
    return {};
  }

  expected<void> class_member() {
    set_ = false;
    if (at_ >= in_.size() || in_[at_] == '[' || next_is("&&")) return refuse("a malformed class");
    if (in_[at_] != '\\') {
      const std::size_t n = utf8_length_of(in_[at_]);
      out_ += in_.substr(at_, n);
      at_ += n;
      return {};
    }
    if (at_ + 1 >= in_.size()) return refuse("a backslash at its end");
    const auto members = [&](std::string_view text) {
      out_ += text;
      at_ += 2;
      set_ = true;
      return expected<void>{};
    };
    switch (in_[at_ + 1]) {
      case 's':
        return members(space_members);
      case 'S':
        return members(other_than_space_members);
      case 'w':
        return members(word_members);
      case 'h':
        return members("0-9a-fA-F");
      default:
        return common_escape();
    }
  }

  std::string_view in_, where_;
  std::size_t at_ = 0;
  std::string out_;
  std::size_t atom_ = none;  ///< where in out_ the thing starts that a quantifier would repeat
  bool set_ = false;
  std::vector<std::size_t> group_starts_;
  std::vector<bool> caseless_;
};
}  // namespace detail

/// The PCRE2 expression that matches what Oniguruma's would. Errors: unsupported, with the construct's name.
inline expected<std::string> translate_regex(std::string_view oniguruma, std::string_view where) {
  return detail::RegexTranslator(oniguruma, where).run();
}

}  // namespace tmodel::inline v0::tokenization
