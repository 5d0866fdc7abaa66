#!/usr/bin/env python3
"""Prompt and decode speed against llama-cpp-python on the same file: interleaved rounds, medians, ratios.

Usage: compare_llama_cpp.py BENCH_GENERATE MODEL.gguf [--peer PYTHON] [--threads N] [--rounds N] [--pp N] [--tg N]
PEER is the Python of an environment with llama-cpp-python: tools/oracle_env.sh --peer prints one.
"""
import argparse
import json
import statistics
import subprocess

PEER_PROGRAM = r"""
import ctypes, json, sys, time
import llama_cpp as L
model_path, threads, pp, tg = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
L.llama_backend_init()
mp = L.llama_model_default_params(); mp.n_gpu_layers = 0
model = L.llama_model_load_from_file(model_path.encode(), mp)
cp = L.llama_context_default_params()
cp.n_ctx, cp.n_batch, cp.n_ubatch, cp.n_threads, cp.n_threads_batch = max(pp, tg) + 8, 2048, 512, threads, threads
context = L.llama_init_from_model(model, cp)
vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
state, ids = 1, []
for _ in range(max(pp, tg)):
    state = (state * 1664525 + 1013904223) % 2**32
    ids.append(state % vocab)
def run(n, step):
    L.llama_memory_clear(L.llama_get_memory(context), True)
    begin = time.perf_counter()
    for i in range(0, n, step):
        part = (ctypes.c_int32 * min(step, n - i))(*ids[i:i + step])
        L.llama_decode(context, L.llama_batch_get_one(part, len(part)))
        L.llama_synchronize(context)
    return n / (time.perf_counter() - begin)
run(pp, pp); run(4, 1)
print(json.dumps({"pp": run(pp, pp), "tg": run(tg, 1), "system": L.llama_print_system_info().decode()}))
"""


def last_json(command):
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("model")
    parser.add_argument("--peer", default="python3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pp", type=int, default=512)
    parser.add_argument("--tg", type=int, default=128)
    a = parser.parse_args()
    sizes = [str(a.threads), str(a.pp), str(a.tg)]
    ours, theirs = [], []
    for i in range(a.rounds):
        ours.append(last_json([a.bench, a.model, *sizes]))
        theirs.append(last_json([a.peer, "-c", PEER_PROGRAM, a.model, *sizes]))
        print(f"round {i + 1}: tmodel {ours[-1]}, llama.cpp pp {theirs[-1]['pp']:.1f} tg {theirs[-1]['tg']:.1f}", flush=True)
    print("llama.cpp:", theirs[0]["system"])
    for what in ("pp", "tg"):
        ratios = [o[what] / t[what] for o, t in zip(ours, theirs)]
        print(f"{what}: tmodel {statistics.median(o[what] for o in ours):.1f} tok/s, llama.cpp {statistics.median(t[what] for t in theirs):.1f} tok/s, "
              f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"decode reads {statistics.median(o['decode_gb_per_s'] for o in ours):.1f} GB/s of {statistics.median(o['read_gb_per_s'] for o in ours):.1f} GB/s")


if __name__ == "__main__":
    main()
