#!/usr/bin/env python3
"""Compiles cases.cpp once per case: each wrong combination must be refused with its sentence in the first ten lines.

Usage: run_cases.py COMPILER CASES.cpp FLAG...    The headers are precompiled once; the compiler stops at the first error,
which must be the sentence, so that a case costs a second.
"""
import os
import subprocess
import sys
import tempfile

SENTENCES = {
    0: None,
    1: "tmodel: the first parameter of Transformer is not a model family",
    2: "tmodel: the second parameter of Transformer is not a backend",
    3: "tmodel: this family needs an operation that this backend does not list in Ops",
    4: "tmodel: CpuSimd computes in f32",
    5: "tmodel: CpuSimd<..., avx2> needs this file to be compiled with",
    6: "tmodel: OpenCl has no kernel for this weight format",
    7: "tmodel: a FormatSet holds something that is not a weight format",
    8: "tmodel: CpuSimd<..., avx2_vnni> needs this file to be compiled with",
    9: "tmodel: CpuSimd<..., neon64_dotprod> needs this file to be compiled with",
    10: "tmodel: CpuSimd<T, Arch> runs on cpu::sse2",
}


def precompile(compiler, flags, work):
    """Returns the flags that bring the headers of cases.cpp."""
    prefix = os.path.join(work, "prefix.hpp")
    with open(prefix, "w", encoding="utf-8") as out:
        out.write('#include "tmodel/backends/opencl.hpp"\n#include "tmodel/tmodel.hpp"\n')
    clang = "clang" in subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    made = prefix + (".pch" if clang else ".gch")
    subprocess.run([compiler, "-std=c++20", *flags, "-x", "c++-header", prefix, "-o", made], check=True)
    return ["-ferror-limit=1", "-include-pch", made] if clang else ["-fmax-errors=1", "-include", prefix]


def main():
    compiler, source, *flags = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        headers = precompile(compiler, flags, work)
        for case, sentence in SENTENCES.items():
            run = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", f"-DCASE={case}", *flags, *headers, source],
                                 capture_output=True, text=True)
            head = run.stderr.splitlines()[:10]
            if sentence is None:
                ok = run.returncode == 0
            else:
                ok = run.returncode != 0 and any(sentence in line for line in head)
            failed += not ok
            print(f"case {case}: {'ok' if ok else 'FAILED'} ({run.stderr.count('error:')} errors, {len(run.stderr.splitlines())} lines)")
            if not ok:
                print("\n".join(head))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
