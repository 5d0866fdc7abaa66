#!/usr/bin/env python3
"""Draws random valid configurations of a family, has transformers build, save and run them, and compares `inspect`.

Needs the environment of tools/oracle_env.sh. What is drawn: odd sizes, numbers of heads, windows shorter than the
prompt, ties, biases, kinds of rope, numbers of experts, the spelling of transformers 4 or 5, names of tensors as in
older files or as transformers saves them, the format of the weights, the chunk of the prompt. A draw that float32
rounding hurts is drawn again. Failures name the seed that draws the same model again; exit status 1 if there is one.

  random_configs.py INSPECT [--family NAME] [--count N] [--seed N] [--backend reference,cpu] [--keep DIR]
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import golden_oracle as oracle  # before anything that computes with torch
import numpy as np
import transformers
from golden_cases import FOLDERS
from golden_cases.case import STORED_AS, changed, v5
from golden_weights import DTYPES, draw, laid_out, write_config, write_tensors

BOUNDS = {"reference": 2e-5, "cpu": 1e-4, "opencl": 1e-4}  # of the largest logit
SECONDS = 60  # for one run of inspect
DRAWS = 40  # until one is not hurt by rounding

FLAG = (False, True)
# Entries of config.json that are drawn by themselves, with the values to draw from.
ENTRIES = {
    "llama": {"attention_bias": FLAG, "mlp_bias": FLAG},
    "qwen3": {"attention_bias": FLAG},
    "qwen3_moe": {"attention_bias": FLAG, "norm_topk_prob": FLAG, "decoder_sparse_step": (1, 1, 2)},
    "gemma": {"attention_bias": FLAG, "hidden_act": ("gelu", "gelu_pytorch_tanh")},
    "gemma2": {"attention_bias": FLAG, "query_pre_attn_scalar": (1, 5, 12, 33),
               "attn_logit_softcapping": (None, 0.7, 2.0, 50.0), "final_logit_softcapping": (None, 1.0, 5.0, 30.0)},
    "gemma3_text": {"attention_bias": FLAG, "query_pre_attn_scalar": (1, 5, 12, 33),
                    "final_logit_softcapping": (None, 1.0, 5.0), "sliding_window_pattern": (1, 2, 3, 6),
                    "rope_local_base_freq": (50.0, 10000.0)},
    "phi": {"qk_layernorm": FLAG},
    "falcon": {"bias": FLAG, "alibi": (False, False, True), "parallel_attn": FLAG},
    "stablelm": {"qk_layernorm": FLAG, "use_parallel_residual": FLAG, "use_qkv_bias": FLAG},
    "smollm3": {"attention_bias": FLAG, "mlp_bias": FLAG, "no_rope_layer_interval": (1, 2, 3, 4)},
    "olmo2": {"attention_bias": FLAG},
    "granite": {"attention_bias": FLAG, "mlp_bias": FLAG, "attention_multiplier": (0.1, 0.35, 1),
                "embedding_multiplier": (0.7, 3, 9.5), "residual_multiplier": (0.22, 0.8, 1.0),
                "logits_scaling": (0.5, 3.3, 8)}}
FREE_HEAD_DIM = ("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text")
DERIVES_HEAD_DIM = ("llama", "mistral", "mixtral", "qwen2")  # of those, what may leave the entry out
DIVISIBLE_HIDDEN = ("llama", "gemma2", "gemma3_text")  # transformers wants hidden_size to be a multiple of the heads
LAYER_NORM_EPS = {"phi": "layer_norm_eps", "stablelm": "layer_norm_eps", "falcon": "layer_norm_epsilon"}
KINDS = {"phi3": ("default", "longrope"), "gemma3_text": ("default", "linear", "yarn")}
ALL_KINDS = ("default", "default", "linear", "dynamic", "yarn", "llama3")
PER_EXPERT = {"mixtral": "block_sparse_moe", "qwen3_moe": "experts"}

MAKERS = {module.__name__.rsplit(".", 1)[-1]: module for module in FOLDERS}
FAMILIES = tuple("gemma3_text" if name == "gemma3" else name for name in MAKERS)


# ---- drawing --------------------------------------------------------------------------------------------------------


def sizes(rng, family):
    """Sizes, all of which fit each other."""
    kv_heads, head_dim = rng.randint(1, 4), 2 * rng.randint(2, 10)
    heads = kv_heads * rng.randint(1, 4)
    hidden = heads * head_dim
    if family in DIVISIBLE_HIDDEN:
        hidden = heads * rng.randint(2, 12)
    elif family in FREE_HEAD_DIM and rng.random() < 0.7:
        hidden = rng.randint(9, 90)
    out = {"hidden_size": hidden, "num_attention_heads": heads, "num_hidden_layers": rng.randint(1, 4),
           "vocab_size": rng.randint(20, 150), "tie_word_embeddings": rng.choice(FLAG),
           LAYER_NORM_EPS.get(family, "rms_norm_eps"): rng.choice((1e-6, 1e-5, 1e-3)),
           "torch_dtype": rng.choice(tuple(STORED_AS))}
    if family == "falcon":
        out["ffn_hidden_size"] = rng.choice((..., rng.randint(5, 120)))
    else:
        out |= {"intermediate_size": rng.randint(5, 120), "num_key_value_heads": kv_heads,
                "max_position_embeddings": rng.choice((16, 128, 4096))}
    if family in FREE_HEAD_DIM and (hidden != heads * head_dim or family not in DERIVES_HEAD_DIM):
        out["head_dim"] = head_dim
    return out, kv_heads, head_dim


def rope(rng, kind, rotary_dim, theta):
    """A rope_scaling of a kind, without its label."""
    if kind in ("linear", "dynamic"):
        return {"factor": rng.choice((1.5, 2.0, 8.0))}
    original = {"original_max_position_embeddings": rng.choice((16, 64, 512))}
    if kind == "llama3":
        return {"factor": rng.choice((4.0, 32.0)), "low_freq_factor": 1.0, "high_freq_factor": 4.0} | original
    if kind == "longrope":
        pairs = rotary_dim // 2
        return {"long_factor": [round(rng.uniform(1, 30), 3) for _ in range(pairs)],
                "short_factor": [round(rng.uniform(1, 3), 3) for _ in range(pairs)]} | original
    more = rng.choice(({}, {"attention_factor": 1.3}, {"beta_fast": 8.0, "beta_slow": 2.0},
                       {"mscale": 0.8, "mscale_all_dim": 1.3}, {"truncate": False}))
    return {"factor": rng.choice((2.0, 8.0))} | more | original


def windows(rng, family, layers, ids):
    """Entries about sliding windows, shorter than the prompt or about as long."""
    window = rng.randint(1, ids + 2)
    if family in ("mistral", "mixtral", "phi3"):
        return {"sliding_window": rng.choice((None, window))}
    if family in ("gemma2", "gemma3_text"):
        return {"sliding_window": window}
    switch = {"use_sliding_window": rng.choice(FLAG), "sliding_window": window}
    if family in ("qwen2", "qwen3", "qwen3_moe"):
        return switch | {"max_window_layers": rng.randint(0, layers)}
    return switch if family == "smollm3" else {}


def special(rng, family, layers, heads, kv_heads):
    """Entries that only one family has and that depend on each other."""
    if family in PER_EXPERT:
        experts = rng.randint(1, 9)
        out = {"mixtral": "num_local_experts", "qwen3_moe": "num_experts"}[family]
        out = {out: experts, "num_experts_per_tok": rng.randint(1, experts)}
        if family == "qwen3_moe":
            out |= {"moe_intermediate_size": rng.randint(3, 40),
                    "mlp_only_layers": sorted(rng.sample(range(layers), rng.randint(0, layers)))}
        return out
    if family == "smollm3" and rng.random() < 0.5:
        return {"no_rope_layers": [rng.randint(0, 1) for _ in range(layers)]}
    if family == "falcon":
        kind = rng.choice(("7b", "per head", "groups"))
        if kind == "groups":
            return {"new_decoder_architecture": True, "parallel_attn": True, "num_kv_heads": kv_heads,
                    "num_ln_in_parallel_attn": rng.choice((..., 1, 2))}
        return {"multi_query": kind == "7b", "num_kv_heads": heads}
    return {}


def configuration(rng, family, ids):
    """A valid config.json, as transformers 4 or 5 writes it."""
    module = MAKERS["gemma3" if family == "gemma3_text" else family]
    make = getattr(module, "gemma3" if family == "gemma3_text" else family)
    found, kv_heads, head_dim = sizes(rng, family)
    layers, heads = found["num_hidden_layers"], found["num_attention_heads"]
    found |= {entry: rng.choice(values) for entry, values in ENTRIES.get(family, {}).items()}
    found |= windows(rng, family, layers, ids) | special(rng, family, layers, heads, kv_heads)
    rotary_dim, theta = head_dim, rng.choice((100.0, 10000.0, 1000000.0))
    partial = {}
    if family in ("phi", "phi3", "stablelm"):
        rotary_dim = 2 * rng.randint(2, head_dim // 2)  # whole pairs, which is all that transformers can rotate
        partial = {"partial_rotary_factor": (rotary_dim + 0.5) / head_dim if rotary_dim < head_dim else 1.0}
    kind = rng.choice(KINDS.get(family, ALL_KINDS))
    scaling = {} if kind == "default" or found.get("alibi") else rope(rng, kind, rotary_dim, theta)
    if family == "mixtral" and kind in ("dynamic", "yarn"):  # transformers does not derive it for these kinds
        found["head_dim"] = head_dim
    if family == "phi3" and scaling:  # the top level's original length is the one that counts
        found["original_max_position_embeddings"] = scaling["original_max_position_embeddings"]
    if family == "gemma3_text" or rng.random() < 0.5:
        label = rng.choice(("type", "rope_type"))
        return changed(make(**found, **partial, rope_theta=theta), {"rope_scaling": {label: kind} | scaling
                                                                   if scaling else None})
    config = v5(make(**found, **dict.fromkeys(partial, ...)), rope_theta=theta, **partial,
                **({"rope_type": kind} | scaling if scaling else {}))
    return config | {"dtype": found["torch_dtype"]}


def build(family, seed, folder):
    """Writes a random model; its ids, transformers' logits of them and a chunk, or None if rounding hurts it."""
    rng = random.Random(seed)
    ids = rng.randint(5, 40)
    config = configuration(rng, family, ids)
    ids = [rng.randrange(config["vocab_size"]) for _ in range(ids)]
    dtype = DTYPES[STORED_AS[config.get("torch_dtype", config.get("dtype"))]]
    write_config(folder, config)
    layout = rng.choice(("", PER_EXPERT.get(family, "")))
    write_tensors(folder, laid_out(layout, draw(family, folder, np.random.default_rng(seed))), dtype)
    if rng.random() < 0.5:
        resave(folder, dtype)
    model = oracle.load(folder)
    with oracle.router_gaps(model) as gaps:
        logits = oracle.logits_of(model, ids)
    if min(gaps, default=1.0) < oracle.SMALLEST_ROUTER_GAP:
        return None
    if oracle.rounding(model, ids, logits) > oracle.ROUNDING:
        return None
    return ids, logits.numpy(), rng.choice((1, 3, 7, 64))


