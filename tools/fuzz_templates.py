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
import subprocess
import sys

from template_generator import Generator, damaged

NOW = datetime.datetime(2025, 7, 10, 9, 5, 7, 42)
MEMORY = 4 << 30  # bytes: a hostile template must not take the machine
SECONDS = 5


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
