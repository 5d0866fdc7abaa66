"""Random chat templates with their variables, and damage to templates. Used by fuzz_templates.py."""

import string

from template_grammar import DAMAGE, KEYS, NAMES, PIECES, RULES, SHORT, TEXTS, WORDS


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
