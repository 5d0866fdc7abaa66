#!/usr/bin/env python3
"""Makes tests/goldens/models: tiny random models in every configuration branch, with transformers' logits and ids.

Needs the environment of tools/oracle_env.sh. Facts about GGUF names, keys, row order and formats: the GGUF
specification and its converter's conventions; block layouts: the `gguf` package, whose numpy code is the reference.

A folder per case: config.json and safetensors as users' files look, or one GGUF file (two if split), and
  expected.json  family, file, ids (prompt), greedy (the 64 ids that follow, or null), rope_length, weights, note, seed;
                 start_position where the first id does not stand at 0
  logits.bin     little-endian f32 [len(ids), vocab], a float32 run of transformers
A case is drawn again until no choice on the greedy path is close, no router's choice is close, and float32 rounding
hardly moves the logits.

  make_goldens.py [--out DIR] [--only TEXT]   write all cases, or those whose name contains TEXT
  make_goldens.py --check [--only TEXT]       make them again elsewhere and compare with the committed ones
"""

import argparse
import json
import math
import pathlib
import shutil
import sys
import tempfile
import zlib

import golden_oracle as oracle  # before anything that computes with torch
import numpy as np
import torch
from golden_cases import all_cases
from golden_gguf import write_gguf
from golden_weights import DTYPES, draw, laid_out, write_config, write_tensors

SEEDS = 200


