#!/usr/bin/env python3
"""Fails if a function of namespace tmodel calls what ends, prints to or reads the environment of the process.

Usage: check_calls.py OBJECT, compiled with -O0 -fkeep-inline-functions -ffunction-sections: then every function has a
section of its own, and the section's relocations are its calls; none is left out because it was seen never to run. (A
disassembly says the same, minutes later.) What std and third parties call is their own business and listed in FOREIGN, so
that a new one is noticed.
"""
import re
import subprocess
import sys

OURS = re.compile(r"_Z+N?K?N?K?6tmodel")  # mangled: a function whose own name begins in namespace tmodel
FORBIDDEN = re.compile(
    r"(abort|exit|_exit|_Exit|quick_exit|_ZSt9terminatev|__assert_fail|_ZSt21__glibcxx_assert_fail.*|printf|fprintf|vprintf|"
    r"vfprintf|dprintf|puts|putchar|fputs|fputc|fwrite|perror|getenv|secure_getenv|setenv|_ZSt4cout|_ZSt4cerr|_ZSt4clog|"
    r"_ZNSo.*|_ZStls.*|__cxa_throw)")
# Forbidden names that functions of std and third parties may refer to: (caller, callee, why).
FOREIGN = [
    (r"_ZSt|_ZNSt|_ZNKSt", r"_ZSt9terminatev", "destructor of a std::thread that still runs; tmodel joins its threads"),
    (r"nlohmann|_ZSt|_ZNSt|_ZNKSt|_ZN9__gnu_cxx|_ZN2tl|_ZNKR2tl|_ZNR2tl|_ZNO2tl", r"__cxa_throw", "caught by guard(), or never reached"),
    (r"nlohmann", r"abort|__assert_fail", "assertions of nlohmann, off with NDEBUG"),
    (r"Eigen", r"__cxa_throw|__assert_fail", "Eigen's own out-of-memory path; tmodel only maps memory"),
    (r"_ZSt|_ZNSt|_ZNKSt|nlohmann|xsimd|Eigen", r"_ZNSo.*|_ZStls.*|abort", "stream operators that exist because their header does"),
]


def sections(path):
    """Yields (function, callee) for each relocation of a function's section."""
    text = subprocess.run(["objdump", "-r", path], capture_output=True, text=True, check=True).stdout
    caller = None
    for line in text.splitlines():
        head = re.match(r"RELOCATION RECORDS FOR \[(.*)\]:$", line)
        if head:
            name = re.match(r"\.text\.(?:unlikely\.|hot\.|startup\.)?(\w.*)", head.group(1))
            caller = name.group(1) if name else None
            if caller:
                yield caller, None
        elif caller:
            target = re.search(r"R_\w+\s+(.*?)(?:[-+]0x[0-9a-f]+)?$", line)
            if target:
                yield caller, target.group(1)


def main():
    ours, ours_calls, bad, unknown, foreign = set(), 0, set(), set(), set()
    for caller, callee in sections(sys.argv[1]):
        mine = OURS.match(caller) is not None
        if callee is None:
            ours |= {caller} if mine else set()
            continue
        ours_calls += mine
        if not FORBIDDEN.fullmatch(callee):
            continue
        if mine:
            bad.add((caller, callee))
        else:
            rule = next((i for i, (who, what, _) in enumerate(FOREIGN) if re.search(who, caller) and re.fullmatch(what, callee)), None)
            foreign.add(rule)
            if rule is None:
                unknown.add((caller, callee))
    for title, calls in (("tmodel calls what it must not", bad), ("not listed in FOREIGN", unknown)):
        for caller, callee in sorted(calls):
            print(f"{title}: {caller[:200]}\n    refers to {callee[:80]}")
    print(f"{len(ours)} functions of tmodel with {ours_calls} calls: {len(bad)} forbidden; "
          f"{len(unknown)} unlisted ones of std and third parties")
    if len(ours) < 2000:
        print("that is not the whole library: the object was compiled in another way")
        return 1
    return 1 if bad or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
