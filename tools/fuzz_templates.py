"""Compares the template evaluator with Jinja2 on seeded random templates: the same text, or both fail.

Jinja2 is set up by transformers' own code; run this with the interpreter that oracle_env.sh prints. RENDER_TEMPLATES is
the program of tests/text/render_templates.cpp. What it refuses by name, as not supported, is counted apart.
Usage: fuzz_templates.py RENDER_TEMPLATES [--count N] [--seed S] [--real FOLDER] [--show K] [--refused]
"""

import argparse
import collections
import datetime
import json
import pathlib
import random
import resource
import signal
import string
import subprocess
import sys

NOW = datetime.datetime(2025, 7, 10, 9, 5, 7, 42)
MEMORY = 4 << 30  # bytes: a hostile template must not take the machine
SECONDS = 5

WORDS = ["a", "b", "user", "hello world", "Hello, World!", " padded ", "\n", "a\nb\n\nc", "a\r\nb", "tab\there", "",
         "x,y,,z", "<b>&\"'", "it's", 'say "hi"', "%s", "100%", "{{ x }}", "ünï ☃ straße", "🦙 llama", "日本語",
         "e\u0301", "ÀÉÎ", "ǆ", "ŉ", "\u200bzero", "\u00a0nbsp\u00a0", "1", "-7", "3.5", "0x1F", "1_000", " 42 ", "1e3",
         "nan", "True", "role", "content", "one-two (three) [four]", "aXbXc", "xxaxx", "\\back\\slash", "a.b", "0",
         "abcabc", "aaa", "\x07bell", "\x7f", "\x85", "²"]
SHORT = ["a", "b", " ", ",", "x", "", "ab", "\n", "l", "é", "X", "h", "user"]
KEYS = ["a", "b", "k", "role", "content", "items", "name", "type", "x y", "0", "n", "keys", "é"]
NAMES = ["v", "w", "q", "acc", "tmp", "s", "i", "d", "li"]
TEXTS = ["", "", "text", " ", "\n", "\n  ", "  \n", "\n\n", "<|im_start|>", "a\n  ", " é ", "{ ", "}", "% }", "{ { ", "\t",
         "x\n", "#", "'"]
DAMAGE = ["(", ")", "|", ",", ".", "-", "not", " if ", " else ", "[", "]", ":", "=", "{{", "%}", "is", "in", "0", "'", "~",
          "{%", "*"]

