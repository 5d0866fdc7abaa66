#pragma once
// Template source -> tokens, with Jinja2's white space control; trim_blocks and lstrip_blocks are on, as transformers
// sets them, and one newline at the end of the source is dropped.
// Source: Jinja2 3.1 documentation, "Template Designer Documentation", sections White Space Control and Expressions.

#include "tmodel/text/jinja/heap.hpp"

namespace tmodel::inline v0::jinja {

/// Longest template; the longest known real one has 30 KB.
inline constexpr std::size_t max_template_bytes = std::size_t{256} << 10;

enum class TokenKind : std::uint8_t {
  data,            ///< text between tags, white space control applied
  variable_begin,  ///< {{
  variable_end,
  block_begin,  ///< {%
  block_end,
  name,
  string,  ///< with its quotes, escapes not decoded
  integer,
  real,
  symbol,  ///< an operator or a bracket
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::uint32_t begin = 0, end = 0;  ///< bytes of the normalised source
};

/// Line and column of a byte, from 1; columns count code points.
struct Position {
  std::size_t line = 1, column = 1;
};
inline Position position_of(std::string_view source, std::size_t at) noexcept {
  at = std::min(at, source.size());
  Position p;
  std::size_t line_begin = 0;
  for (std::size_t i = 0; i < at; ++i) {
    if (source[i] != '\n') continue;
    ++p.line;
    line_begin = i + 1;
  }
  p.column = 1 + count_code_points(source.substr(line_begin, at - line_begin));
  return p;
}

/// Newlines become "\n", and the last one goes.
inline std::string normalise_source(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

/// An error at a place of the source, as "line:column" in Error::where.
TMODEL_NOINLINE inline tl::unexpected<Raised> raise_at(std::string_view source, std::size_t at,
                                                       std::initializer_list<std::string_view> what,
                                                       Errc code = Errc::bad_template) {
  auto raised = raise(what, code);
  const Position p = position_of(source, at);
  raised.value()->where = std::to_string(p.line) + ":" + std::to_string(p.column);
  return raised;
}
inline tl::unexpected<Raised> raise_at(std::string_view source, std::size_t at, std::string_view what,
                                       Errc code = Errc::bad_template) {
  return raise_at(source, at, {what}, code);
}

class Lexer {
 public:
  /// `source` is normalised and outlives the tokens. Errors: an unclosed tag, an unknown character, brackets.
  static Outcome<std::vector<Token>> tokenize(std::string_view source) {
    Lexer lexer(source);
    while (lexer.at_ < source.size()) TMODEL_JINJA_CHECK(lexer.root());
    lexer.add(TokenKind::end, source.size(), source.size());
    return std::move(lexer.tokens_);
  }

 private:
  explicit Lexer(std::string_view source) : source_(source) {}

  void add(TokenKind kind, std::size_t begin, std::size_t end) {
    tokens_.push_back({kind, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
  }
  tl::unexpected<Raised> error(std::size_t at, std::initializer_list<std::string_view> what) const {
    return raise_at(source_, at, what);
  }
  tl::unexpected<Raised> error(std::size_t at, std::string_view what) const { return error(at, {what}); }
  bool starts(std::size_t at, std::string_view what) const noexcept { return source_.substr(at).starts_with(what); }
  std::size_t skip_space(std::size_t at) const noexcept {
    return at + strip_space(source_.substr(at), true, false).begin;
  }
  /// Moves behind a closing tag of two characters at `at`, with its white space control.
  void close(std::size_t at, char sign, bool trims_newline) {
    at_ = at + 2 + (sign != 0 ? 1 : 0);
    if (sign == '-')
      at_ = skip_space(at_);
    else if (sign == 0 && trims_newline && starts(at_, "\n"))
      ++at_;
    line_starts_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  /// Text from at_ to `end`, where a tag with this sign begins.
  void add_data(std::size_t end, char sign, bool is_variable) {
    std::string_view text = source_.substr(at_, end - at_);
    if (sign == '-') {
      text = text.substr(0, strip_space(text, false, true).end);
    } else if (sign != '+' && !is_variable) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t line = newline == text.npos ? 0 : newline + 1;
      if (line > 0 || line_starts_) {
        const std::string_view indent = text.substr(line);
        if (strip_space(indent).begin == indent.size()) text = text.substr(0, line);
      }
    }
    if (!text.empty()) add(TokenKind::data, at_, at_ + text.size());
  }

  Outcome<void> root() {
    std::size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == source_.npos) {
        add(TokenKind::data, at_, source_.size());
        at_ = source_.size();
        return {};
      }
      if (starts(tag, "{%") || starts(tag, "{{") || starts(tag, "{#")) break;
    }
    const char kind = source_[tag + 1];
    char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign != '-' && sign != '+') sign = 0;
    add_data(tag, sign, kind == '{');
    const std::size_t inside = tag + 2 + (sign != 0 ? 1 : 0);
    line_starts_ = false;
    if (kind == '#') return comment(tag, inside);
    if (kind == '%') {
      if (const std::size_t body = raw_body(inside); body != 0) return raw(tag, body);
    }
    add(kind == '{' ? TokenKind::variable_begin : TokenKind::block_begin, tag, inside);
    at_ = inside;
    return expression(tag, kind == '{');
  }

  /// Jinja2 does not miss the end of a comment or a raw block that begins where the template ends.
  bool at_end(std::size_t body) noexcept {
    if (body == source_.size()) at_ = body;
    return body == source_.size();
  }

  Outcome<void> comment(std::size_t tag, std::size_t inside) {
    if (at_end(inside)) return {};
    const std::size_t end = source_.find("#}", inside);
    if (end == source_.npos) return error(tag, "missing end of comment tag");
    const char sign = end > inside && (source_[end - 1] == '-' || source_[end - 1] == '+') ? source_[end - 1] : '\0';
    close(sign != 0 ? end - 1 : end, sign, true);
    return {};
  }

  /// Start of the text behind "raw %}", 0 if that is not what stands at `at`.
  std::size_t raw_body(std::size_t at) const noexcept {
    at = skip_space(at);
    if (!starts(at, "raw")) return 0;
    at = skip_space(at + 3);
    if (starts(at, "-%}")) return skip_space(at + 3);
    return starts(at, "%}") ? at + 2 : 0;
  }

  Outcome<void> raw(std::size_t tag, std::size_t body) {
    if (at_end(body)) return {};
    for (std::size_t end = body; (end = source_.find("{%", end)) != source_.npos; end += 2) {
      std::size_t at = end + 2;
      const char sign = at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at++] : '\0';
      at = skip_space(at);
      if (!starts(at, "endraw")) continue;
      at = skip_space(at + 6);
      const char closing = at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : '\0';
      if (!starts(at + (closing != 0 ? 1 : 0), "%}")) continue;
      at_ = body;
      line_starts_ = source_[body - 1] == '\n';
      add_data(end, sign, false);
      close(at, closing, true);
      return {};
    }
    return error(tag, "missing end of raw directive");
  }