def resave(folder, dtype):
    """Has transformers write a folder anew, in its own spelling."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    shutil.rmtree(folder)
    model.save_pretrained(folder)


# ---- comparing ------------------------------------------------------------------------------------------------------


def difference(program, folder, ids, logits, backend, chunk):
    """The largest difference of inspect's logits, of the largest one, or what it says instead."""
    out = folder.parent / "logits.bin"
    out.unlink(missing_ok=True)
    command = [program, "logits", folder, "--ids", ",".join(map(str, ids)), "--out", out]
    run = subprocess.run([*command, "--backend", backend, "--chunk", str(chunk)], capture_output=True, text=True,
                         timeout=SECONDS)
    if run.returncode != 0:
        return run.stderr.strip().splitlines()[-1] if run.stderr.strip() else f"exit status {run.returncode}"
    found = np.fromfile(out, "<f4").reshape(-1, logits.shape[1])
    if found.shape != logits.shape:
        return f"logits of {found.shape[0]} ids, not of {len(ids)}"
    return float(np.abs(found - logits).max() / np.abs(logits).max())


def check(program, family, seed, backends, keep):
    """Failures of one random model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "model"
        for again in range(DRAWS):
            shutil.rmtree(folder, ignore_errors=True)
            if (built := build(family, seed + again * 1_000_000, folder)) is not None:
                break
        else:
            sys.exit(f"error: {family}, seed {seed}: rounding hurts every draw")
        ids, logits, chunk = built
        failures = []
        for backend in backends:
            found = difference(program, folder, ids, logits, backend, chunk)
            if isinstance(found, str) or not found <= BOUNDS[backend]:
                said = found if isinstance(found, str) else f"{found:.1e} of the largest logit"
                failures.append(f"{family}, seed {seed}, {backend}, chunk {chunk}: {said}")
        if failures and keep:
            kept = keep / f"{family}_{seed}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            logits.astype("<f4").tofile(kept / "logits.bin")
            (kept / "ids.json").write_text(json.dumps(ids) + "\n")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, metavar="INSPECT", help="the program inspect")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="default: every family")
    parser.add_argument("--count", type=int, default=10, help="models of each family, default 10")
    parser.add_argument("--seed", type=int, default=0, help="of a family's first model, default 0")
    parser.add_argument("--backend", default="reference,cpu", help="default: reference,cpu")
    parser.add_argument("--keep", type=pathlib.Path, help="copy failing models into this folder")
    arguments = parser.parse_args()
    backends = arguments.backend.split(",")
    if unknown := [backend for backend in backends if backend not in BOUNDS]:
        parser.error(f"no such backend: {unknown[0]}")
    failures = []
    for family in arguments.family or FAMILIES:
        found = []
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            found += check(arguments.program, family, seed, backends, arguments.keep)
        print(f"{family}: {arguments.count} random models, {len(found)} failures", flush=True)
        for failure in found:
            print("error:", failure, file=sys.stderr, flush=True)
        failures += found
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
