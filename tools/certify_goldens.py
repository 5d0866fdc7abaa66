#!/usr/bin/env python3
"""Certifies every golden against a dump of its own folder, and prints how far each intermediate was: what the bounds in
examples/inspect/certificate_facts.hpp are measured by.

Needs the environment of tools/oracle_env.sh. A GGUF golden's dump is made from its dequantised weights.

  certify_goldens.py INSPECT [--only TEXT] [--backend reference --backend cpu]
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

from reference_dump import make_dump  # before anything that computes with torch
from golden_cases import all_cases
from make_goldens import write_model
from safetensors.torch import save_file

MODELS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "models"
GREEDY = 4


def dump_case(case, expected, folder):
    """Writes the dump of a case into a folder and returns its path."""
    model = MODELS / case.name
    if case.gguf is not None:
        _, _, model = write_model(case, folder, expected["seed"])
    greedy = GREEDY if expected["greedy"] else 0
    rope_length = 0 if greedy else expected["rope_length"] or 0
    tensors, metadata = make_dump(model, lambda _: expected["ids"], greedy, rope_length, expected.get("start_position", 0))
    save_file(tensors, folder / "dump", metadata)
    return folder / "dump"


def certify(inspect, case, expected, backends):
    """{backend: report} of a case."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        dump, reports = dump_case(case, expected, folder), {}
        for backend in backends:
            run = subprocess.run([inspect, "certify", MODELS / case.name / expected["file"], "--reference", dump,
                                  "--backend", backend, "--json", folder / "report"], capture_output=True, text=True)
            if run.returncode not in (0, 5):
                sys.exit(f"error: {case.name}: {run.stderr.strip()}")
            reports[backend] = json.loads((folder / "report").read_text())
        return reports


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inspect", help="the program")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--backend", action="append", help="default: reference and cpu")
    arguments = parser.parse_args()
    worst = collections.defaultdict(lambda: (0, ""))
    cases, failures = [case for case in all_cases() if arguments.only in case.name], 0
    for case in cases:
        expected = json.loads((MODELS / case.name / "expected.json").read_text())
        for backend, report in certify(arguments.inspect, case, expected, arguments.backend or ["reference", "cpu"]).items():
            if not report["certified"]:
                failures += 1
                print(f"error: {case.name} on {backend}: {report.get('first', report['greedy'])}", file=sys.stderr)
            for d in report["intermediates"]:
                key = (backend, expected["weights"], d["name"].split(".")[-1])
                worst[key] = max(worst[key], (d["largest"], f"{case.name} {d['name']}"))
    for (backend, weights, tap), (far, where) in sorted(worst.items()):
        print(f"{backend:10} {weights:6} {tap:15} {far:.1e}  {where}")
    if failures:
        sys.exit(1)
    print(f"{len(cases)} goldens certified")


if __name__ == "__main__":
    main()
