// The template language against Jinja2 3.1.6 under Python 3.11 (the expected texts were made with it, set up as
// transformers does), its errors, its limits, and the marks that message content carries.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tmodel/text/chat_template.hpp"

namespace {

using namespace tmodel;
using jinja::Value;

/// The variables that the templates below read.
Value variables() {
  constexpr std::string_view json = R"({"x": 1, "s": "Hello", "d": {"a": 1, "b": [1, 2]}, "lst": [3, 1, 2],
    "none_v": null, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}],
    "items_key": {"items": 5, "k": "v"}, "uni": "Ünï ☃ straße"})";
  auto document = JsonDocument::parse(json, "variables");
  EXPECT_TRUE(document);
  auto value = jinja::chat_variables(document->root());
  EXPECT_TRUE(value);
  return *value;
}

const RenderOptions at_noon{.now = LocalTime{.year = 2025, .month = 7, .day = 10, .hour = 12}, .limits = {}};

expected<Rendered> render_with(std::string_view source, const Value& values, const RenderOptions& options = at_noon) {
  auto parsed = ChatTemplate::parse(source, "t");
  if (!parsed) return tl::unexpected<Error>(std::move(parsed).error());
  return parsed->render(values, options);
}

std::string render(std::string_view source) {
  auto rendered = render_with(source, variables());
  return rendered ? rendered->text : "error: " + rendered.error().message();
}

/// Place and message of the error that a template ends with.
std::string message_of(std::string_view source) {
  auto rendered = render_with(source, variables());
  return rendered ? "none, but: " + rendered->text : rendered.error().where + " " + rendered.error().what;
}

TEST(Jinja, values_print_as_python_prints_them) {
  EXPECT_EQ(render("{{ 1 }} {{ true }} {{ none }} {{ 1.0 }} {{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 123456789.125 }}"),
            "1 True None 1.0 1e+16 1e-05 0.30000000000000004 123456789.125");
  EXPECT_EQ(render("{{ ['a', \"it's\", 'q\"', 1.5, none, [true], (1,), ()] }}"),
            "['a', \"it's\", 'q\"', 1.5, None, [True], (1,), ()]");
  EXPECT_EQ(render("{{ {'a': {'b': 'c\\n'}, 1: 2} }}"), "{'a': {'b': 'c\\n'}, 1: 2}");
  EXPECT_EQ(render("{{ ['\\u200b', 'é', '\\x07', '🙂', '\\\\'] }}"), "['\\u200b', 'é', '\\x07', '🙂', '\\\\']");
  EXPECT_EQ(render("{{ 1, 2 }}"), "(1, 2)");
  EXPECT_EQ(render("{{ d.items() }} {{ d.keys() }} {{ d.values() }}"),
            "dict_items([('a', 1), ('b', [1, 2])]) dict_keys(['a', 'b']) dict_values([1, [1, 2]])");
  EXPECT_EQ(render("{{ missing }}|{{ d.missing }}|{{ [missing] }}"), "||[Undefined]");
  EXPECT_EQ(render("{{ 100000000000000000000.0 }} {{ -0.0 }}"), "1e+20 -0.0");
}

TEST(Jinja, operators_follow_python) {
  EXPECT_EQ(render("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ "
                   "7.5 // 2 }} {{ -7.5 % 2 }}"),
            "3 -4 2 -2 3.5 1024 0.5 3.0 0.5");
  EXPECT_EQ(
      render(
          "{{ 1 + 2 * 3 - 4 }} {{ 1 ~ 2 ~ 'x' }} {{ 'ab' * 3 }} {{ [1] * 2 + [2] }} {{ 'a' + 'b' }} {{ (1,) + (2,) }}"),
      "3 12x ababab [1, 1, 2] ab (1, 2)");
  EXPECT_EQ(render("{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] "
                   "}} {{ 'a' == 1 }}"),
            "True False True True True True False");
  EXPECT_EQ(render("{{ 'ell' in s }} {{ 2 in lst }} {{ 'a' in d }} {{ 'z' not in d }} {{ missing in lst }} {{ none in "
                   "[none] }}"),
            "True True True True False True");
  EXPECT_EQ(render("{{ 1 and 0 }} {{ 0 or 'x' }} {{ not 1 }} {{ not [] }} {{ 1 if 0 else 2 }} {{ 'x' if 0 }}| {{ 1 or "
                   "2 and 0 }}"),
            "0 x False True 2 | 1");
  EXPECT_EQ(render("{{ -2|abs }} {{ -(3 - 5) }} {{ +3 }} {{ 1 - -1 }} {{ true + true }} {{ 9007199254740993 == "
                   "9007199254740992.0 }}"),
            "2 2 3 2 2 False");
  EXPECT_EQ(render("{{ '%s-%05.1f|%-4d|%x' % ('a', 2.25, 7, 255) }} {{ '%(k)s %%' % {'k': 1} }}"),
            "a-002.2|7   |ff 1 %");
}