# Expressions by the type they are meant to have. In «»: a type, alone where any expression may stand, with ! where only
# a primary may, with ? beside an operator; or one of several texts, parted by ¦; or what Generator.piece knows.
# K is the type of the list itself, I that of its items.
RULES = {
    "str": """
«str?» ~ «any?»
«any?» ~ «str?» ~ «int?»
«str?» + «str?»
«str?» * «small»
«small» * «str?»
«str!»[«small»]
«str!»[«slice»]
«str!».«method»
«str!».«method»
«str!».«method».«method»
«str!»|«filter»
«str!»|«filter»
«str!»|«filter»|«filter»
«any!»|string
(«any»)|string
«any!»|tojson«json»
«list:any!»|tojson«json»
«dict!»|tojson«json»
«list:any!»|join«¦(«short»)¦(d=«short»)»
«list:dict!»|map(attribute=«'role'¦'a'¦'a.b'¦'content'»«¦, default=«short»»)|join(«short»)
«list:str!»|«first¦last¦max¦min¦join»
«str!».«partition¦rpartition»(«short»)[«0¦1¦2»]
messages[«small»].«content¦role¦missing»
d.get(«key»«¦, «short»»)
strftime_now(«time»)
«percent»
«call»
«call»
""",
    "int": """
«int?» «+¦-¦*» «int?»
«int?» + «int?» * «int?»
«int?» «//¦%» «int?»
«int?» ** «0¦1¦2¦3»
-«int!»
+«int!»
«int!»|abs
«str!»|«length¦count»
«list:any!»|«length¦count»
«dict!»|length
«str¦float¦int¦bool»|int
«str!»|int
«float!»|int
«str!»|int(«small»)
«str!»|int(base=«2¦8¦10¦16¦0»)
«str!».«find¦rfind¦count»(«short»«¦, 1¦, -2¦, 0, 3»)
«str!».index(«short»)
«list:int!»|sum
«list:int!»|sum(start=«small»)
«list:int!»|«max¦min¦first¦last»
«list:int!»[«small»]
«list:any!».«count¦index»(«any»)
«list:any!»|select|list|length
«int!»|round|int
(«bool»)|int
d|length
range(«small»)|length
""",
    "float": """
«int?» / «float?»
«float?» / «int?»
«float?» «+¦-¦*¦//¦%» «int?»
«float?» «+¦-¦*¦//¦%» «float?»
«int?» «+¦-¦*» «float?»
«float?» ** «0¦1¦2¦0.5¦(-1)»
-«float!»
«float!»|abs
«str!»|float
«int!»|float
«bool!»|float
«str!»|float(0.5)
«float!»|round«¦(1)¦(2)¦(0)¦(3)¦(precision=1)¦(2, 'floor')¦(0, 'ceil')¦(method='floor')»
«int!»|round«¦(1)¦(0, 'ceil')»
""",
    "bool": """
«int?» «==¦!=¦<¦<=¦>¦>=» «int?»
«str?» «==¦!=¦<¦<=¦>¦>=» «str?»
«float?» «==¦!=¦<¦<=¦>¦>=» «int?»
«list:int?» «==¦!=¦<¦<=¦>¦>=» «list:int?»
«any?» «==¦!=» «any?»
«dict?» == «dict?»
«int?» «<¦<=¦==» «int?» «<¦>=¦!=» «float?»
«str?» «in¦not in» «str?»
«any?» «in¦not in» «list:any?»
«str?» in «dict?»
not «any!»
not «bool»
«any?» and «any?» or «any?»
«bool» «and¦or» «bool»
«any?» «is¦is not» «property»
«any?» «is¦is not» «property»
«known» «is¦is not» «defined¦undefined¦none¦string¦mapping»
«int?» «is¦is not» «odd¦even¦divisibleby 2¦divisibleby(3)¦divisibleby i»
«int?» «is¦is not» «eq¦equalto¦ne¦lt¦le¦gt¦ge¦lessthan¦greaterthan» «number»
«str?» «is¦is not» «eq¦equalto¦ne¦lt¦le¦gt¦ge»(«str»)
«any?» «is¦is not» in «list:any!»
«str!».«startswith¦endswith»(«short»«¦, 1»)
«str!».«startswith¦endswith»((«short», «short»))
«str!».«isdigit¦isalpha¦isalnum¦isspace¦islower¦isupper»()
«lit» «is¦is not» «filter¦test»
d[«key»] is defined
""",
    "list": """
[«I», «I»]
[«I», «I», «I», «I»]
(«I», «I»)
«K?» + «K?»
«K!»[«slice»]
«K?» * «0¦1¦2»
«K!»|«sort¦sort(reverse=true)¦sort(case_sensitive=true)¦sort(true)¦list¦reverse|list¦unique|list¦unique(true)|list»
«K!»|«select¦reject»«¦('defined')¦('string')¦('ne', «I»)¦('in', «K»)»«as_list»
«str!».«split()¦split(«short»)¦split(«short», 1)¦rsplit(«short», 1)¦rsplit(none, 1)¦split(maxsplit=1)¦split(sep=«short»)»
«str!».«splitlines()¦splitlines(true)»
«K!»|map(«'string'¦'upper'¦'trim'¦'length'¦'default', 1¦'tojson'¦'int'¦'replace', «short», «short»»)«as_list»
range(«3¦1, 4¦5, 0, -2¦0¦i¦n¦-1¦2, 9, 3»)«|list¦¦[1:]|list¦[-1:]|list»
«list:dict!»|map(attribute=«'role'¦'content'¦'a'¦'a.b'¦0»)«as_list»
«list:dict!»|«selectattr¦rejectattr»(«'role'¦'content'¦'a'»«¦, 'equalto', 'user'¦, 'defined'¦, 'string'»)«as_list»
«list:dict!»|sort(attribute=«'role'¦'content'¦'role,content'»)
«dict!».«keys¦values¦items»()«as_list»
«dict!»|«items¦dictsort¦list¦dictsort(reverse=true)¦dictsort(by='value')»«as_list»
«K!»|«batch¦slice»(«1¦2¦3¦2, '-'¦4, fill_with=0»)«as_list»
«str!»|list
""",
    "dict": """
{«str»: «any»}
{«lit»: «any», «key»: «any», «number»: «any»}
{none: «any», true: «any», 1.0: «any»}
dict(«a¦k¦role»=«any», b=«any»)
dict(«dict!», zz=«int»)
dict([(«str», «any»)])
dict(**«dict!»)
«dict!».copy()
messages[«0¦-1¦1»]
«list:dict!»|«first¦last»
""",
    # Corners: attributes without calls, keys of odd types, wrong arguments, brackets and commas where few put them.
    "odd": """
«any!».«upper¦items¦get¦__class__¦__len__¦append¦real¦name¦a¦0¦1.2¦copy»
«any!».«upper¦items¦append¦keys¦update¦_x¦join» is «callable¦defined»
«any!»[«none¦true¦1.0¦[]¦()¦'0'¦'upper'¦'items'¦{}¦missing¦0¦-1¦«any»»]
«any!»[«slice»]
«any!»(«any»)
«any!»()
«any», «any»
(«any»,)
()
[«any», «any»,]
{«str»: «any»,}
{«any»: 1, «any»: 2}
«any?» in {«any»: 1}
{1: 2, true: 3, 1.0: 4, none: 5}[«any»]
«any!»|«length¦list¦first¦last¦sum¦max¦min¦sort¦join¦items¦dictsort¦reverse¦unique¦int¦float¦abs¦round¦string¦tojson»
«any!»|«title¦trim¦upper¦capitalize¦e¦safe¦batch(2)¦slice(2)¦count¦truncate(5)¦indent¦center(3)¦format(1)¦default»
«any!»|«replace(1, 2)¦round(1)¦dictsort(false, 'value')¦xyz¦tojson(1, 2, 3)¦trim(chars='a')¦list(1)¦join(1)¦min(true)»
«any!»|«sum(attribute='n')¦max(attribute='a')¦unique(attribute='role')|list¦join('-', attribute='role')¦map()|list»
«any!»|«map(attribute=0)|list¦map('first')|list¦select('odd')|list¦reject('none')|list¦selectattr()|list»
[«any», «any», «any»]|«sort¦unique|list¦max¦min¦sum¦join¦tojson¦first¦select|list¦sort(reverse=true)»
«any!» «+¦-¦*¦/¦//¦%¦**¦~¦<¦<=¦>¦>=¦==¦!=¦in¦not in¦and¦or» «any!»
«-¦+¦not ¦- -¦not not »«any!»
«any?» «is¦is not» «odd¦even¦divisibleby 0¦lt 1¦in 'abc'¦eq 1¦sameas none¦sameas true¦mapping¦sequence¦iterable»
«any?» «is¦is not» «filter¦test¦ge(2)¦number¦xyz¦string(1)¦eq¦none»
«007¦00¦1__0¦1_¦0_1¦.5¦1.¦1.e5¦1e5¦0x¦0xG¦0B1¦1e400¦99999999999999999999¦1.5.5¦1if 1else 2¦-0.0¦0b2¦1E-400¦0o8¦1_000.5_0»
range(«int»«¦, 3¦, 1, 2¦, 3, 0¦, none»)|list
dict(«any»«¦, a=1»)
namespace(«a=1¦_a=1¦d¦missing¦[]¦1¦{1: 2}»).a
raise_exception(«any»)
«any!» if «any!»
(«any!» if «any!») is defined
«any!» if «any!» else «any!» if «any!» else «any!»
loop.«index¦last¦nope¦cycle()¦length¦changed()¦previtem»
loop is defined
loop.cycle(*«any!»)
«any!».«split(1)¦split(none, 1)¦join(1)¦replace(1, 2)¦strip(1)¦count()¦find(1)¦center()¦zfill(none)¦startswith(())»
«any!».«endswith((1,))¦get()¦get(1, 2, 3)¦index(1)¦keys(1)¦upper(1)¦splitlines(0)¦rindex(1)¦title()¦format(1)¦isascii()»
«any!».«get([])¦items()[0]¦values()|list|first¦pop()¦count(1)¦index(1, 2)¦copy()¦encode()»
strftime_now(«'%'¦'%Q'¦'%5d'¦1¦''¦'é %Y'¦'%%'¦'%-H:%-M'¦'%#d'¦'%E'¦'% d'»)
'«%¦%d¦%5¦%(a)s¦%c¦%a¦%#x¦%*d¦%.3d¦%+s¦%5%¦%-5d|¦% d¦%05d¦%+.2f¦%e¦%G¦%s%s¦%(a)d¦%ld¦%.0f¦%10.3s|¦%-10s|»' % «odd_values»
«any!» == «any!» == «any!»
«any!» < «any!» > «any!»
«any!»|d(«any!»)|d
«m¦f¦render¦range¦dict¦namespace¦caller¦varargs¦self¦cycler¦true¦True¦TRUE¦None¦nil»«¦()¦.name¦ is defined¦ is callable»
""",
}
RULES = {kind: rules.strip("\n").split("\n") for kind, rules in RULES.items()}

