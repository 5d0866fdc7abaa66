#!/usr/bin/env python3
"""Makes tests/goldens/models: tiny random models in every configuration branch, with transformers' logits and ids.

Needs the environment of tools/oracle_env.sh. Facts about GGUF names, keys, row order and formats: the GGUF
specification and its converter's conventions; block layouts: the `gguf` package, whose numpy code is the reference.

A folder per case: config.json and safetensors as users' files look, or one GGUF file (two if split), and
  expected.json  family, file, ids (prompt), greedy (the 64 ids that follow, or null), rope_length, weights, note, seed
  logits.bin     little-endian f32 [len(ids), vocab], a float32 run with eager attention
A case is drawn again until no choice on the greedy path is close and float32 rounding hardly moves the logits.

  make_goldens.py [--out DIR] [--only TEXT]   write all cases, or those whose name contains TEXT
  make_goldens.py --check [--only TEXT]       make them again elsewhere and compare with the committed ones
"""

import os

# The committed logits must come out again on another machine: no kernel may depend on the processor's model.
os.environ.update(MKL_CBWR="COMPATIBLE", ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1",
                  TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")

import argparse
import json
import math
import pathlib
import shutil
import sys
import tempfile
import zlib

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file

from golden_cases import all_cases

GREEDY = 64
SMALLEST_GAP = 1e-3  # between the two best logits, of the largest logit
ROUNDING = 2.5e-6  # float32 against float64, of the largest logit
DISTINCT = 5  # different ids that a greedy path must have at least
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# What llama.cpp's quantiser takes for rows that are no multiple of 256.
FALLBACK = {Type.Q2_K: Type.IQ4_NL, Type.Q3_K: Type.IQ4_NL, Type.IQ4_XS: Type.IQ4_NL, Type.Q4_K: Type.Q5_0,
            Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}
# Formats without a numpy quantiser: where a block keeps d and dmin, dmin/d that centres the values, d of either sign.
RANDOM_BLOCKS = {Type.Q2_K: (80, 82, 1.5, False), Type.Q3_K: (108, None, 0, True), Type.Q4_K: (0, 2, 7.5, False),
                 Type.Q5_K: (0, 2, 15.5, False), Type.Q6_K: (208, None, 0, True), Type.IQ4_NL: (0, None, 0, True),
                 Type.IQ4_XS: (0, None, 0, True)}


# ---- weights -------------------------------------------------------------------------------------------------------


def shapes(case):
    """Tensor names of transformers and their shapes, [out, in] for matrices."""
    c, d = case.config, case.head_dim
    e, f, h, k = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], case.kv_heads
    qkv_bias = case.family == "qwen2" or case.get("attention_bias", False)
    o_bias = case.family == "llama" and case.get("attention_bias", False)
    out = {"model.embed_tokens.weight": (c["vocab_size"], e)}
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        out[p + "input_layernorm.weight"] = (e,)
        for name, rows in (("q", h * d), ("k", k * d), ("v", k * d)):
            out[f"{p}self_attn.{name}_proj.weight"] = (rows, e)
            if qkv_bias:
                out[f"{p}self_attn.{name}_proj.bias"] = (rows,)
        out[p + "self_attn.o_proj.weight"] = (e, h * d)
        if o_bias:
            out[p + "self_attn.o_proj.bias"] = (e,)
        out[p + "post_attention_layernorm.weight"] = (e,)
        for name, shape in (("gate", (f, e)), ("up", (f, e)), ("down", (e, f))):
            out[f"{p}mlp.{name}_proj.weight"] = shape
            if case.get("mlp_bias", False):
                out[f"{p}mlp.{name}_proj.bias"] = shape[:1]
    out["model.norm.weight"] = (e,)
    if not case.tied:
        out["lm_head.weight"] = (c["vocab_size"], e)
    return out


def spread(name, shape):
    """Standard deviation of a tensor: outputs of order one, so that every tensor shows in the logits."""
    if name.endswith(".bias"):
        return 0.4
    if "embed_tokens" in name:
        return 0.1  # small beside what layers add, or a tied model repeats its last id
    return (2.0 if "lm_head" in name else 1.1) / math.sqrt(shape[1])


def draw(case, rng):
    weights = {}
    for name, shape in shapes(case).items():
        if name.endswith("norm.weight"):
            value = rng.uniform(0.6, 1.4, shape)
        else:
            value = rng.standard_normal(shape) * spread(name, shape)
        weights[name] = value.astype(np.float32)
    return weights


# ---- folders -------------------------------------------------------------------------------------------------------