TEST(Jinja, slices_and_items_follow_python) {
  EXPECT_EQ(render("{{ lst[0] }} {{ lst[-1] }} {{ lst[9] }}| {{ lst[::-1] }} {{ lst[1:] }} {{ lst[:-1] }} {{ lst[::2] "
                   "}} {{ lst[5:1:-1] }} {{ lst[-2:] }}"),
            "3 2 | [2, 1, 3] [1, 2] [3, 1] [3, 2] [2] [1, 2]");
  EXPECT_EQ(render("{{ uni[0] }} {{ uni[4] }} {{ uni[::-1] }} {{ uni[1:3] }} {{ uni[-6:-1] }} {{ s[::-2] }} {{ s[10:] "
                   "}}| {{ uni|length }}"),
            "Ü ☃ eßarts ☃ ïnÜ nï straß olH | 12");
  EXPECT_EQ(render("{{ d.a }} {{ d['a'] }} {{ d.b.1 }} {{ items_key['items'] }} {{ items_key.items is callable }} {{ "
                   "messages[0].content }} {{ (1, 2)[1] }} {{ range(5)[1:3]|list }}"),
            "1 1 2 5 True hi 2 [1, 2]");
}

TEST(Jinja, string_methods) {
  EXPECT_EQ(render("{{ '  a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() "
                   "}}|{{ 'a b c'.split(' ', 1) }}|{{ 'a b c'.rsplit(' ', 1) }}|{{ '  a b  c '.split(none, 1) }}|{{ '  "
                   "a b  c '.rsplit(none, 1) }}"),
            "a b|a|['a', 'b', '', 'c']|['a', 'b']|['a', 'b c']|['a b', 'c']|['a', 'b  c ']|['  a b', 'c']");
  EXPECT_EQ(render("{{ 'abc'.upper() }} {{ uni.upper() }} {{ uni.lower() }} {{ 'hELLO wORLD'.capitalize() }} {{ "
                   "'aXbX'.replace('X', '--') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.replace('', '-') }}"),
            "ABC ÜNÏ ☃ STRASSE ünï ☃ straße Hello world a--b-- bba -a-b-");
  EXPECT_EQ(render("{{ s.startswith('He') }} {{ s.endswith(('x', 'lo')) }} {{ s.find('l') }} {{ s.rfind('l') }} {{ "
                   "s.find('z') }} {{ s.count('l') }} {{ s.index('l') }} {{ '-'.join(['a', 'b']) }}"),
            "True True 2 3 -1 2 2 a-b");
  EXPECT_EQ(render("{{ 'a\\nb\\r\\nc'.splitlines() }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ "
                   "'-7'.zfill(4) }} {{ 'ab'.center(7, '*') }} {{ '12'.isdigit() }} {{ 'x1'.isalnum() }} {{ "
                   "'prefix'.removeprefix('pre') }} {{ 'ends.gguf'.removesuffix('.gguf') }}"),
            "['a', 'b', 'c'] ('a', '=', 'b=c') ('a=b', '=', 'c') -007 ***ab** True True fix ends");
  EXPECT_EQ(render("{{ d.get('a') }} {{ d.get('z') }} {{ d.get('z', 7) }} {{ d.keys()|list }} {{ lst.index(1) }} {{ "
                   "lst.count(3) }}"),
            "1 None 7 ['a', 'b'] 1 1");
}

TEST(Jinja, filters) {
  EXPECT_EQ(render("{{ [1, 2]|join(', ') }} {{ messages|map(attribute='role')|join('/') }} {{ ['b', 'A', 'c']|sort }} "
                   "{{ ['b', 'A']|sort(case_sensitive=true) }} {{ lst|sort(reverse=true) }} {{ "
                   "messages|sort(attribute='content')|map(attribute='content')|list }}"),
            "1, 2 user/assistant ['A', 'b', 'c'] ['A', 'b'] [3, 2, 1] ['hi', 'yo']");
  EXPECT_EQ(render("{{ messages|selectattr('role', 'equalto', 'user')|list|length }} {{ messages|rejectattr('role', "
                   "'eq', 'user')|map(attribute='content')|first }} {{ [1, 0, none, 'a']|select|list }} {{ [1, 2, "
                   "3]|reject('odd')|list }} {{ ['a', 'b']|map('upper')|list }}"),
            "1 yo [1, 'a'] [2] ['A', 'B']");
  EXPECT_EQ(
      render("{{ missing|default('q') }} {{ ''|default('q') }}| {{ ''|d('q', true) }} {{ ' x '|trim }}| {{ "
             "'xax'|trim('x') }} {{ 'hello world-foo (bar)'|title }} {{ 'ÀB'|lower }} {{ 'a<b>&\"c\\''|escape }}"),
      "q | q x| a Hello World-Foo (Bar) àb a&lt;b&gt;&amp;&#34;c&#39;");
  EXPECT_EQ(render("{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent('> ', blank=true) "
                   "}}|{{ 'a\\n'|indent(1) }}|"),
            "a\n    b\n\n    c|  a\n  b|a\n> \n> b|a\n|");
  EXPECT_EQ(render("{{ '42'|int }} {{ 'x'|int(7) }} {{ '0x1F'|int(base=16) }} {{ 3.9|int }} {{ '2.5'|float }} {{ "
                   "'x'|float }} {{ 2.5|round }} {{ 3.14159|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ [1, 2.5]|sum }} "
                   "{{ [3, 1]|max }} {{ ['b', 'a']|min }} {{ -3|abs }}"),
            "42 7 31 3 2.5 0.0 2.0 3.14 3.0 3.5 3 a 3");
  EXPECT_EQ(render("{{ {'b': 1, 'A': 2}|dictsort }} {{ {'a': 1}|items|list }} {{ ['a', 'A', 'b']|unique|list }} {{ [1, "
                   "2, 3, 4, 5]|batch(2, 0)|list }} {{ [1, 2, 3, 4, 5]|slice(2)|list }} {{ 'abc'|reverse }} {{ [1, "
                   "2]|reverse|list }} {{ [1, 2]|last }} {{ 'ab'|list }} {{ 'hello big world'|truncate(9) }} {{ "
                   "'%s!'|format('a') }} {{ 'ab'|center(6) }}|"),
            "[('A', 2), ('b', 1)] [('a', 1)] ['a', 'b'] [[1, 2], [3, 4], [5, 0]] [[1, 2, 3], [4, 5]] cba [2, 1] 2 "
            "['a', 'b'] hello... a!   ab  |");
  EXPECT_EQ(render("{{ \"'\"|safe + '<a>' }} {{ 'x'|string ~ 1 }} {{ ('<'|safe) ~ '<' }}"), "'&lt;a&gt; x1 <<");
}

