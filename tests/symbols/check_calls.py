#!/usr/bin/env python3
"""Disassembles an object file and fails if a function of namespace tmodel calls what ends, prints or reads the process.

Usage: check_calls.py OBJECT. Functions of std and of third parties are judged by their callers' names alone: only
functions whose own name starts in namespace tmodel count, and ALLOWED lists what they may call all the same.
"""
import re
import subprocess
import sys

# Mangled names: demangling every line takes minutes.
OURS = re.compile(r"^_Z+N?K?N?K?6tmodel")
FORBIDDEN = re.compile(
    r"^(abort|exit|_exit|_Exit|quick_exit|_ZSt9terminatev|__assert_fail|_ZSt21__glibcxx_assert_fail.*|printf|fprintf|vprintf|"
    r"puts|putchar|fputs|fputc|fwrite|perror|getenv|secure_getenv|setenv|_ZSt4cout|_ZSt4cerr|_ZNSo.*|_ZStls.*|__cxa_throw)$")
# Callees that look forbidden and are not: (caller pattern, callee pattern, why).
ALLOWED = []


def main():
    text = subprocess.run(["objdump", "-d", "-r", "--no-show-raw-insn", sys.argv[1]],
                          capture_output=True, text=True, check=True).stdout
    caller, functions, bad = "", 0, set()
    for line in text.splitlines():
        head = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if head:
            caller = head.group(1)
            functions += OURS.match(caller) is not None
            continue
        call = re.search(r"R_X86_64_(?:PLT32|PC32|GOTPCREL\w*|REX_GOTPCRELX)\s+(.*?)(?:[-+]0x[0-9a-f]+)?$", line)
        if call and OURS.match(caller) is not None and FORBIDDEN.match(call.group(1)):
            if not any(re.search(c, caller) and re.search(f, call.group(1)) for c, f, _ in ALLOWED):
                bad.add((caller[:160], call.group(1)[:80]))
    for caller, callee in sorted(bad):
        print(f"{caller}\n    calls {callee}")
    print(f"{functions} functions of tmodel, {len(bad)} forbidden calls")
    return 1 if bad or functions < 500 else 0


if __name__ == "__main__":
    sys.exit(main())
