#pragma once
// Random templates in which text from messages is told from the template's own by its letters: z and ж in any case
// stand in messages alone, q and ю in literals alone, and no operation writes either by itself.

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tmodel/text/chat_template.hpp"

namespace tmodel::random_templates {

/// Letters that only messages hold, and letters that only literals of templates hold.
constexpr bool is_of_message(char32_t c) { return c == U'z' || c == U'Z' || c == U'ж' || c == U'Ж'; }
constexpr bool is_of_template(char32_t c) { return c == U'q' || c == U'Q' || c == U'ю' || c == U'Ю'; }

class TemplateGenerator {
 public:
  explicit TemplateGenerator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  template <class Items>
  auto pick(const Items& items) {
    return items[below(std::size(items))];
  }

  std::string make() {
    left_ = 40;
    std::string out =
        "{% set x = s %}{% set m = messages[0] %}{% macro f(a, b='q') %}{{ a }}q{{ b }}{{ varargs|join }}{% endmacro %}"
        "{% macro g(a) %}{{ a }}{{ kwargs }}{% endmacro %}";
    for (std::size_t n = 1 + below(5); n > 0; --n) out += fill("$B", 3).append(pick(separators));
    return out;
  }

  /// Variables of these templates: messages and tools as a chat passes them, a marked string, list and dict.
  jinja::Value variables() {
    using jinja::Value;
    const auto text = [&] { return Value::string(pick(message_texts), true); };
    std::vector<Value> messages;
    for (std::size_t n = 1 + below(3); n > 0; --n)
      messages.push_back(Value::dict(std::vector<std::pair<std::string, Value>>{
          {"role", Value::string(below(2) ? "user" : "assistant")}, {"content", text()}}));
    std::vector<std::pair<Value, Value>> marked;
    for (std::size_t n = 1 + below(3); n > 0; --n)
      marked.emplace_back(Value::string("z" + std::to_string(n), true), text());
    const Value dict = Value::dict(std::move(marked));
    return Value::dict(std::vector<std::pair<std::string, Value>>{{"messages", Value::list(std::move(messages))},
                                                                  {"s", text()},
                                                                  {"l", Value::list({text(), text(), text()})},
                                                                  {"d", dict},
                                                                  {"tools", Value::list({dict})}});
  }