TEST(Jinja, tojson_is_what_transformers_makes_of_it) {
  EXPECT_EQ(render("{{ {'a': 'é<\\'\"\\n', 'b': [1, 2.0, none, true], 'c': {}}|tojson }}"),
            "{\"a\": \"é<'\\\"\\n\", \"b\": [1, 2.0, null, true], \"c\": {}}");
  EXPECT_EQ(render("{{ {'b': [1, {'z': []}], 'a': 2}|tojson(indent=2) }}"),
            "{\n  \"b\": [\n    1,\n    {\n      \"z\": []\n    }\n  ],\n  \"a\": 2\n}");
  EXPECT_EQ(render("{{ {'b': 1, 'a': '☃🙂'}|tojson(ensure_ascii=true, sort_keys=true) }}"),
            "{\"a\": \"\\u2603\\ud83d\\ude42\", \"b\": 1}");
  EXPECT_EQ(render("{{ [1, 2]|tojson(separators=(',', ':')) }} {{ {1: 2, none: 3, true: 4}|tojson }} {{ "
                   "[1]|tojson(indent='\\t') }} {{ '\\x7f\\x01'|tojson }} {{ (1, 2)|tojson(indent=4) }}"),
            "[1,2] {\"1\": 4, \"null\": 3} [\n\t1\n] \"\177\\u0001\" [\n    1,\n    2\n]");
}

TEST(Jinja, tests) {
  EXPECT_EQ(render("{{ x is defined }} {{ missing is undefined }} {{ none_v is none }} {{ s is string }} {{ d is "
                   "mapping }} {{ lst is iterable }} {{ 5 is iterable }} {{ s is sequence }} {{ 1 is number }} {{ true "
                   "is number }} {{ true is integer }} {{ 1.0 is float }} {{ x is not none }}"),
            "True True True True True True False True True True False True True");
  EXPECT_EQ(render("{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 1 is eq 1 }} {{ 1 is in [1] }} {{ 2 is "
                   "gt(1) }} {{ true is true }} {{ 1 is true }} {{ none is sameas none }} {{ range is callable }} {{ "
                   "'upper' is filter }} {{ d.items() is sequence }} {{ d.items() is iterable }}"),
            "True True True True True True True False True True True False True");
}

TEST(Jinja, loops) {
  EXPECT_EQ(render("{% for i in lst %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ "
                   "loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}"),
            "1032TrueFalse31;2121FalseFalse332;3210FalseTrue31;");
  EXPECT_EQ(render("{% for i in [] %}x{% else %}empty{% endfor %}{% for i in lst if i > 1 %}{{ i }}{{ loop.length }}{{ "
                   "', ' if not loop.last }}{% endfor %}{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for "
                   "c in 'añb' %}[{{ c }}]{% endfor %}{% for x in missing %}x{% endfor %}"),
            "empty32, 22a=1;b=[1, 2];[a][ñ][b]");
  EXPECT_EQ(render("{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif "
                   "%}{{ i }}{% endfor %}"),
            "0134");
  EXPECT_EQ(render("{% for i in [1] %}{% continue %}{% else %}else{% endfor %}"), "else");
  EXPECT_EQ(
      render("{% for i in [1, 2] %}[{% filter upper %}a{% if i == 1 %}{% continue %}{% endif %}b{% endfilter %}{% "
             "set q %}c{% break %}{% endset %}{{ q }}{% endfor %}|"),
      "[[AB|");
  EXPECT_EQ(render("{% for i in range(4) %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i // 2) }} {% endfor %}"),
            "aTrue bFalse aTrue bFalse ");
  EXPECT_EQ(
      render("{% for i in [1, 2] %}{% for j in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}"),
      "121122");
  EXPECT_EQ(
      render("{% set ns = namespace(n=0) %}{% for i in lst if ns.n < 2 %}{% set ns.n = ns.n + 1 %}{{ i }}{% endfor %}"),
      "31");
}

