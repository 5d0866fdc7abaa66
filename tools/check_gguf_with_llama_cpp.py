#!/usr/bin/env python3
"""Runs the GGUF goldens in llama.cpp: what tools/golden_gguf.py writes means there what it means to transformers.

Needs the environment of `tools/oracle_env.sh --peer`. Prints for each golden the largest difference of the logits, of
the largest one, and whether it is within the bound; exit status 1 if one is not that is not listed below. llama.cpp
rounds activations to the format of the weights, so it turns every file into F32 first, which changes no value.

  check_gguf_with_llama_cpp.py [--goldens DIR] [--only TEXT]
"""

import argparse
import ctypes
import json
import pathlib
import sys
import tempfile

import llama_cpp
import numpy as np

BOUND = 2e-5
GELU_BOUND = 4e-3  # llama.cpp reads GELU from a table of f16
WITH_GELU = ("gemma", "gemma2", "gemma3_text", "phi", "falcon")
CONTEXT = 256  # llama.cpp picks longrope's factors by it

# Goldens that llama.cpp computes differently or refuses, by design, and why.
DIFFERENT = {
    "gguf_llama_yarn_attention_factor": "reads the key for other architectures only",
    "gguf_llama_yarn_betas": "reads the keys for other architectures only",
    "gguf_mixtral_per_expert": "opens no file with a tensor for each expert any more",
    "gguf_phi3_window": "has switched phi3's window off",
    "gguf_smollm3_llama3": "knows no rope_freqs.weight of smollm3, though the converter writes one",
}


def silent(level, text, data):
    """A log that says nothing: a refusal shows in the table."""


SILENT = llama_cpp.llama_log_callback(silent)


def no_vocabulary():
    """The answer to what llama.cpp asks of a file about its vocabulary."""
    pairs = (llama_cpp.llama_model_kv_override * 2)()
    pairs[0].tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR
    pairs[0].key = b"tokenizer.ggml.model"
    pairs[0].value.val_str = b"no_vocab"
    return pairs


def in_f32(path, folder):
    """The same model with all tensors in F32, or None if llama.cpp refuses the file."""
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.allow_requantize, parameters.nthread = llama_cpp.LLAMA_FTYPE_ALL_F32, True, 1
    out = folder / "f32.gguf"
    failed = llama_cpp.llama_model_quantize(str(path).encode(), str(out).encode(), parameters)
    return None if failed else out


def logits_of(path, ids, vocabulary):
    """llama.cpp's logits of every id, or None if it refuses the file."""
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_mmap, parameters.n_gpu_layers = False, 0
    pairs = no_vocabulary()
    if b"tokenizer.ggml.model" not in pathlib.Path(path).read_bytes():
        parameters.kv_overrides = pairs
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        return None
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = CONTEXT
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
    parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.swa_full = True
    parameters.yarn_attn_factor = parameters.yarn_beta_fast = parameters.yarn_beta_slow = -1.0  # what the file says
    session = llama_cpp.llama_init_from_model(model, parameters)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    failed = llama_cpp.llama_decode(session, batch)
    rows = None
    if not failed:
        rows = np.stack([np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(session, i), (vocabulary,)).copy()
                         for i in range(len(ids))])
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(session)
    llama_cpp.llama_model_free(model)
    return rows


def compare(folder, expected):
    """The largest difference of the logits, of the largest one, or None if llama.cpp refuses the file."""
    reference = np.fromfile(folder / expected["logits"], "<f4").reshape(len(expected["ids"]), expected["vocab"])
    with tempfile.TemporaryDirectory() as temporary:
        path = folder / expected["file"]
        path = path if expected["weights"] == "f32" else in_f32(path, pathlib.Path(temporary))
        logits = logits_of(path, expected["ids"], expected["vocab"]) if path else None
    if logits is None:
        return None
    return float(np.abs(logits - reference).max() / np.abs(reference).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "models"
    parser.add_argument("--goldens", type=pathlib.Path, default=default, help="default: tests/goldens/models")
    parser.add_argument("--only", default="", help="goldens whose name contains this")
    arguments = parser.parse_args()
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p())
    llama_cpp.llama_backend_init()
    failures = 0
    for folder in sorted(arguments.goldens.iterdir()):
        if arguments.only not in folder.name:
            continue
        expected = json.loads((folder / "expected.json").read_text())
        if expected["file"] == ".":
            continue
        difference = compare(folder, expected)
        bound = GELU_BOUND if expected["family"] in WITH_GELU else BOUND
        fits = difference is not None and difference <= bound
        reason = DIFFERENT.get(folder.name, "")
        failures += not fits and not reason
        said = "refused" if difference is None else f"{difference:.1e}"
        verdict = "" if fits else f"by design: {reason}" if reason else "DIFFERS"
        print(f"{folder.name:34} {expected['weights']:5} {said:>8}  {verdict}".rstrip(), flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
