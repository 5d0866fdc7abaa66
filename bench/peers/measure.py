#!/usr/bin/env python3
"""Measures the rows of rows.py in interleaved rounds and writes results.json, table.md and roofline.svg.

Called by bench/peers/run, which builds what it needs; only Python's standard library is used here. Our program runs anew in
each turn and measures the read bandwidth of its own minute; llama.cpp stays loaded in a process of its own.
"""
import argparse
import itertools
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import report
import rows

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The number changes when random_model writes other bytes.
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tmodel" / "random" / "1"
ORDER = [row.name for row in rows.ROWS]
QUIET = 0.1  # seconds between turns: idle threads of either side spin for some milliseconds


class Tmodel:
    def __init__(self, build, threads):
        self.program, self.threads = build / "bench" / "bench_generate", threads

    def measure(self, model, row, sessions=1):
        prompt, decode = (row.tokens, 0) if row.kind == "prompt" else (0, row.tokens)
        command = [self.program, model, "-p", prompt, "-n", decode, "-d", row.depth, "-t", self.threads, "-r", 1,
                   "--sessions", sessions, "--json"]
        figures = json.loads(subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True).stdout)
        figures["rate"] = (figures["pp"] or figures["tg"])[0]
        return figures


class LlamaCpp:
    """One process with one model."""

    def __init__(self, python, model, threads, log):
        self.log = log
        self.process = subprocess.Popen([python, HERE / "llama_cpp_side.py", model, str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(log, "w"), text=True)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"error: llama.cpp's side ended; what it said is in {self.log}")
        return json.loads(line)

    def measure(self, row, flash):
        ask = {"kind": row.kind, "tokens": row.tokens, "depth": row.depth, "flash": flash}
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        return self.answer()["rate"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def model_file(build, shape, format):
    if shape == rows.REAL:
        out = subprocess.run([ROOT / "tools" / "fetch_smollm2.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return pathlib.Path(out.strip().splitlines()[-1])
    path = CACHE / f"{shape}-{format}.gguf"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")  # never a file that was cut short under the final name
        subprocess.run([build / "bench" / "random_model", shape, format, part], check=True)
        part.rename(path)
    with open(path, "rb") as file:  # into the page cache
        while file.read(1 << 24):
            pass
    return path


def measure_alone(ours, model, row, rounds):
    """Decoding together against decoding one session: rates of both."""
    result = {"ours": [], "theirs": [], "bandwidth": []}
    for _ in range(rounds):
        figures = ours.measure(model, row, row.sessions)
        result["ours"].append(figures["rate"])
        result["theirs"].append(ours.measure(model, row)["rate"])
        result["bandwidth"].append(figures["bandwidth"])
    return result | {"figures": figures}


def measure_pair(ours, theirs, model, row, rounds, say):
    """Interleaved rounds; llama.cpp with or without flash attention, whichever was faster in two trials of each."""
    trials = {"off": [], "on": []}
    for _ in range(2):
        for name in trials:
            trials[name].append(theirs.measure(row, name == "on"))
    flash = max(trials["on"]) > max(trials["off"])
    result = {"flash": flash, "flash_trials": trials, "ours": [], "theirs": [], "bandwidth": []}
    for i in range(rounds):
        time.sleep(QUIET)
        figures = ours.measure(model, row)
        time.sleep(QUIET)
        rate = theirs.measure(row, flash)
        result["ours"].append(figures["rate"])
        result["theirs"].append(rate)
        result["bandwidth"].append(figures["bandwidth"])
        say(f"  round {i + 1}: {figures['rate']:.1f} and {rate:.1f} tok/s, {figures['rate'] / rate:.2f}; "
            f"read bandwidth {figures['bandwidth']:.1f} GB/s")
    return result | {"figures": figures}


def first_line(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    field = lambda name: (re.search(rf"^{name}\s*: (.*)$", text, re.M) or [None, "unknown"])[1]
    flags = set((field("flags") + " " + field("Features")).split())
    matter = ["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "asimddp",
              "i8mm", "sve"]
    return {"cpu": field("model name") if text else platform.processor(), "family": field("cpu family"), "model": field("model"),
            "stepping": field("stepping"), "flags": [f for f in matter if f in flags], "processors": os.cpu_count(),
            "kernel": platform.release(), "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d %H:%M %Z")}


def build_facts(build):
    cache = (build / "CMakeCache.txt").read_text()
    value = lambda name: (re.search(rf"^{name}:\w+=(.*)$", cache, re.M) or [None, ""])[1]
    return {"commit": first_line("git", "-C", ROOT, "describe", "--always", "--dirty"), "compiler": first_line(value("CMAKE_CXX_COMPILER"), "--version"),
            "flags": f"{value('CMAKE_CXX_FLAGS_RELEASE')} for {value('TMODEL_ARCH')}"}


def resume(out, results):
    """The names of rows that a run of the same build on the same machine has measured in this folder; they become results."""
    path = out / "results.json"
    if not path.exists():
        return set()
    old = json.loads(path.read_text())
    facts = lambda r: ([r["machine"][k] for k in ("cpu", "family", "model", "flags")], [r["tmodel"][k] for k in ("commit", "compiler", "flags")],
                       r["threads"], r["rounds"])
    if facts(old) != facts(results):
        raise SystemExit(f"error: {path} is of another machine, commit, build, or number of threads or rounds: measure without --resume")
    results.update(old)
    return {r["name"] for r in old["rows"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--rows", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--delete-models", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=pathlib.Path)
    a = parser.parse_args()
    out = a.out or a.build / "results"
    out.mkdir(parents=True, exist_ok=True)
    rounds = a.rounds or (3 if a.quick else 7)
    try:
        wanted = rows.chosen([p for pattern in a.rows for p in pattern.split(",")], a.quick)
    except ValueError as error:
        parser.error(str(error))

    results = {"machine": machine(), "tmodel": build_facts(a.build), "threads": a.threads, "rounds": rounds, "rows": []}
    if a.resume:
        done = resume(out, results)
        wanted = [r for r in wanted if r.name not in done]
    ours = Tmodel(a.build, a.threads)
    say = lambda text: print(text, flush=True)
    for (shape, format), of_file in itertools.groupby(wanted, lambda r: (r.shape, r.format)):
        model = model_file(a.build, shape, format)
        theirs = LlamaCpp(a.peer, model, a.threads, out / "llama_cpp.log")
        results["llama.cpp"] = theirs.about
        for row in of_file:
            say(row.name)
            measured = (measure_alone(ours, model, row, rounds) if row.kind == "sessions" else
                        measure_pair(ours, theirs, model, row, rounds, say))
            figures = measured.pop("figures")
            results["tmodel"]["isa"], results["multiply_adds"] = figures["isa"], max(figures["multiply_adds"], results.get("multiply_adds", 0))
            part = "prompt_" if row.kind == "prompt" else ""
            results["rows"].append({"name": row.name, "kind": row.kind, "shape": row.shape, "format": row.format, "target": row.target,
                                    "bytes_per_token": figures[part + "bytes_per_token"],
                                    "ops_per_token": figures[part + "ops_per_token"], **measured})
            results["rows"].sort(key=lambda r: ORDER.index(r["name"]))
            report.write(results, out)  # after each row: what was measured stays if the rest is broken off
        theirs.close()
        if a.delete_models and shape != rows.REAL:
            model.unlink()
    say((out / "table.md").read_text())
    say(f"written: {out}/results.json, table.md, roofline.svg")


if __name__ == "__main__":
    sys.exit(main())