TEST(Jinja, scopes) {
  EXPECT_EQ(render("{% set y = 1 %}{% for i in [1, 2] %}{% set y = y + i %}{{ y }}{% endfor %}{{ y }}"), "231");
  EXPECT_EQ(render("{% if true %}{% set y = 5 %}{% endif %}{{ y }}"), "5");
  EXPECT_EQ(render("{% for i in [1] %}{{ x }}{% endfor %}{% set x = 9 %}{{ x }}"), "9");
  EXPECT_EQ(render("{% set ns = namespace(a=1) %}{% for i in lst %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ "
                   "ns['a'] }}{{ ns.zz }}"),
            "77");
  EXPECT_EQ(render("{% set a, b = 1, 2 %}{{ b }}{{ a }}{% set t %} cap {{ a }} {% endset %}[{{ t }}]{% set u | upper | "
                   "trim %} q {% endset %}[{{ u }}]"),
            "21[ cap 1 ][Q]");
  EXPECT_EQ(render("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}|{% filter upper %}a{{ s }}{% endfilter %}{% "
                   "generation %}g{% set z = 1 %}{% endgeneration %}{{ z }}"),
            "3|AHELLOg");
}

TEST(Jinja, macros) {
  EXPECT_EQ(render("{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m(b=1) "
                   "}}{{ m(*[7, 8]) }}{{ m(**{'a': 4}) }}"),
            "121;123;1;787;424;");
  EXPECT_EQ(render("{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}"), "3210");
  EXPECT_EQ(render("{% macro v() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v(1, 2, k=3) }}"), "(1, 2){'k': 3}");
  EXPECT_EQ(
      render("{% macro w(t) %}[{{ t }}:{{ caller(1) }}]{% endmacro %}{% call(q) w('x') %}{{ q + 1 }}{% endcall %}"),
      "[x:2]");
  EXPECT_EQ(render("{% macro g() %}{{ late }}{% endmacro %}{% set late = 'L' %}{{ g() }}"), "L");
  EXPECT_EQ(
      render("{% macro h() %}{% generation %}{{ caller is defined }}{{ varargs }}{% endgeneration %}{{ caller() }}{% "
             "endmacro %}{% call h() %}x{% endcall %}"),
      "False()x");
}