def write_folder(folder, config, weights, dtype, shards=1):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)).to(dtype) for name, value in weights.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for shard in range(shards):
        part = names[len(names) * shard // shards : len(names) * (shard + 1) // shards]
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        index["weight_map"].update(dict.fromkeys(part, file))
    index["weight_map"] = dict(sorted(index["weight_map"].items()))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


# ---- GGUF ----------------------------------------------------------------------------------------------------------

GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        layer, rest = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{GGUF_NAMES[rest]}.{kind}"
    return f"{GGUF_NAMES[stem]}.{kind}"


def interleave(rows, heads):
    """Row order of q and k in GGUF files of architecture llama: row 2i+j of a head is the model's row j*D/2+i."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows, heads):
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def random_blocks(rng, shape, kind, std):
    """Blocks of random bytes whose values have the given standard deviation and a mean near 0."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = shape[0] * shape[1] // block
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if kind == Type.MXFP4:
        raw[:, 0] = 127 + round(math.log2(std / 3)) + rng.integers(-1, 2, count)
        return raw.reshape(shape[0], -1)
    d_at, min_at, ratio, signed = RANDOM_BLOCKS[kind]
    d = rng.uniform(0.7, 1.3, count) * (rng.choice([-1.0, 1.0], count) if signed else 1.0)

    def put(scale):
        for at, values in ((d_at, d * scale), (min_at, d * scale * ratio)):
            if at is not None:
                raw[:, at : at + 2] = values.astype("<f2").reshape(-1, 1).view(np.uint8)

    put(1.0)
    put(std / float(gguf.quants.dequantize(raw, kind).std()))
    return raw.reshape(shape[0], -1)


def store(rng, name, value, kind):
    """The bytes of a tensor in a format, and the values that they stand for."""
    if value.ndim == 1 or kind == Type.F32:  # vectors are F32 in every GGUF file
        return value, value, Type.F32
    if value.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] != 0:
        kind = FALLBACK[kind]
    if kind in RANDOM_BLOCKS or kind == Type.MXFP4:
        data = random_blocks(rng, value.shape, kind, spread(name, value.shape))
    elif kind == Type.F16:
        data = value.astype(np.float16)
        return data, data.astype(np.float32), kind
    else:
        data = gguf.quants.quantize(value, kind)
    return data, gguf.quants.dequantize(data, kind).astype(np.float32), kind


def llama3_divisors(case):
    """rope_freqs.weight: what llama3 scaling divides each pair's angle by."""
    s, d = case.config["rope_scaling"], case.head_dim
    low, high = s["low_freq_factor"], s["high_freq_factor"]
    original = s["original_max_position_embeddings"]
    out = []
    for i in range(d // 2):
        wavelength = 2 * math.pi * case.config["rope_theta"] ** (2 * i / d)
        t = (original / wavelength - low) / (high - low)
        t = min(max(t, 0.0), 1.0)
        out.append(1.0 / ((1.0 - t) / s["factor"] + t))
    return np.array(out, dtype=np.float32)


def write_gguf(case, folder, weights, rng):
    """Writes model.gguf and returns the values that its tensors stand for, under transformers' names and row order."""
    c, kind = case.config, Type[case.weights.upper()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.gguf"
    w = gguf.GGUFWriter(path, case.family, split_max_tensors=case.split)
    w.add_name(case.name)
    w.add_file_type(int(gguf.LlamaFileType["ALL_F32" if kind == Type.F32 else {
        Type.Q2_K: "MOSTLY_Q2_K", Type.Q3_K: "MOSTLY_Q3_K_M", Type.Q4_K: "MOSTLY_Q4_K_M", Type.Q5_K: "MOSTLY_Q5_K_M",
        Type.MXFP4: "MOSTLY_MXFP4_MOE"}.get(kind, f"MOSTLY_{kind.name}")]))
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(case.kv_heads)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    if case.family == "llama":
        w.add_rope_dimension_count(case.head_dim)
    if "head_dim" in c:
        w.add_key_length(case.head_dim)
        w.add_value_length(case.head_dim)
    if "tokenizer.ggml.tokens" not in case.gguf:
        w.add_vocab_size(c["vocab_size"])
    for key, value in case.gguf.items():
        key = key.replace("ARCH", case.family)
        if isinstance(value, str):
            w.add_string(key, value)
        elif isinstance(value, list):
            w.add_array(key, value)
        elif isinstance(value, int):
            w.add_uint32(key, value)
        else:
            w.add_float32(key, value)
    if (c.get("rope_scaling") or {}).get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(case))

    meant = {}
    for name, value in weights.items():
        heads = c["num_attention_heads"] if ".q_proj." in name else case.kv_heads if ".k_proj." in name else 0
        permuted = case.family == "llama" and heads
        data, values, stored = store(rng, name, interleave(value, heads) if permuted else value, kind)
        w.add_tensor(gguf_name(name), data, raw_dtype=stored)
        meant[name] = deinterleave(values, heads) if permuted else values
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if case.gguf_version != 3:  # nothing but the number differs in little-endian files
        data = bytearray(path.read_bytes())
        data[4:8] = case.gguf_version.to_bytes(4, "little")
        path.write_bytes(data)
    return meant


# ---- the oracle ----------------------------------------------------------------------------------------------------


def load(folder, dtype=torch.float32):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval()


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def rounding(folder, model, ids, logits):
    """How far float64 arithmetic with slightly other rotary frequencies is from `logits`, of the largest one."""
    double = load(folder, torch.float64)
    rotary = model.model.rotary_emb
    sign = 1.0 - 2.0 * (torch.arange(len(rotary.inv_freq)) % 2).double()
    inverse = rotary.inv_freq.double() * (1.0 + 1e-7 * sign)

    def angles(x, position_ids, *_, **__):
        a = position_ids[..., None].double() * inverse
        a = torch.cat((a, a), dim=-1)
        return a.cos() * rotary.attention_scaling, a.sin() * rotary.attention_scaling

    double.model.rotary_emb.forward = angles
    for module in double.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = lambda x, m=module: m.weight * (
                x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon))
    return float((logits_of(double, ids) - logits.double()).abs().max() / logits.abs().max())