PIECES = {
    "method": "strip()¦strip(«short»)¦strip(none)¦lstrip()¦lstrip(«short»)¦rstrip()¦rstrip(«short»)¦upper()¦lower()¦"
              "capitalize()¦replace(«short», «short»)¦replace(«short», «short», «1¦-1¦0»)¦center(«small»)¦"
              "center(«small», «short»)¦ljust(«small»)¦rjust(«small», '*')¦zfill(«small»)¦removeprefix(«short»)¦"
              "removesuffix(«short»)¦join(«list:str»)",
    "filter": "trim¦trim(«short»)¦upper¦lower¦capitalize¦title¦string¦replace(«short», «short»)¦center¦center(«small»)¦"
              "replace(«short», «short», «1¦none¦count=2»)¦indent¦indent(2)¦indent(2, true)¦indent(0)¦indent('> ')¦"
              "indent(width=1, first=true, blank=true)¦indent(3, blank=true)¦truncate(«5¦8¦11»)¦truncate(7, true)¦"
              "truncate(6, false, '..')¦truncate(9, leeway=0)¦truncate(4, true, '', 1)¦reverse¦e¦escape¦safe|string",
    "property": "defined¦undefined¦none¦string¦mapping¦iterable¦sequence¦number¦integer¦float¦boolean¦true¦false¦"
                "callable¦escaped",
    "json": "¦¦¦()¦(indent=2)¦(indent=4)¦(indent='\t')¦(ensure_ascii=true)¦(ensure_ascii=False, indent=1)¦(true)¦"
            "(separators=(',', ':'))¦(indent=0)¦(separators=(', ', ': '), indent=2)¦(indent=none)¦(false, 3)",
    "as_list": "|list¦|list¦|list¦",
    "small": "0¦1¦2¦3¦-1¦-2¦4¦5¦7¦10",
    "bound": "¦¦1¦-1¦2¦-2¦0¦5¦99¦-99¦i¦none",
    "slice": "«bound»:«bound»¦«bound»:«bound»:«¦1¦2¦-1¦-2»",
    "number": "0¦1¦2¦3¦5¦10¦0x1f¦0b101¦0o17¦1_000¦17¦199¦2147483648",
    "real": "0.5¦1.0¦2.25¦1e3¦1.5e-3¦3.14159¦1E+2¦0.1¦100.0¦1e16¦1_0.5¦123456.789",
    "odd_values": "«any»¦«int»¦«float»¦(1, 2)¦{'a': 1}¦()¦[1]¦-5¦none¦2.5¦true",
    "set": "(v, w) = (1, 2)¦v, (q, w) = 1, [2, 3]¦v, = [1]¦v = 1, 2¦v, w = li¦v, v = 1, 2¦ns.x = 1¦v.a = 1¦(v) = 3¦"
           "v = w = 1¦loop = 1¦true = 1¦v[0] = 1¦v, ns.a = 1, 2¦ns._a = 1¦range = 3¦v =¦v, w = 'ab'",
    "for": "v, (w, q) in [[1, [2, 3]]]¦v, in [[1]]¦(v, w) in [(1, 2)]¦v, w in 'ab', 'cd'¦v, w in li¦v in d¦v in missing¦"
           "v in none¦loop in li¦v in li, ls¦range in range(3)¦v.a in li¦v in d.items()¦v in loop¦v in li|batch(2)",
    "tag": "include 'x'¦block a¦do 1¦import 'x' as y¦autoescape true¦extends 'x'¦debug¦xyz¦endif¦else¦¦set¦for¦if¦"
           "for x in li recursive¦macro m¦call 1¦break¦filter¦print¦with a¦print 1, 2¦trans",
}