TEST(Jinja, white_space_control) {
  EXPECT_EQ(render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(render("a  {%- if true -%}  b  {%- endif -%}  c"), "abc");
  EXPECT_EQ(render("  {{- 1 -}}  x {{ 2 }}\n"), "1x 2");
  EXPECT_EQ(render("a\n  {%+ if true %}x{% endif +%}\n"), "a\n  x");
  EXPECT_EQ(render("{# c #}\na {#- d -#} b\n  {# e #}\nf"), "ab\nf");
  EXPECT_EQ(render("{% raw %}{{ x }}{% endraw %}\n{%- raw -%}  y  {%- endraw %} z"), "{{ x }}y z");
  EXPECT_EQ(render("x\r\ny\r{% if true %}\r\nz{% endif %}"), "x\ny\nz");
  EXPECT_EQ(render("x {#"), "x ");
  EXPECT_EQ(render("x {%- raw -%}\n"), "x");
  EXPECT_EQ(render("{{ {'a': {'b': 1}} }}{{ '}}' }}"), "{'a': {'b': 1}}}}");
  EXPECT_EQ(render("\n\nlast\n\n"), "\n\nlast\n");
  EXPECT_EQ(render("{% for i in [1, 2] %}\n  - {{ i }}\n{% endfor %}"), "  - 1\n  - 2\n");
}

TEST(Jinja, marks_of_syntax) {
  EXPECT_EQ(render("{{ 'a' 'b' }}{{ \"\\x41\\u00e9\\t\\q\\101\" }}{{ 0x1f + 0b11 + 0o17 + 1_000 }}{{ 1.5e3 }}{{ [1, "
                   "2,] }}{{ {'a': 1,} }}"),
            "abAé\t\\qA10491500.0[1, 2]{'a': 1}");
  EXPECT_EQ(render("{% if x == 1: %}colon{% endif %}{% print x %}"), "colon1");
  EXPECT_EQ(render("{{ x is defined and s is string or false }}{{ not x is defined }}{{ (x)|string|length }}"),
            "TrueFalse1");
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y %H:%M %j %A') }}"), "10 Jul 2025 12:00 191 Thursday");
}

TEST(JinjaErrors, name_line_and_column_of_syntax_errors) {
  EXPECT_EQ(message_of("a\n {% if x %}"), "t:2:12 the template ends where 'endif' is expected");
  EXPECT_EQ(message_of("{{ x"), "t:1:1 this tag is not closed");
  EXPECT_EQ(message_of("é{{ 1 + }}"), "t:1:9 unexpected '}}'");
  EXPECT_EQ(message_of("{{ [1, 2 }}"), "t:1:10 unexpected '}'");
  EXPECT_EQ(message_of("{{ 'abc }}"), "t:1:4 this string is not closed");
  EXPECT_EQ(message_of("{{ x $ }}"), "t:1:6 unexpected character '$'");
  EXPECT_EQ(message_of("{% endfor %}"), "t:1:4 tag 'endfor' is unknown here");
  EXPECT_EQ(message_of("{# x"), "t:1:1 missing end of comment tag");
  EXPECT_EQ(message_of("{% break %}"), "t:1:4 'break' outside of a loop");
  EXPECT_EQ(message_of("{% for loop in x %}{% endfor %}"), "t:1:8 can't assign to the special variable 'loop'");
  EXPECT_EQ(message_of("{{ x is defined is none }}"), "t:1:17 tests cannot be chained with 'is'");
  EXPECT_EQ(message_of("{{ f(a=1, 2) }}"), "t:1:5 invalid order of the arguments of this call");
}

TEST(JinjaErrors, refuse_what_is_not_implemented_by_name_when_the_template_is_parsed) {
  const auto refused = [](std::string_view source) {
    auto parsed = ChatTemplate::parse(source, "t");
    if (parsed) return std::string("parsed");
    EXPECT_EQ(parsed.error().code, Errc::unsupported) << source;
    return parsed.error().where + " " + parsed.error().what;
  };
  EXPECT_EQ(refused("{% if false %}\n{{ x | groupby('a') }}{% endif %}"), "t:2:8 filter 'groupby' is not supported");
  EXPECT_EQ(refused("{% include 'x' %}"), "t:1:4 tag 'include' is not supported");
  EXPECT_EQ(refused("{{ x is lower }}"), "t:1:9 test 'lower' is not supported");
  EXPECT_EQ(refused("{{ s.format(1) }}"), "t:1:6 method 'format' is not supported");
  EXPECT_EQ(refused("{% for a in b recursive %}{% endfor %}"), "t:1:15 recursive loops are not supported");
  EXPECT_EQ(refused("{{ \u00e9t\u00e9 }}"), "t:1:4 a name with 'é' is not supported");
  EXPECT_EQ(refused("{{ cycler(1) }}"), "t:1:4 'cycler' is not supported");
  EXPECT_EQ(refused("{{ lst | map('wordcount') }}"), "t:1:14 filter 'wordcount' is not supported");
  EXPECT_EQ(refused("{{ 99999999999999999999 }}"), "t:1:4 this integer is not supported");
  EXPECT_EQ(message_of("{{ x | nosuch }}"), "t:1:8 no filter named 'nosuch'");
  EXPECT_EQ(message_of("{{ lst | select('nosuch') }}"), "t:1:17 no test named 'nosuch'");
}

TEST(JinjaErrors, are_where_jinja2_raises_them) {
  EXPECT_EQ(message_of("{{ missing.a }}"), "t:1:12 'missing' is undefined");
  EXPECT_EQ(message_of("{{ d.missing.a }}"), "t:1:14 there is no attribute or item 'missing'");
  EXPECT_EQ(message_of("{{ missing + 1 }}"), "t:1:12 'missing' is undefined");
  EXPECT_EQ(message_of("\n\n{{ raise_exception('Only ' ~ x) }}"), "t:3:19 Only 1");
  for (const std::string_view source :
       {"{{ 1 + 'a' }}",
        "{{ 'a' < 1 }}",
        "{{ none|length }}",
        "{{ 5|list }}",
        "{% for a in none %}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ 1 // 0 }}",
        "{{ missing() }}",
        "{{ x() }}",
        "{{ lst.append(1) }}",
        "{{ {[]: 1} }}",
        "{{ missing|tojson }}",
        "{{ lst|map('upper')|tojson }}",
        "{{ d.keys()|tojson }}",
        "{{ 'a' in 5 }}",
        "{% set a, b = [1] %}",
        "{% set d.x = 1 %}",
        "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
        "{{ lst|map('upper')|length }}",
        "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}",
        "{{ 'x'.index('y') }}",
        "{{ [1, 'a']|sort }}",
        "{{ x|items|list }}",
        "{{ range(1000000) }}",
        "{{ -s }}",
        "{{ '%d' % 'a' }}",
        "{{ s[::0] }}",
        "{{ range }}",
        "{{ d[1:] }}",
        "{{ 9223372036854775807 + 1 }}",
        "{% set n = namespace() %}{% for i in lst %}{% macro m() %}{{ i }}{% endmacro %}{% set n.m = m %}{% endfor "
        "%}{{ n.m() }}",
        "{{ strftime_now('%Q') }}",
        "{% for a in lst %}{% set y = loop %}{% set q = namespace() %}{% endfor %}{{ loop.index }}",
        "{% filter length %}ab{% endfilter %}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% call dict() %}x{% endcall %}",
        "{{ dict(missing, a=1) }}",
        "{{ namespace(_a=1).b }}",
        "{% set n = namespace() %}{% set n._a = 1 %}",
        "{% for a, in [[1]] %}{% endfor %}",
        "{% for a in lst %}{% macro m() %}{% set loop = 1 %}{% endmacro %}{% endfor %}",
        "{{ '%5%' % () }}",
        "{{ lst|sort(reverse=none) }}",
        "{{ true|batch(2)|list }}"}) {
    EXPECT_FALSE(render_with(source, variables())) << source;
  }
  // What Jinja2 never computes is no error.
  EXPECT_EQ(render("{% if false %}{{ 1 / 0 }}{% endif %}{% set g = [1, 'a']|map('abs') %}{{ g|first }}"), "1");
  EXPECT_EQ(render("{% set g = true|batch(2) %}{% set loop = 1 %}{{ namespace({1: 2}).a }}{{ loop }}"), "1");
}

TEST(JinjaErrors, ask_for_the_time_where_none_is_given) {
  auto rendered = render_with("{{ strftime_now('%Y') }}", variables(), {});
  ASSERT_FALSE(rendered);
  EXPECT_EQ(rendered.error().code, Errc::bad_argument);
  EXPECT_EQ(render_with("{{ strftime_now is defined }}", variables(), {})->text, "True");
}

TEST(JinjaTime, formats_in_the_c_locale) {
  const LocalTime time{.year = 2024, .month = 12, .day = 30, .hour = 0, .minute = 5, .second = 9, .microsecond = 42};
  EXPECT_EQ(*jinja::format_time("%a %A %w %d %b %B %m %y %Y %H %I %p %M %S %f %j %U %W %%", time),
            "Mon Monday 1 30 Dec December 12 24 2024 00 12 AM 05 09 000042 365 52 53 %");
  EXPECT_EQ(*jinja::format_time("%G-W%V-%u %c|%x|%X|%F %T %R %e %-d %-I %k|%z%Z", time),
            "2025-W01-1 Mon Dec 30 00:05:09 2024|12/30/24|00:05:09|2024-12-30 00:05:09 00:05 30 30 12  0|");
  EXPECT_EQ(*jinja::format_time("%V %G", {.year = 2021, .month = 1, .day = 3}), "53 2020");
  EXPECT_FALSE(jinja::format_time("%s", time));
  EXPECT_FALSE(jinja::format_time("%", time));
  EXPECT_FALSE(jinja::format_time("%d", LocalTime{.year = 2023, .month = 2, .day = 29}));
}

TEST(JinjaMarks, follow_message_content_through_everything) {
  const Value content = Value::string("  <|a|> Bc\n", true);
  const auto marked = [&](std::string_view source) {
    auto rendered = render_with(source, Value::dict(std::vector<std::pair<std::string, Value>>{{"c", content}}));
    EXPECT_TRUE(rendered) << rendered.error().message();
    std::string out;
    std::size_t at = 0;
    for (const Range& range : rendered->content) {
      EXPECT_LT(range.begin, range.end);
      out += rendered->text.substr(at, range.begin - at) + "«" +
             rendered->text.substr(range.begin, range.end - range.begin) + "»";
      at = range.end;
    }
    return out + rendered->text.substr(at);
  };
  EXPECT_EQ(marked("<s>{{ c }}</s>"), "<s>«  <|a|> Bc\n»</s>");
  EXPECT_EQ(marked("[{{ c|trim }}]"), "[«<|a|> Bc»]");
  EXPECT_EQ(marked("{{ '[' + c.strip() + ']' }}"), "[«<|a|> Bc»]");
  EXPECT_EQ(marked("{{ c[2:7] ~ '<|x|>' ~ c[::-1] }}"), "«<|a|>»<|x|>«\ncB >|a|<  »");
  EXPECT_EQ(marked("{{ c|upper }}{{ c.replace('a', 'zz') }}"), "«  <|A|> BC\n  <|»zz«|> Bc\n»");
  EXPECT_EQ(marked("{{ {'k': c}|tojson }}"), "{\"k\": \"«  <|a|> Bc\\n»\"}");
  EXPECT_EQ(marked("{{ [c.split()[0], 'x'] }}"), "['«<|a|>»', 'x']");
  EXPECT_EQ(marked("{{ c.split('|')|join('-') }}"), "«  <»-«a»-«> Bc\n»");
  EXPECT_EQ(marked("{% set t %}<{{ c[8:10] }}>{% endset %}{{ t * 2 }}"), "<«Bc»><«Bc»>");
  EXPECT_EQ(marked("{% macro m(a) %}({{ a }}){% endmacro %}{{ m(c[8:9])|indent }}"), "(«B»)");
  EXPECT_EQ(marked("{% for ch in c[8:10] %}{{ ch }},{% endfor %}"), "«B»,«c»,");
  EXPECT_EQ(marked("{{ '%s!' % c[8:10] }}{{ c[8:10]|e + '&' }}"), "«Bc»!«Bc»&amp;");
  EXPECT_EQ(marked("{% set ns = namespace(a='') %}{% set ns.a = ns.a + c[8:9] %}{{ ns.a }}"), "«B»");
  EXPECT_EQ(marked("{{ 'yes' if c == '  <|a|> Bc\\n' }}"), "yes");
}

TEST(JinjaMarks, leave_roles_and_keys_of_messages_alone) {
  auto document = JsonDocument::parse(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "T"}], "name": "N"}], "tools": [{"f": "F"}], "bos_token": "B"})",
      "t");
  auto values = jinja::chat_variables(document->root());
  auto rendered = render_with(
      "{% for m in messages %}{{ m.role }}{{ m.content[0].text }}{{ m.name }}{% endfor %}{{ bos_token }}{{ tools[0].f "
      "}}{{ messages[0]|first }}",
      *values);
  ASSERT_TRUE(rendered);
  EXPECT_EQ(rendered->text, "userTNBFrole");
  EXPECT_EQ(rendered->content, (std::vector<Range>{{4, 6}, {7, 8}}));

  const Message messages[] = {{"user", "hi"}};
  const std::vector<std::pair<std::string, Value>> mine{{"messages", messages_value(messages)}};
  rendered = render_with("{{ messages[0].role }}:{{ messages[0].content }}", Value::dict(mine));
  ASSERT_TRUE(rendered);
  EXPECT_EQ(rendered->text, "user:hi");
  EXPECT_EQ(rendered->content, (std::vector<Range>{{5, 7}}));
}