  Outcome<void> expression(std::size_t tag, bool is_variable) {
    std::vector<char> brackets;
    const std::string_view closing = is_variable ? "}}" : "%}";
    for (;;) {
      at_ = skip_space(at_);
      if (at_ >= source_.size()) return error(tag, "this tag is not closed");
      if (brackets.empty()) {
        const char sign = source_[at_] == '-' || (source_[at_] == '+' && !is_variable) ? source_[at_] : '\0';
        if (starts(at_ + (sign != 0 ? 1 : 0), closing)) {
          add(is_variable ? TokenKind::variable_end : TokenKind::block_end, at_, at_ + 2);
          close(at_, sign, !is_variable);
          return {};
        }
      }
      TMODEL_JINJA_CHECK(token(brackets));
    }
  }

  static bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
  static bool is_name(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }
  /// End of digits that single underscores may separate.
  template <class Digit>
  std::size_t skip_digits(std::size_t at, Digit&& digit) const noexcept {
    const auto is = [&](std::size_t i) { return i < source_.size() && digit(source_[i]); };
    if (!is(at)) return at;
    while (is(at) || (at < source_.size() && source_[at] == '_' && is(at + 1))) ++at;
    return at;
  }

  void number() {
    const std::size_t begin = at_;
    const std::size_t whole = skip_digits(begin, is_digit);
    std::size_t end = whole;
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';
    if (!after_dot) {
      if (starts(end, ".") && skip_digits(end + 1, is_digit) > end + 1) end = skip_digits(end + 1, is_digit);
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        std::size_t exponent = end + 1;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
        if (const std::size_t last = skip_digits(exponent, is_digit); last > exponent) end = last;
      }
    }
    at_ = end;
    if (end > whole) return add(TokenKind::real, begin, end);
    if (source_[begin] == '0') {
      const char letter = begin + 1 < source_.size() ? static_cast<char>(source_[begin + 1] | 0x20) : '\0';
      const auto digit_of = [letter](char c) {
        const char low = static_cast<char>(c | 0x20);
        if (letter == 'x') return is_digit(c) || (low >= 'a' && low <= 'f');
        return c >= '0' && c <= (letter == 'b' ? '1' : '7');
      };
      if (letter == 'x' || letter == 'o' || letter == 'b') {
        const std::size_t digits = begin + 2 + (starts(begin + 2, "_") ? 1 : 0);
        if (const std::size_t last = skip_digits(digits, digit_of); last > digits) {
          at_ = last;
          return add(TokenKind::integer, begin, at_);
        }
      }
      at_ = skip_digits(begin, [](char c) { return c == '0'; });  // "012" is 0 and 12, which then does not parse
    }
    add(TokenKind::integer, begin, at_);
  }

  Outcome<void> token(std::vector<char>& brackets) {
    const std::size_t begin = at_;
    const char c = source_[at_];
    if (is_digit(c)) {
      number();
      return {};
    }
    if (is_name(c)) {
      while (at_ < source_.size() && is_name(source_[at_])) ++at_;
      add(TokenKind::name, begin, at_);
      return {};
    }
    if (c == '\'' || c == '"') {
      for (++at_; at_ < source_.size() && source_[at_] != c; ++at_)
        if (source_[at_] == '\\') ++at_;
      if (at_ >= source_.size()) return error(begin, "this string is not closed");
      add(TokenKind::string, begin, ++at_);
      return {};
    }
    constexpr std::string_view pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    for (const std::string_view pair : pairs) {
      if (!starts(at_, pair)) continue;
      add(TokenKind::symbol, begin, at_ += 2);
      return {};
    }
    constexpr std::string_view symbols = "+-/*%~[](){}<>=.:|,;";
    if (symbols.find(c) == symbols.npos) {
      const std::string_view shown = source_.substr(at_, decode(source_.substr(at_)).bytes);
      if (static_cast<unsigned char>(c) >= 0x80)  // Jinja2 takes any identifier of Python
        return raise_at(source_, begin, {"a name with '", printable(shown), "' is not supported"}, Errc::unsupported);
      return error(begin, {"unexpected character '", printable(shown), "'"});
    }
    if (c == '(' || c == '[' || c == '{') brackets.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != c) return error(begin, {"unexpected '", std::string_view(&c, 1), "'"});
      brackets.pop_back();
    }
    add(TokenKind::symbol, begin, ++at_);
    return {};
  }

  std::string_view source_;
  std::size_t at_ = 0;
  bool line_starts_ = true;  // at_ is at the start of a line as far as white space control is concerned
  std::vector<Token> tokens_;
};

}  // namespace tmodel::inline v0::jinja