def split_choice(text):
    """The parts of «a¦b¦c» without their marks; a nested choice stays whole."""
    parts, depth = [""], 0
    for c in text:
        depth += (c == "«") - (c == "»")
        if c == "¦" and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


class Generator:
    """One template with its variables. Expressions are made to a wanted type, now and then to another."""

    def __init__(self, rng):
        self.r = rng
        self.known = {}  # name: type
        self.macros = {}  # name: number of parameters
        self.spaces = []  # names of namespaces
        self.loops = 0
        self.budget = rng.choice([6, 15, 40, 90])  # expressions that are not leaves

    def chance(self, p):
        return self.r.random() < p

    def pick(self, items):
        return self.r.choice(items)

    # Variables.

    def value(self, depth=2):
        kind = self.pick(["str"] * 4 + ["int", "float", "bool", "none"] + ["list", "dict"] * (2 if depth else 0))
        if kind == "str":
            return self.pick(WORDS)
        if kind == "int":
            return self.pick([0, 1, 2, -3, 17, 1000, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
        if kind == "float":
            return self.pick([0.0, -0.0, 0.5, 1.0, -2.25, 3.14159, 1e16, 1.5e-7, 1e300, 123456789.125, 0.1])
        if kind == "bool":
            return self.chance(0.5)
        if kind == "none":
            return None
        if kind == "list":
            return [self.value(depth - 1) for _ in range(self.r.randrange(4))]
        return {key: self.value(depth - 1) for key in self.r.sample(KEYS, self.r.randrange(4))}

    def message(self):
        message = {"role": self.pick(["system", "user", "assistant", "tool"]), "content": self.pick(WORDS)}
        if self.chance(0.15):
            message["content"] = [{"type": "text", "text": self.pick(WORDS)} for _ in range(self.r.randrange(3))]
        if self.chance(0.1):
            message["content"] = None
        if self.chance(0.1):
            message[self.pick(["reasoning_content", "thinking", "reasoning"])] = self.pick([*WORDS, None])
        if self.chance(0.2):
            call = {"name": "f", "arguments": self.value(2)}
            message["tool_calls"] = [{"type": "function", "function": call}]
        return message

    def variables(self):
        r = self.r
        typed = {
            "s": ("str", self.pick(WORDS)),
            "t": ("str", self.pick(WORDS)),
            "i": ("int", self.pick([0, 1, 2, 3, -1, -2, 4, 5, 7, 10])),
            "n": ("int", r.randrange(100)),
            "big": ("int", self.pick([2**53 + 1, 2**63 - 1, -(2**63), 10**18])),
            "x": ("float", self.pick([0.5, -2.25, 1e16, 1e-7, 3.0, 0.1])),
            "flag": ("bool", self.chance(0.5)),
            "nul": ("none", None),
            "ls": ("list:str", [self.pick(WORDS) for _ in range(r.randrange(5))]),
            "li": ("list:int", [r.randrange(-5, 20) for _ in range(r.randrange(6))]),
            "lm": ("list:any", [self.value(1) for _ in range(r.randrange(5))]),
            "d": ("dict", {key: self.value(1) for key in r.sample(KEYS, r.randrange(1, 5))}),
            "messages": ("list:dict", [self.message() for _ in range(r.randrange(1, 5))]),
            "add_generation_prompt": ("bool", self.chance(0.5)),
            "bos_token": ("str", "<s>"),
            "eos_token": ("str", "</s>"),
        }
        if self.chance(0.3):
            function = {"name": "f", "parameters": self.value(2)}
            typed["tools"] = ("list:dict", [{"type": "function", "function": function}])
        self.known = {name: kind for name, (kind, _) in typed.items()}
        return {name: value for name, (_, value) in typed.items()}

    # Expressions.

    def literal(self, text):
        quote = self.pick("'\"")
        out = ""
        for c in text:
            if c in ("\\", quote):
                out += "\\" + c
            elif c == "\n":
                out += self.pick(["\\n", "\n"])
            elif c in "\r\t":
                out += {"\r": "\\r", "\t": self.pick(["\\t", "\t"])}[c]
            elif self.chance(0.02):
                code = ord(c)
                out += f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
            else:
                out += c
        if self.chance(0.02):
            out += self.pick(["\\q", "\\101", "\\'", "\\\n", "\\/", "\\d+", "\\0"])
        return quote + out + quote

    def fill(self, rule, depth, kind=""):
        """A rule with its «pieces» made."""
        out = ""
        while rule:
            begin = rule.find("«")
            if begin < 0:
                return out + rule
            end, nested = begin + 1, 1
            while nested:
                nested += (rule[end] == "«") - (rule[end] == "»")
                end += 1
            out += rule[:begin] + self.piece(rule[begin + 1:end - 1], depth, kind)
            rule = rule[end:]
        return out

    def piece(self, name, depth, kind):
        if name in PIECES:
            name = PIECES[name]
        if "¦" in name:
            return self.fill(self.pick(split_choice(name)), depth, kind)
        if name in ("lit", "short", "key"):
            return self.literal(self.pick({"lit": WORDS, "short": SHORT, "key": KEYS}[name]))
        if name == "known":
            return self.pick(list(self.known) + ["missing", "nothing"])
        if name in ("percent", "call", "time"):
            return getattr(self, "make_" + name)(depth)
        form = name[-1] if name[-1] in "!?" else ""
        wanted = name.rstrip("!?").replace("K", kind).replace("I", kind[5:])
        e = self.expr(wanted, depth - 1)
        if form == "" or e.isidentifier():
            return e
        if form == "?" and not e.startswith("not ") and " if " not in e and self.chance(0.25):
            return e
        return "(" + e + ")"

    def operand(self, kind, depth):
        return self.piece(kind + "?", depth + 1, "")

    def expr(self, kind, depth=3):
        self.budget -= 1
        if self.chance(0.01):
            return self.pick(["missing", "nothing"])
        if self.chance(0.015):
            kind = self.pick(["str", "int", "float", "bool", "none", "list:any", "dict", "any"])
        if depth <= 0 or self.budget < 0 or kind == "none" or self.chance(0.15):
            return self.leaf(kind)
        if self.chance(0.02):
            return self.fill(self.pick(RULES["odd"]), depth)
        if self.chance(0.06):
            return self.fill(f"«{kind}?» if «bool?»" + self.pick([f" else «{kind}»"] * 6 + [""]), depth)
        if self.chance(0.05):
            return self.fill(f"«{self.pick([kind, kind, 'none'])}!» «or¦and» «{kind}!»", depth)
        if self.chance(0.03):
            extra = "«default¦d»(«" + kind + "»«¦, true¦, boolean=true¦, false»)"
            return self.fill(f"«{self.pick([kind, 'none'])}!»|{extra}", depth)
        if kind == "any":
            kind = self.pick(["str", "str", "int", "float", "bool", "list:any", "list:str", "list:int", "dict"])
        if kind == "list:any":
            kind = self.pick(["list:any", "list:str", "list:int"])
        return self.fill(self.pick(RULES[kind.partition(":")[0]]), depth, kind)

    def leaf(self, kind):
        names = [n for n, k in self.known.items() if k == kind or kind == "any" or kind == "list:any" and k[:4] == "list"]
        if names and self.chance(0.6):
            return self.pick(names)
        if kind == "str":
            if self.loops and self.chance(0.1):
                return self.fill("loop.cycle(«lit», «lit»)", 0)
            if self.chance(0.1):
                return self.fill("messages[«0¦-1»]«.role¦['role']¦.content¦[\"content\"]»", 0)
            return self.fill("«lit» «lit»" if self.chance(0.03) else "«lit»", 0)
        if kind == "int":
            if self.loops and self.chance(0.3):
                return "loop." + self.pick("index index0 revindex revindex0 length depth depth0".split())
            return self.fill("«-¦¦¦¦¦¦»«number»", 0)
        if kind == "float":
            return self.fill("«real»", 0)
        if kind == "bool":
            if self.loops and self.chance(0.3):
                return "loop." + self.pick(["first", "last"])
            return self.pick(["true", "false", "True", "False"])
        if kind == "none":
            return self.pick(["none", "None", "none", "missing"])
        if kind[:4] == "list":
            items = []
            for _ in range(self.r.randrange(4)):
                item = kind[5:] if kind[5:] != "any" else self.pick(["str", "int", "float", "bool", "none"])
                items.append(self.leaf(item))
            if self.chance(0.15):
                return "(" + ", ".join(items) + ("," if len(items) == 1 else "") + ")"
            return "[" + ", ".join(items) + ("," if items and self.chance(0.1) else "") + "]"
        if kind == "dict":
            keys = self.r.sample(KEYS, self.r.randrange(4))
            values = [self.leaf(self.pick(["str", "int", "float"])) for _ in keys]
            return "{" + ", ".join(f"{self.literal(key)}: {value}" for key, value in zip(keys, values)) + "}"
        return self.leaf(self.pick(["str", "int", "float", "bool", "none", "list:any", "dict"]))

    def make_call(self, depth):
        if not self.macros:
            return self.leaf("str")
        name = self.pick(list(self.macros))
        arguments = [self.expr("any", depth - 1) for _ in range(self.r.randrange(self.macros[name] + 1))]
        for extra, p in ((f"p0={self.leaf('any')}", 0.1), ("*li", 0.05), ("**{'p1': 1}", 0.05)):
            if self.chance(p):
                arguments.append(extra)
        return f"{name}({', '.join(arguments)})"

    def make_percent(self, depth):
        specs, values = [], []
        for _ in range(self.r.randrange(1, 4)):
            flags = "".join(self.r.sample("-+ 0", self.r.randrange(3))) + self.pick(["", "", "3", "8"])
            conversion = self.pick("ssrdifegxXo")
            if conversion in "sr" and self.chance(0.2):
                flags += ".2"
            if conversion in "feg":
                flags += self.pick(["", ".0", ".2", ".10"])
            specs.append("%" + flags + conversion)
            values.append(self.expr({"s": "any", "r": "any"}.get(conversion, "float" if conversion in "feg" else "int"), depth - 1))
        form = self.literal(self.pick(["", "[", "é"]) + self.pick([" ", "|", "%%"]).join(specs))
        if len(values) == 1 and self.chance(0.5):
            return f"{form} % ({values[0]})"
        if self.chance(0.3):
            return f"{form}|format({', '.join(values)})"
        if self.chance(0.1):
            return f"'%(a)s-%(b)r' % {{'a': {values[0]}, 'b': 1}}"
        return f"{form} % ({', '.join(values)},)"

    def make_time(self, depth):
        conversions = ["%" + self.pick("aAwdbBmyYHIpMSfjUWVGucxXFTReDhklCgnt%") for _ in range(self.r.randrange(1, 4))]
        return self.literal(" ".join(conversions) + self.pick(["", "%-d", "%^a", "%_H", "%-m"]))

    # Statements.

    def tag(self, inside, opening="{%", closing="%}"):
        signs = ["", "", "", "-", "-", "+"] if closing == "%}" else ["", "", "", "-"]
        left, right = self.pick(signs), self.pick(signs)
        space = self.pick([" ", " ", " ", "", "  ", "\n"])
        begin = " " if not space and inside[:1] in ("+", "-", "{") else space
        end = " " if not space and inside[-1:] in ("+", "-", "}") else space
        return opening + left + begin + inside + end + right + closing

    def show(self, inside):
        return self.tag(inside, "{{", "}}")

    def text(self):
        return self.pick(TEXTS)

    def body(self, depth):
        saved = dict(self.known), dict(self.macros), list(self.spaces)
        out = self.text()
        for _ in range(self.r.randrange(1, 4)):
            out += self.statement(depth) + self.text()
        self.known, self.macros, self.spaces = saved
        return out

    def body_outside_loops(self, depth):
        loops, self.loops = self.loops, 0
        out = self.body(depth)
        self.loops = loops
        return out

    def target(self, kind):
        name = self.pick(NAMES)
        self.known[name] = kind
        return name

    def statement(self, depth):
        if self.budget < 0:
            return self.show(self.expr("str", 1))
        choices = ["show"] * 6 + ["set"] * 3 + ["comment", "namespace", "set_namespace"]
        if depth > 0:
            choices += ["if"] * 3 + ["for"] * 4 + ["macro"] * 2
            choices += ["set_block", "call_block", "filter", "with", "generation", "raw"]
        if self.loops and self.chance(0.5):
            choices += ["break", "loop", "loop"]
        return getattr(self, "make_" + self.pick(choices))(depth)

    def make_show(self, depth):
        if self.chance(0.03):
            return self.tag("print " + self.expr("any", 2))
        if self.chance(0.01):
            return self.tag(self.piece("tag", 1, ""))
        return self.show(self.expr("any", self.pick([1, 2, 3, 4])))

    def make_set(self, depth):
        if self.chance(0.05):
            return self.tag("set " + self.piece("set", 1, ""))
        if self.chance(0.1):
            values = self.fill("«any!», «int!»", 3)
            return self.tag(f"set {self.target('any')}, {self.target('int')} = {values}")
        kind = self.pick(["str", "int", "float", "bool", "list:str", "list:int", "list:any", "dict", "any"])
        value = self.expr(kind, 3)
        return self.tag(f"set {self.target(kind)} = {value}")

    def make_comment(self, depth):
        return "{#" + self.fill("«¦-¦-¦+»« note ¦\n¦ {{ x }} ¦»«¦-¦+»", 1) + "#}"

    def make_namespace(self, depth):
        self.spaces.append(self.pick(["ns", "state"]))
        return self.tag(f"set {self.spaces[-1]} = namespace({self.fill('«¦a=«any»¦a=0, b=«str»¦«dict»»', 2)})")

    def make_set_namespace(self, depth):
        if not self.spaces:
            return self.make_set(depth)
        name = self.pick(self.spaces)
        value = self.fill(f"««any»¦{name}.a ~ «str!»¦({name}.b or 0) + 1»", 3)
        return self.tag(f"set {name}.{self.pick('ab')} = {value}") + self.show(f"{name}.{self.pick('abc')}")

    def make_if(self, depth):
        out = self.tag(f"if {self.operand(self.pick(['bool', 'bool', 'any']), 3)}") + self.body(depth - 1)
        while self.chance(0.25):
            out += self.tag(f"elif {self.operand('bool', 2)}") + self.body(depth - 1)
        if self.chance(0.4):
            out += self.tag("else") + self.body(depth - 1)
        return out + self.tag("endif")

    def make_for(self, depth):
        saved = dict(self.known)
        kind = self.pick(["str", "int", "any", "dict"])
        form = self.r.randrange(25)
        if form < 4:
            over = self.fill("«dict!»«.items()¦|items¦|dictsort»", 3)
            names = f"{self.target('any')}, {self.target('any')}"
            head = f"{self.pick([names, '(' + names + ')'])} in {over}"
        elif form < 8:
            over = self.fill("«str!»", 3)
            head = f"{self.target('str')} in {over}"
        elif form < 12:
            head = "message in messages"
            self.known["message"] = "dict"
        elif form < 13:
            head = self.piece("for", 1, "")
        else:
            over = self.operand("list:" + kind, 3)
            head = f"{self.target(kind)} in {over}"
        self.loops += 1
        condition = f" if {self.operand('bool', 2)}" if self.chance(0.2) else ""
        out = self.tag(f"for {head}{condition}") + self.body(depth - 1)
        self.loops -= 1
        self.known = saved
        if self.chance(0.2):
            out += self.tag("else") + self.body(depth - 1)
        return out + self.tag("endfor")

    def make_break(self, depth):
        condition = self.operand("bool", 1)
        return self.tag(f"if {condition}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")

    def make_loop(self, depth):
        return self.show("loop." + self.fill("«changed(«any»)¦previtem¦nextitem¦last¦length¦cycle(«any», 2, 3)»", 2))

    def make_set_block(self, depth):
        filters = self.pick(["", "", " | trim", " | upper | trim", "|replace('a', 'b')", "|indent(2)"])
        name = self.pick(NAMES)
        out = self.tag(f"set {name}{filters}") + self.body_outside_loops(depth - 1) + self.tag("endset")
        self.known[name] = "str"
        return out

    def make_macro(self, depth):
        name = self.pick(["m", "render", "f"])
        count = self.r.randrange(4)
        parameters, first_default = [], self.r.randrange(count + 2)
        saved = dict(self.known)
        for k in range(count):
            parameters.append(f"p{k}" + (f"={self.expr('any', 1)}" if k >= first_default else ""))
            self.known[f"p{k}"] = "any"
        for special, kind in (("varargs", "list:any"), ("kwargs", "dict")):
            if self.chance(0.1):
                self.known[special] = kind
        if self.chance(0.1):
            self.macros[name] = count  # it may call itself: both have a bound for that
        end = self.show(self.pick(["caller()", "caller(1)", "caller is defined"])) if self.chance(0.3) else ""
        out = self.tag(f"macro {name}({', '.join(parameters)})") + self.body_outside_loops(depth - 1)
        self.known = saved
        self.macros[name] = count
        return out + end + self.tag("endmacro")

    def make_call_block(self, depth):
        if not self.macros:
            return self.make_macro(depth)
        signature = self.pick(["", "", "(p0)", "(p0, p1=2)", "()"])
        return self.tag(f"call{signature} {self.make_call(2)}") + self.body_outside_loops(depth - 1) + self.tag("endcall")

    def make_filter(self, depth):
        filters = self.fill("«upper¦trim¦indent(1)¦replace('a', 'b')¦trim|title¦lower¦upper|trim¦e¦length»", 1)
        return self.tag("filter " + filters) + self.body_outside_loops(depth - 1) + self.tag("endfilter")

    def make_with(self, depth):
        saved = dict(self.known)
        names = self.r.sample(NAMES, self.r.randrange(3))
        head = ", ".join(f"{name} = {self.expr('any', 2)}" for name in names)
        self.known.update({name: "any" for name in names})
        out = self.tag(("with " + head).strip()) + self.body(depth - 1) + self.tag("endwith")
        self.known = saved
        return out

    def make_generation(self, depth):
        return self.tag("generation") + self.body_outside_loops(depth - 1) + self.tag("endgeneration")

    def make_raw(self, depth):
        inside = self.pick(["{{ x }}", "\n", " {% if %} ", "x", "\n  "])
        return self.tag("raw").replace("+", "") + inside + self.tag("endraw")

    def template(self):
        if self.chance(0.35):
            return self.show(self.expr("any", self.pick([1, 2, 3, 4])))
        out = self.text()
        for _ in range(self.r.randrange(1, 6)):
            out += self.statement(3) + self.text()
        return out


def damaged(source, rng):
    """The template with a token or two deleted, doubled or swapped: what may not parse must not parse for both."""
    tokens, at = [], 0
    while at < len(source):
        end = at + 1
        if source[at] in string.ascii_letters + "_":
            while end < len(source) and (source[end].isalnum() or source[end] == "_"):
                end += 1
        elif source[at:at + 2] in ("{%", "%}", "{{", "}}", "{#", "#}", "//", "**", "=="):
            end = at + 2
        tokens.append(source[at:end])
        at = end
    for _ in range(rng.randrange(1, 3)):
        if not tokens:
            break
        i, j = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        how = rng.randrange(4)
        if how == 0:
            del tokens[i]
        elif how == 1:
            tokens.insert(i, tokens[i])
        elif how == 2:
            tokens[i], tokens[j] = tokens[j], tokens[i]
        else:
            tokens.insert(i, rng.choice(DAMAGE))
    return "".join(tokens)


def generated_cases(count, seed):
    for index in range(count):
        rng = random.Random(seed * 1_000_003 + index)
        generator = Generator(rng)
        variables = generator.variables()
        source = generator.template()
        yield (damaged(source, rng) if rng.random() < 0.1 else source), variables


def real_cases(folder, count, seed):
    """Templates of real models, damaged, with the conversations that lie beside them."""
    sources = [path.read_text() for path in sorted(folder.glob("templates/**/*.jinja"))]
    sources += [json.loads(path.read_text())["chat_template"] for path in sorted(folder.glob("templates/**/*.json"))]
    contexts = [json.loads(path.read_text()) for path in sorted(folder.glob("contexts/*.json"))]
    for index in range(count):
        rng = random.Random(seed * 2_000_003 + index)
        yield damaged(rng.choice(sources), rng), rng.choice(contexts)


class Reference:
    """Jinja2 as apply_chat_template sets it up, with a clock that stands.

    Slices and dicts are not computed when it compiles, as it does for constants: there {{ none[1:] }} prints nothing
    and {[]: 1} fails though never reached, where at run time None has no slices.
    """

    def __init__(self):
        import jinja2.nodes as nodes
        import transformers.utils.chat_template_utils as utils

        def impossible(*_):
            raise nodes.Impossible

        nodes.Slice.as_const = nodes.Dict.as_const = impossible

        class Fixed(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return NOW

        utils.datetime = Fixed
        self.compile = utils._compile_jinja_template
        self.alias = utils._alias_reasoning_fields
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.signal(signal.SIGALRM, self.too_slow)

    @staticmethod
    def too_slow(*_):
        raise TimeoutError

    def render(self, source, variables):
        """(text, None) or (None, what failed); (None, None): not to be compared."""
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        variables = {**variables, "messages": self.alias(variables["messages"])}
        try:
            return self.compile(source).render(**variables), None
        except (TimeoutError, MemoryError, NameError):  # NameError: it writes a constant nan or inf into its Python
            return None, None
        except Exception as error:  # whatever a template can raise
            return None, f"{type(error).__name__}: {error}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def verdict(text, failure, answer):
    if text is None and failure is None:
        return "skipped"
    if text is not None and answer.get("text") == text:
        return "same text"
    if failure is not None and "error" in answer:
        return "both fail"
    # Jinja2 looks an unknown filter up when it is reached, tmodel when it parses.
    unknown = answer.get("error", "").startswith(("no filter named", "no test named"))
    return "refused by name" if unknown or answer.get("code") == "not supported" else "DIFFERENT"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("render_templates")
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", type=pathlib.Path, help="folder with templates/ and contexts/: as many damages of those")
    parser.add_argument("--show", type=int, default=20, help="how many differences to print")
    parser.add_argument("--refused", action="store_true", help="list what only Jinja2 renders")
    args = parser.parse_args()

    cases = list(generated_cases(args.count, args.seed))
    if args.real:
        cases += real_cases(args.real, args.count, args.seed)
    now = [NOW.year, NOW.month, NOW.day, NOW.hour, NOW.minute, NOW.second, NOW.microsecond]
    lines = [json.dumps({"template": source, "variables": variables, "now": now}) for source, variables in cases]
    done = subprocess.run([args.render_templates], input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert len(answers) == len(cases)

    reference = Reference()
    counts, refused = collections.Counter(), collections.Counter()
    for (source, variables), answer in zip(cases, answers):
        text, failure = reference.render(source, variables)
        kind = verdict(text, failure, answer)
        counts[kind] += 1
        if kind == "refused by name":
            refused[answer["error"]] += 1
        if kind == "DIFFERENT" and counts[kind] <= args.show:
            print(f"--- template: {source!r}\n    variables: {json.dumps(variables)}")
            print(f"    jinja2: {text!r} {failure or ''}\n    tmodel: {json.dumps(answer)}")
    if args.refused:
        for what, n in refused.most_common():
            print(f"refused {n}: {what}")
    print(f"templates, seed {args.seed}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())))
    return 1 if counts["DIFFERENT"] else 0


if __name__ == "__main__":
    sys.exit(main())