def greedy_path(model, ids):
    """The ids that follow, and the smallest gap between the two best logits, of the largest logit."""
    path, gap, largest = list(ids), math.inf, 0.0
    for _ in range(GREEDY):
        row = logits_of(model, path)[-1]
        best = torch.topk(row, 2).values
        gap, largest = min(gap, float(best[0] - best[1])), max(largest, float(row.abs().max()))
        path.append(int(row.argmax()))
        if gap < SMALLEST_GAP * largest:
            return None, gap / largest
    return path[len(ids) :], gap / largest


def attempt(case, folder, seed, judge):
    """Makes a case from a seed; the reason why it will not do, or None. Without `judge` rounding does not matter."""
    rng = np.random.default_rng(seed)
    weights = draw(case, rng)
    ids = [int(i) for i in rng.integers(0, case.config["vocab_size"], case.prompt)]
    if case.gguf is None:
        if case.extra == "lm_head.weight":
            weights[case.extra] = weights["model.embed_tokens.weight"]
        elif case.extra == "another lm_head.weight":
            weights["lm_head.weight"] = np.roll(weights["model.embed_tokens.weight"], 1, axis=0)
        elif case.extra:
            weights[case.extra] = np.ones(case.head_dim // 2, np.float32)
        write_folder(folder, case.config, weights, DTYPES[case.weights], case.shards)
        file, oracle = ".", folder
    else:
        file = "model.gguf" if not case.split else None
        values = write_gguf(case, folder, weights, rng)
        file = file or sorted(p.name for p in folder.glob("*.gguf"))[0]
        oracle = folder / "as_folder"
        write_folder(oracle, case.config, values, torch.float32)
    model = load(oracle)
    logits = logits_of(model, ids)
    noise = rounding(oracle, model, ids, logits) if judge else 0.0
    if case.gguf is not None:
        shutil.rmtree(oracle)
    if noise > ROUNDING:
        return f"rounding {noise:.1e}"
    greedy, gap = greedy_path(model, ids) if case.greedy else (None, math.inf)
    if gap < SMALLEST_GAP:
        return f"gap {gap:.1e}"
    if greedy and len(set(greedy)) < DISTINCT:
        return "repeats itself"
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors keeps its files to their owner
    logits.numpy().astype("<f4").tofile(folder / "logits.bin")
    expected = {"family": case.family, "file": file, "weights": case.weights, "vocab": case.config["vocab_size"],
                "rope_length": case.rope_length, "note": case.note, "seed": seed, "logits": "logits.bin", "ids": ids,
                "greedy": greedy}
    lines = ",\n".join(f'  "{key}": {json.dumps(value)}' for key, value in expected.items())
    (folder / "expected.json").write_text("{\n" + lines + "\n}\n")
    if judge:
        print(f"{case.name}: seed {seed}, rounding {noise:.1e}, gap {gap:.1e}", file=sys.stderr)
    return None


def make(case, out):
    first = zlib.crc32(case.name.encode())
    for seed in range(first, first + 500):
        shutil.rmtree(out / case.name, ignore_errors=True)
        why_not = attempt(case, out / case.name, seed, judge=True)
        if why_not is None:
            return
    sys.exit(f"error: {case.name}: no seed will do, the last one because of: {why_not}")


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
            seed = json.loads((committed / case.name / "expected.json").read_text())["seed"]
            again = pathlib.Path(temporary) / case.name
            why_not = attempt(case, again, seed, judge=False)
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
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False
    transformers.utils.logging.disable_progress_bar()
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