 private:
  // $S: a text, $L: a list of texts, $Q: a literal, $N: a number, $B: a statement, $I: statements.
  static constexpr std::string_view texts[] = {
      "s",
      "x",
      "m.content",
      "messages[0]['content']",
      "messages[-1].content",
      "l[0]",
      "d['z1']",
      "tools[0].z1",
      "$Q",
      "$Q",
      "($S ~ $S)",
      "($S ~ $N ~ $S)",
      "($S + $S)",
      "($S * 2)",
      "($S if $N else $S)",
      "($S or $S)",
      "($S and $S)",
      "$S[$N]",
      "$S[$N:]",
      "$S[:$N]",
      "$S[::-1]",
      "$S[$N::2]",
      "$S.upper()",
      "$S.lower()",
      "$S.capitalize()",
      "$S.strip()",
      "$S.strip($Q)",
      "$S.lstrip()",
      "$S.rstrip('z')",
      "$S.replace('z', $S)",
      "$S.replace($Q, $S)",
      "$S.replace('', $S, 3)",
      "$S.replace('|', '-', 1)",
      "$S.split()|join($S)",
      "$S.split('|')[0]",
      "$S.rsplit('|', 1)[-1]",
      "$S.partition('|')[2]",
      "$S.rpartition('|')[0]",
      "$S.splitlines()|join",
      "$S.center(9, 'q')",
      "$S.ljust(9)",
      "$S.rjust(9, 'q')",
      "$S.zfill(9)",
      "$S.removeprefix($Q)",
      "$S.removesuffix('|')",
      "$S.join($L)",
      "$S|upper",
      "$S|lower",
      "$S|title",
      "$S|capitalize",
      "$S|trim",
      "$S|trim('<|')",
      "$S|reverse",
      "$S|string",
      "$S|e|string",
      "($S|e ~ '&')",
      "('&' ~ $S|safe)|string",
      "$S|indent(2, true)",
      "$S|indent($S)",
      "$S|center(20)",
      "$S|truncate(5, true, $S)",
      "$S|truncate(6, false, $Q)",
      "$S|replace('|', $S)",
      "$S|replace($N, $S)",
      "$S|default($S)",
      "missing|default($S)",
      "$S|tojson",
      "$S|tojson|tojson",
      "$S|first",
      "$S|last",
      "$S|list|string",
      "{'k': $S, $S: 1}|tojson(indent=$N)",
      "{'k': $S}|string",
      "[$S, $S]|string",
      "($S, $N)|string",
      "$L|string",
      "$L|tojson(separators=($S, ': '))",
      "$L|tojson(indent=$S)",
      "$L|first",
      "$L|last",
      "$L[$N]",
      "$L|max",
      "$L|min",
      "$L|join",
      "$L|join($S)",
      "$L|map('upper')|join($S)",
      "$L|map('replace', 'z', $S)|join",
      "messages|map(attribute='content')|join($S)",
      "messages|tojson",
      "d|dictsort|string",
      "d|tojson(sort_keys=true)",
      "d.items()|list|string",
      "d.keys()|join",
      "d.get('z1', $S)",
      "d.get('none', $S)",
      "dict(d, k=$S)|string",
      "dict(k=$S).k",
      "namespace(a=$S).a",
      "namespace(d, a=$S).z1",
      "('%s-%r' % ($S, $S))",
      "('%(z1)s' % d)",
      "('%9s|%-9s|%.3s' % ($S, $S, $S))",
      "($S % ())",
      "('%s' ~ $S)|format($S)",
      "strftime_now(s)",
      "f($S, b=$S)",
      "f($S)",
      "f(*$L)",
      "g($S)",
  };
  static constexpr std::string_view lists[] = {
      "l",
      "[$S, $S, $S]",
      "[$S]",
      "($S, $S)",
      "$S|list",
      "$S.split('|')",
      "$S.split()",
      "$S.splitlines(true)",
      "$S.partition($S)|list",
      "d.values()|list",
      "d|list",
      "messages|map(attribute='content')|list",
      "$L + $L",
      "$L * 2",
      "$L[$N:]",
      "$L[::-1]",
      "$L|sort",
      "$L|unique|list",
      "$L|reverse|list",
      "$L|select|list",
      "$L|reject('in', $L)|list",
      "$L|batch(2, $S)|first",
      "$L|slice(2)|first",
      "$L|map('trim')|list",
      "$L|map('tojson')|list",
      "$L|map('indent', 1)|list",
      "d|items|first|list",
  };
  static constexpr std::string_view statements[] = {
      "{{ $S }}",
      "{{ $S }}",
      "{{- $L -}}",
      "qтext <|q|>\n",
      "<|q|>",
      "{% set x = $S %}",
      "{% set l = $L %}",
      "{% set x %}$I{% endset %}",
      "{% set x | upper | trim %}$I{% endset %}",
      "{% set ns = namespace(a=$S) %}{% set ns.a = ns.a ~ $S %}{{ ns.a }}",
      "{% for x in $L %}$I{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle($S, $S) }}{% endfor %}",
      "{% for x in $S %}{{ x }}{% if loop.index > 9 %}{% break %}{% endif %}{% endfor %}",
      "{% for k, x in d.items() %}{{ k }}$I{% else %}q{% endfor %}",
      "{% for m in messages %}<|q|>{{ m.role }}$I{% endfor %}",
      "{% if $S %}$I{% else %}$I{% endif %}",
      "{% filter indent(1) %}$I{% endfilter %}",
      "{% filter upper %}$I{% endfilter %}",
      "{% filter replace('z', 'q') %}$I{% endfilter %}",
      "{% with x = $S, y = $S %}$I{{ y }}{% endwith %}",
      "{% generation %}$I{% endgeneration %}",
      "{% macro f(a, b=$S) %}{{ a }}q{{ b }}{{ varargs }}{% endmacro %}{{ f($S) }}",
      "{% macro g(a) %}$I{{ a }}{{ kwargs }}{{ caller($S) if caller }}{% endmacro %}{{ g($S, k=$S) }}",
      "{% macro g(a) %}{{ a }}{{ caller($S) if caller }}{% endmacro %}{% call(x) g($S) %}$I{{ x }}{% endcall %}",
      "{% raw %}{{ q }}{% endraw %}",
  };
  static constexpr std::string_view message_texts[] = {
      "z",  "<|z|>", " z\nZ \n", "жZ|ж|z z", "'z' \"z\" \\z", "<z>&</z>", "z1 %s z%%", "zzzzzzzzzzzzz", "ЖЖж zz|zz\tz",
      "|z", "z-1"};
  static constexpr std::string_view literals[] = {"'q'",     "'<|q|>'", "' q\\n'", "\"ю|q\"", "'Q'",
                                                  "'q\\'q'", "'|'",     "''",      "'<q>&'",  "'юЮ q'"};
  static constexpr std::string_view separators[] = {"", "\n", " q ", "<|q|>", "ю"};
  static constexpr std::string_view numbers[] = {"0", "1", "2", "-1", "-2", "5"};

  std::string fill(std::string_view form, int depth) {
    std::string out;
    for (std::size_t i = 0; i < form.size(); ++i) {
      if (form[i] != '$') {
        out += form[i];
        continue;
      }
      const bool ends = depth <= 0 || --left_ < 0;
      switch (form[++i]) {
        case 'S':
          out += "(" + fill(ends ? texts[below(10)] : pick(texts), depth - 1) + ")";
          break;
        case 'L':
          out += ends ? "l" : "(" + fill(pick(lists), depth - 1) + ")";
          break;
        case 'Q':
          out += pick(literals);
          break;
        case 'N':
          out += pick(numbers);
          break;
        case 'B':
          out += fill(ends ? std::string_view("{{ $S }}") : pick(statements), depth - (ends ? 0 : 1));
          break;
        default:
          for (std::size_t n = below(3); n > 0; --n) out += fill("$B", depth - 1);
      }
    }
    return out;
  }

  std::mt19937_64 random_;
  int left_ = 0;  // pieces that may still be made
};

}  // namespace tmodel::random_templates
