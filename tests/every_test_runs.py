#!/usr/bin/env python3
"""Checks that the filters of ctest's entries leave no test of a GoogleTest program out.

    every_test_runs.py ENTRIES

ENTRIES has the path of each program in a line, an empty line, and of each entry a program and its filter. A program
NAME_counted holds the tests of NAME, each of which one of both has to run.
"""
import pathlib
import subprocess
import sys


def tests_of(program, *arguments):
    """Names of the tests of a GoogleTest program that are not disabled, as --gtest_list_tests gives them."""
    listed = subprocess.run([program, "--gtest_list_tests", *arguments], check=True, capture_output=True, text=True).stdout
    names, suite = set(), ""
    for line in listed.splitlines():
        name = line.split("#")[0].strip()
        if line.startswith(" "):
            names.add(suite + name)
        elif name.endswith("."):
            suite = name
    return {name for name in names if "DISABLED_" not in name}


programs, entries = (part.splitlines() for part in pathlib.Path(sys.argv[1]).read_text().split("\n\n"))
left = {program: tests_of(program) for program in programs}
if not all(left.values()):
    sys.exit("a program holds no test")
print(f"{sum(map(len, left.values()))} tests in {len(programs)} programs, {len(entries)} entries")
for entry in entries:
    program, filter = entry.split(" ", 1)
    left[program.removesuffix("_counted")] -= tests_of(program, f"--gtest_filter={filter}")
missing = sorted(set().union(*left.values()))
for name in missing:
    print(f"no entry of ctest runs {name}")
sys.exit(bool(missing))