TEST(JinjaLimits, end_what_a_hostile_template_starts) {
  RenderOptions options = at_noon;
  options.limits.steps /= 10;  // a tenth of the time that the defaults allow
  const std::string many = "{% set s = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' * 10000 %}";
  for (const std::string& source : {
           std::string("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
           std::string("{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxx' * 100 }}{% endfor %}"),
           std::string("{{ 'a' * 999999999999 }}"),
           std::string("{{ [1] * 999999999999 }}"),
           many + "{{ s.replace('a', s) }}",
           many + "{{ s|replace('', s) }}",
           many + "{{ [s, s, s]|map('replace', 'a', s)|join }}",
           many + "{% for a in range(200) %}{% for b in range(99999) %}{{ s in s }}{% endfor %}{% endfor %}",
           std::string("{{ 'x'|indent(999999999999) }}"),
           std::string("{{ 'x'|center(999999999999) }}"),
           std::string("{{ '%999999999d' % 1 }}"),
           std::string("{{ [1]|batch(99999999, 'x')|list }}"),
           std::string("{{ [1]|slice(99999999)|list }}"),
           std::string("{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}{% endfor %}"),
           std::string(
               "{% set n = namespace(l={}) %}{% for i in range(99999) %}{% set n.l = {'a': n.l} %}{% endfor %}"),
           std::string(
               "{% set n = namespace(l=[1]) %}{% for i in range(999) %}{% set n.l = [n.l]|select %}{% endfor %}"),
           std::string("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% set n.l = [n.l.index] %}{% endfor %}"),
           std::string("{% set n = namespace(l=[]) %}{% for i in range(999) %}{% for j in [n.l] %}{% set n.l = loop "
                       "%}{% endfor %}{% endfor %}"),
           std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("{% macro m(a) %}{% for i in a %}{% if true %}{% filter upper %}{{ m(a) }}{% endfilter %}{% "
                       "endif %}{% endfor %}{% endmacro %}{{ m([1]) }}"),
           std::string("{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}"),
           std::string("{% set n = namespace(a=1) %}{% for i in range(99999) %}{% set m = namespace(p=n) %}{% set n = "
                       "m %}{{ 'x' * 400 }}{% endfor %}"),
       }) {
    const auto start = std::chrono::steady_clock::now();
    auto rendered = render_with(source, variables(), options);
    EXPECT_FALSE(rendered) << source;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60)) << source;
  }
}

