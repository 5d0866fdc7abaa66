#!/usr/bin/env python3
"""Checks that ctest's filters leave no test of a GoogleTest program out.

    every_test_runs.py CTEST BUILD_FOLDER

Programs linked from one unit hold the same tests; each test has to be run by one of ctest's entries at least.
"""
import json
import subprocess
import sys


def tests_of(program, *arguments):
    """Names of the tests of a GoogleTest program, as --gtest_list_tests gives them."""
    listed = subprocess.run([program, "--gtest_list_tests", *arguments], check=True, capture_output=True, text=True).stdout
    names, suite = set(), ""
    for line in listed.splitlines():
        name = line.split("#")[0].strip()
        if line.startswith(" "):
            names.add(suite + name)
        elif name.endswith("."):
            suite = name
    return names


ctest, folder = sys.argv[1:]
shown = subprocess.run([ctest, "--test-dir", folder, "--show-only=json-v1"], check=True, capture_output=True, text=True).stdout
commands = [t["command"] for t in json.loads(shown)["tests"]]
filtered = [c for c in commands if len(c) == 2 and c[1].startswith("--gtest_filter=")]
held = set().union(*(tests_of(program) for program in {c[0] for c in filtered}))
run = set().union(*(tests_of(*c) for c in filtered))
for name in sorted(held - run):
    print(f"no entry of ctest runs {name}")
print(f"{len(run)} of {len(held)} tests are run by {len(filtered)} entries")
sys.exit(not held or held != run)
