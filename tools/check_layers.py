#!/usr/bin/env python3
"""Checks the floor plan: includes go down only. The rules are the data below; HACKING.md explains them.

Usage: check_layers.py [root]. Prints each violation with its rule and the fix; exit status 1 if there is any.
"""
import pathlib
import re
import sys

# Every header belongs to the first area whose pattern matches its path below include/tmodel/.
# area -> (pattern, areas of tmodel it may include, third-party headers it may include)
AREAS = {
    "core":      (r"(fwd\.hpp|core/.*)", {"core"}, {r"core/json\.hpp": ["nlohmann/"], r".*": ["tl/expected.hpp"]}),
    "quant":     (r"quant/.*", {"core", "quant"}, {}),
    "io":        (r"io/.*", {"core", "io"}, {}),
    "families":  (r"families/.*", {"core", "families"}, {}),
    "text":      (r"text/.*", {"core", "text"}, {r"text/regex\.hpp": ["pcre2.h"], r"text/unicode\.hpp": ["utf8proc.h"], r"text/spm\.hpp": ["sentencepiece_processor.h"]}),
    "host":      (r"backends/host\.hpp", {"core", "quant"}, {}),
    "reference": (r"backends/reference\.hpp", {"core", "quant", "host"}, {r".*": ["Eigen/"]}),
    "cpu":       (r"backends/(cpu_simd\.hpp|cpu/.*)", {"core", "quant", "host", "cpu"}, {r".*": ["xsimd/", "immintrin.h", "arm_neon.h"]}),
    "opencl":    (r"backends/(opencl\.hpp|opencl/.*)", {"core", "quant", "opencl"}, {r".*": ["CL/"]}),
    "model":     (r"model/.*", {"core", "quant", "io", "model"}, {}),
    "use":       (r"(language|transformer|generate|chat)\.hpp", {"core", "io", "text", "model", "use"}, {}),
    "any":       (r"any_transformer\.hpp", {"core", "families", "io", "text", "model", "use"}, {}),
    "umbrella":  (r"tmodel\.hpp", {"core", "quant", "io", "families", "text", "host", "cpu", "model", "use", "any"}, {}),
}
POSIX = re.compile(r"^(dirent|fcntl|unistd|sys/.*|cpuid|dlfcn|pthread|sched)\.h$")  # allowed in core/os.hpp only
MAX_LINES = {"model/forward.hpp": 350, "default": 600}


def area_of(path):
    for name, (pattern, _, _) in AREAS.items():
        if re.fullmatch(pattern, path):
            return name
    return None


def check(root):
    base = root / "include" / "tmodel"
    version = re.search(r"TMODEL_VERSION_MAJOR (\d+)", (base / "fwd.hpp").read_text()).group(1)
    problems = []
    for file in sorted(base.rglob("*.hpp")):
        path = file.relative_to(base).as_posix()
        lines = file.read_text().splitlines()
        area = area_of(path)
        if area is None:
            problems.append(f"{path}: belongs to no area; add it to AREAS in tools/check_layers.py and to HACKING.md")
            continue
        _, allowed, third_party = AREAS[area]
        if not lines or lines[0] != "#pragma once":
            problems.append(f"{path}:1: first line must be #pragma once")
        if len(lines) < 2 or not lines[1].startswith("//"):
            problems.append(f"{path}:2: second line must say what the file is")
        limit = MAX_LINES.get(path, MAX_LINES["default"])
        if len(lines) > limit:
            problems.append(f"{path}: {len(lines)} lines, at most {limit}; split it by topic")
        for number, line in enumerate(lines, 1):
            if re.match(r"\s*namespace tmodel\b", line) and f"inline v{version}" not in line:
                problems.append(f"{path}:{number}: open the namespace as tmodel::inline v{version}")
            found = re.match(r'\s*#\s*include\s*[<"]([^">]+)[">]', line)
            if not found:
                continue
            target = found.group(1)
            if target.startswith("tmodel/"):
                other = area_of(target[len("tmodel/"):])
                if other not in allowed:
                    problems.append(f"{path}:{number}: {area} may not include {target} ({other}); "
                                    f"it may include {', '.join(sorted(allowed))}: move the shared part down")
            elif POSIX.match(target):
                if path != "core/os.hpp":
                    problems.append(f"{path}:{number}: {target} is a system header; put the call behind core/os.hpp")
            elif "/" in target or target.endswith(".h"):
                granted = [p for pattern, prefixes in third_party.items() if re.fullmatch(pattern, path) for p in prefixes]
                if area != "core" and target.startswith("tl/"):
                    problems.append(f"{path}:{number}: include tmodel/core/error.hpp instead of {target}")
                elif not any(target.startswith(p) for p in granted):
                    problems.append(f"{path}:{number}: {target} is not granted to {area}; wrap it in the header that owns it")
    return problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems = check(root)
    for problem in problems:
        print(problem)
    print(f"check_layers: {len(problems)} problem(s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