def add_extra(case, weights):
    """Puts the tensor into the weights that a case's folder holds besides the model's own."""
    embedding = next(value for name, value in weights.items() if "embed" in name)
    if case.extra == "lm_head.weight":
        weights[case.extra] = embedding
    elif case.extra == "another lm_head.weight":
        weights["lm_head.weight"] = np.roll(embedding, 1, axis=0)
    elif case.extra:
        weights[case.extra] = np.ones(case.head_dim // 2, np.float32)


def write_model(case, folder, seed):
    """Writes a case's files; its ids, the file to open, and the folder that transformers shall open."""
    rng = np.random.default_rng(seed)
    write_config(folder, case.config)
    weights = draw(case.family, folder, rng)
    vocabulary = case.config.get("text_config", case.config)["vocab_size"]
    ids = [int(i) for i in rng.integers(0, vocabulary, case.prompt)]
    if case.gguf is None:
        add_extra(case, weights)
        stored = laid_out(case.layout, weights)
        write_tensors(folder, stored, DTYPES[case.weights], case.shards)
        return ids, ".", folder
    as_folder = folder / "as_folder"
    (folder / "config.json").unlink()
    write_config(as_folder, case.config)
    write_tensors(as_folder, write_gguf(case, folder, weights, rng), torch.float32)
    return ids, "model.gguf" if not case.split else sorted(p.name for p in folder.glob("*.gguf"))[0], as_folder


def unfit(case, model, ids, logits, gaps):
    """Why a model would be a bad golden, or None; `gaps` of its routers."""
    noise = oracle.rounding(model, ids, logits, case.start)
    if noise > oracle.ROUNDING:
        return f"rounding {noise:.1e}"
    if min(gaps, default=math.inf) < oracle.SMALLEST_ROUTER_GAP:
        return f"router gap {min(gaps):.1e}"
    idle = oracle.idle_tensors(model, ids, logits, case.start)
    if surprising := [name for name in idle if not (case.idle and name.endswith(case.idle))]:
        print(f"{case.name}: hardly matter: {', '.join(surprising)}", file=sys.stderr)
    return None


def attempt(case, folder, seed, judge=True, greedy=None):
    """Makes a case from a seed; the reason why it will not do, or None. Without `judge` it has been found fit before,
    with `greedy` as its path."""
    ids, file, oracle_folder = write_model(case, folder, seed)
    model = oracle.load(oracle_folder)
    if case.gguf is not None:
        shutil.rmtree(oracle_folder)
    with oracle.router_gaps(model) as gaps:
        plain = logits = oracle.logits_of(model, ids, case.start)
        if case.start:
            oracle.compute_angles_exactly(model)
            logits = oracle.logits_of(model, ids, case.start)
        gap = math.inf
        if not case.greedy:
            greedy = None
        elif not (greedy and oracle.follows(model, ids, greedy)):
            greedy, gap = oracle.greedy_path(model, ids)
    if gap < oracle.SMALLEST_GAP:
        return f"gap {gap:.1e}"
    if greedy and len(set(greedy)) < oracle.DISTINCT:
        return "repeats itself"
    if judge and (why_not := unfit(case, model, ids, logits, gaps)):
        return why_not
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors keeps its files to their owner
    logits.numpy().astype("<f4").tofile(folder / "logits.bin")
    write_expected(case, folder, {"file": file, "vocab": logits.shape[1], "seed": seed, "ids": ids, "greedy": greedy})
    if judge:
        far = f", {oracle.relative(plain, logits):.1e} from float32 angles" if case.start else ""
        print(f"{case.name}: seed {seed}, gap {gap:.1e}{far}", file=sys.stderr)
    return None


def write_expected(case, folder, found):
    expected = {"family": case.family, "file": found["file"], "weights": case.weights, "vocab": found["vocab"],
                "rope_length": case.rope_length, "note": case.note, "seed": found["seed"], "logits": "logits.bin",
                "ids": found["ids"], "greedy": found["greedy"]}
    if case.start:
        expected["start_position"] = case.start
    lines = ",\n".join(f'  "{key}": {json.dumps(value)}' for key, value in expected.items())
    (folder / "expected.json").write_text("{\n" + lines + "\n}\n")


def make(case, out):
    first = zlib.crc32(case.name.encode())
    for seed in range(first, first + SEEDS):
        shutil.rmtree(out / case.name, ignore_errors=True)
        why_not = attempt(case, out / case.name, seed)
        if why_not is None:
            return
    sys.exit(f"error: {case.name}: no seed of {SEEDS} will do, the last one because of: {why_not}")


# ---- commands ------------------------------------------------------------------------------------------------------


def differences(old, new):
    """What differs between a committed case and the same made again."""
    names = sorted({p.name for p in old.iterdir()} | {p.name for p in new.iterdir()})
    for name in names:
        if not (old / name).is_file() or not (new / name).is_file():
            yield f"{name} is in one of them only"
        elif name == "logits.bin":
            a, b = (np.fromfile(d / name, "<f4").astype(np.float64) for d in (old, new))
            if a.shape != b.shape or not np.abs(a - b).max() <= 1e-6 * np.abs(a).max():
                yield "logits differ"
        elif (old / name).read_bytes() != (new / name).read_bytes():
            yield f"{name} differs"


def check(cases, committed):
    failures = []
    with tempfile.TemporaryDirectory() as temporary:
        for case in cases:
            if not (committed / case.name / "expected.json").is_file():
                failures.append(f"{case.name}: not there")
                continue
            expected = json.loads((committed / case.name / "expected.json").read_text())
            again = pathlib.Path(temporary) / case.name
            why_not = attempt(case, again, expected["seed"], judge=False, greedy=expected["greedy"])
            found = differences(committed / case.name, again) if why_not is None else ["its seed gives: " + why_not]
            failures += [f"{case.name}: {d}" for d in found]
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "models"
    parser.add_argument("--out", type=pathlib.Path, default=default, help="default: tests/goldens/models")
    parser.add_argument("--check", action="store_true", help="make again and compare with what is in --out")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    arguments = parser.parse_args()
    cases = [case for case in all_cases() if arguments.only in case.name]
    if not cases:
        sys.exit(f"error: no case's name contains {arguments.only}")
    if not arguments.check:
        for case in cases:
            make(case, arguments.out)
        print(f"{len(cases)} goldens made in {arguments.out}")
        return
    failures = check(cases, arguments.out)
    if not arguments.only:
        known = {case.name for case in cases}
        failures += [f"{p.name}: no such case" for p in arguments.out.iterdir() if p.name not in known]
    for failure in failures:
        print("error:", failure, file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"{len(cases)} goldens made again: the same")


if __name__ == "__main__":
    main()