TEST(JinjaLimits, bound_the_nesting_of_sources) {
  const auto times = [](int n, std::string_view s) {
    std::string out;
    for (int i = 0; i < n; ++i) out += s;
    return out;
  };
  EXPECT_EQ(render("{{ " + times(80, "(") + "1" + times(80, ")") + " }}"), "1");
  EXPECT_EQ(render("{{ 0" + times(150, " + 1") + " }}"), "150");
  EXPECT_EQ(render(times(90, "{% if 1 %}") + "x" + times(90, "{% endif %}")), "x");
  for (const std::string& source :
       {"{{ " + times(50000, "(") + "1" + times(50000, ")") + " }}", "{{ 0" + times(50000, " + 1") + " }}",
        "{{ " + times(50000, "[") + times(50000, "]") + " }}", "{{ " + times(50000, "-") + "1 }}",
        "{{ " + times(20000, "not ") + "1 }}", times(15000, "{% if 1 %}"), "{{ x" + times(50000, ".a") + " }}",
        "{{ x" + times(50000, "|e") + " }}", "{{ " + times(15000, "1 if x else ") + "1 }}",
        "{{ x" + times(50000, "[0]") + " }}", "{{ x is in " + times(20000, "x is in ") + "1 }}",
        "{% set " + times(50000, "(") + "x = 1 %}", "{{ f(" + times(50000, "f(")}) {
    EXPECT_FALSE(ChatTemplate::parse(source, "t"));
  }
  EXPECT_FALSE(ChatTemplate::parse(std::string(jinja::max_template_bytes + 1, 'x'), "t"));
  // Long, but not deep.
  EXPECT_EQ(render(times(3000, "{% if 0 %}a{% elif 0 %}b{% endif %}") + "{{ [" + times(3000, "1,") + "]|length }}"),
            "3000");
}

TEST(JinjaLimits, may_be_set) {
  RenderOptions options = at_noon;
  options.limits.output_bytes = 10;
  EXPECT_TRUE(render_with("0123456789", variables(), options));
  EXPECT_FALSE(render_with("0123456789x", variables(), options));
  options = at_noon;
  options.limits.steps = 100;
  EXPECT_FALSE(render_with("{% for i in range(100) %}{% endfor %}", variables(), options));
  options = at_noon;
  options.limits.value_bytes = 10000;
  EXPECT_TRUE(render_with("{{ ('x' * 1000)|length }}", variables(), options));
  EXPECT_FALSE(render_with("{{ ('x' * 10000)|length }}", variables(), options));
  options = at_noon;
  options.limits.steps = 1000;
  EXPECT_EQ(render_with("{{ ('x' * 9000)|upper }}", variables(), options).error().what,
            "the template takes too many steps");
}

