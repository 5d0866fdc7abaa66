#!/usr/bin/env python3
"""llama.cpp's side of the comparison: loads a model once and measures on demand, as llama-bench does.

Usage: llama_cpp_side.py MODEL THREADS, in the environment of tools/oracle_env.sh --peer. Each line of stdin is a JSON object
{"kind": "prompt" or "decode", "tokens": N, "depth": D, "flash": bool}; each line of stdout is {"rate": tokens per second}.
The first line of stdout says what this is. The cache is f16; weights are repacked as llama.cpp chooses.
"""
import ctypes
import json
import sys
import time

import llama_cpp as L

BATCH, CHUNK = 2048, 512  # llama-bench's own


class Workload:
    """A context that holds `depth` tokens and takes `tokens` more, `step` at once."""

    def __init__(self, model, threads, kind, tokens, depth, flash):
        p = L.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch = depth + tokens, BATCH, CHUNK
        p.n_threads = p.n_threads_batch = threads
        p.flash_attn_type = 1 if flash else 0
        self.context = L.llama_init_from_model(model, p)
        if not self.context:
            raise RuntimeError("llama.cpp made no context")
        self.memory = L.llama_get_memory(self.context)
        self.tokens, self.depth = tokens, depth
        self.step = BATCH if kind == "prompt" else 1
        vocabulary = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
        state, self.ids = 1, []
        for _ in range(depth + tokens):
            state = (state * 1664525 + 1013904223) % 2**32
            self.ids.append(state % vocabulary)
        self.append(self.ids[:depth], BATCH)
        self.run(min(tokens, CHUNK if kind == "prompt" else 8))  # warm-up

    def append(self, ids, step):
        for i in range(0, len(ids), step):
            part = (ctypes.c_int32 * len(ids[i:i + step]))(*ids[i:i + step])
            if L.llama_decode(self.context, L.llama_batch_get_one(part, len(part))) != 0:
                raise RuntimeError("llama_decode failed")
            L.llama_synchronize(self.context)

    def run(self, tokens):
        if not L.llama_memory_seq_rm(self.memory, 0, self.depth, -1):
            raise RuntimeError("llama.cpp cannot go back in this model's cache")
        ids = self.ids[self.depth:self.depth + tokens]
        begin = time.perf_counter()
        self.append(ids, self.step)
        return tokens / (time.perf_counter() - begin)


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    L.llama_backend_init()
    params = L.llama_model_default_params()
    params.n_gpu_layers = 0
    model = L.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise RuntimeError(f"llama.cpp does not open {path}")
    print(json.dumps({"version": "llama-cpp-python " + L.__version__, "system": L.llama_print_system_info().decode().strip()}),
          flush=True)
    workloads = {}
    for line in sys.stdin:
        a = json.loads(line)
        key = (a["kind"], a["tokens"], a["depth"], a["flash"])
        if key not in workloads:
            workloads[key] = Workload(model, threads, *key)
        print(json.dumps({"rate": workloads[key].run(a["tokens"])}), flush=True)


if __name__ == "__main__":
    main()
