"""The grammar of chat templates as text: words, expressions by type, filters, methods, tags. template_generator.py fills it in."""

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