TEST(JinjaMemory, cycles_through_namespaces_loops_and_macros_are_freed) {  // address sanitizer tells
  EXPECT_EQ(render("{% set n = namespace() %}{% set n.self = n %}{% set n.l = [n] %}{{ n.self.l|length }}"), "1");
  EXPECT_EQ(
      render("{% set n = namespace() %}{% for i in [n] %}{% set n.l = loop %}{{ loop.changed(loop) }}{% endfor %}"),
      "True");
  EXPECT_EQ(
      render("{% macro m() %}{{ q }}{% endmacro %}{% set q = m %}{% set n = namespace(m=m) %}{{ n.m is callable }}"),
      "True");
  EXPECT_EQ(render("{% set n = namespace() %}{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{% set n.m = m "
                   "%}{% set keep = n %}{{ n.m() }}{% endfor %}"),
            "12");
}

TEST(ChatTemplate, is_shared_between_threads) {
  auto parsed = ChatTemplate::parse(
      "{% for m in messages %}<{{ m.role }}>{{ m.content|trim|upper }}{% endfor %}{{ d|tojson }}", "t");
  ASSERT_TRUE(parsed);
  const Value shared = variables();
  std::vector<std::string> results(4);
  std::vector<std::thread> threads;
  for (std::string& result : results)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto rendered = parsed->render(shared);
        result = rendered ? rendered->text : "error";
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) EXPECT_EQ(result, "<user>HI<assistant>YO{\"a\": 1, \"b\": [1, 2]}");
}

TEST(ChatTemplate, refuses_variables_that_are_no_dict) {
  auto parsed = ChatTemplate::parse("x", "t");
  ASSERT_TRUE(parsed);
  EXPECT_FALSE(parsed->render(Value::list({})));
  EXPECT_FALSE(parsed->render(Value()));
}

TEST(ChatTemplate, is_found_in_the_files_of_a_model_in_order) {
  const std::string_view config = R"({"chat_template": "C"})", json = R"({"chat_template": "J"})";
  EXPECT_EQ(**find_chat_template({"T", json, config}), "T");
  EXPECT_EQ(**find_chat_template({"", json, config}), "J");
  EXPECT_EQ(**find_chat_template({"", "", config}), "C");
  EXPECT_EQ(**find_chat_template({"", "{}", config}), "C");
  EXPECT_FALSE(find_chat_template({"", "", ""})->has_value());
  EXPECT_FALSE(find_chat_template({"", "", R"({"chat_template": null})"})->has_value());

  const std::string_view named =
      R"({"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "U"}]})";
  EXPECT_EQ(**find_chat_template({"", "", named}), "D");
  EXPECT_EQ(**find_chat_template({"", "", named}, "tool_use"), "U");
  EXPECT_EQ(find_chat_templates({"", "", named})->size(), 2u);
  auto absent = find_chat_template({"", "", named}, "rag");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().got, "default, tool_use");

  EXPECT_FALSE(find_chat_template({"", "", "{"}));
  EXPECT_FALSE(find_chat_template({"", "", R"({"chat_template": 5})"}));
  EXPECT_FALSE(find_chat_template({"", "", R"({"chat_template": [{"name": "x"}]})"}));
}

TEST(ChatTemplate, gives_the_reasoning_of_a_message_by_each_of_its_names) {  // as transformers 5.23 renders it
  auto document = JsonDocument::parse(R"({"messages": [{"role": "a", "reasoning": "R"}, {"thinking": null,
    "reasoning": "S"}, {"reasoning_content": "T", "thinking": "U"}, {"role": "b", "reasoning": null}]})",
                                      "t");
  auto rendered = render_with("{% for m in messages %}{{ m }}{% endfor %}", *jinja::chat_variables(document->root()));
  ASSERT_TRUE(rendered);
  EXPECT_EQ(rendered->text,
            "{'thinking': 'R', 'role': 'a', 'reasoning': 'R', 'reasoning_content': 'R'}"
            "{'thinking': None, 'reasoning': 'S', 'reasoning_content': 'S'}"
            "{'thinking': 'U', 'reasoning_content': 'T'}{'role': 'b', 'reasoning': None}");
}

TEST(ChatTemplate, is_found_in_the_metadata_of_a_gguf) {
  Metadata metadata;
  metadata.insert("tokenizer.chat_templates", MetaValue(std::string("rag, tool_use")));
  metadata.insert("tokenizer.chat_template", MetaValue(std::string("D")));
  metadata.insert("tokenizer.chat_template.tool_use", MetaValue(std::string("U")));
  auto found = find_chat_templates(metadata);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].name + (*found)[0].source, "defaultD");
  EXPECT_EQ((*found)[1].name + (*found)[1].source, "tool_useU");
  EXPECT_TRUE(find_chat_templates(Metadata{})->empty());
  metadata.insert("tokenizer.chat_template.rag", MetaValue(true));
  EXPECT_FALSE(find_chat_templates(metadata));
}

}  // namespace
