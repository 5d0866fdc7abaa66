#!/usr/bin/env python3
"""SmolLM2-135M-Instruct (Q4_1 GGUF) as transformers computes it in float32 on the dequantised weights.

Needs the environment of tools/oracle_env.sh; --llama-cpp needs the one of `tools/oracle_env.sh --peer` instead.

  compare_smollm2.py reference MODEL.gguf --text FILE --out DIR
      DIR/ids.json         the first 200 ids of the text, for `inspect logits --ids`
      DIR/reference.bin    little-endian f32 [200, vocabulary], one forward pass of those ids
      DIR/perplexity.json  the mean negative log-likelihood of the text, its perplexity and the method
  compare_smollm2.py peer MODEL.gguf --out DIR [--kv f32]
      DIR/llama_cpp.bin    llama-cpp-python's logits of the same ids, on two threads
  compare_smollm2.py compare DIR FILE.bin [FILE.bin ...]
      for each file of logits: largest difference of the largest logit, mean KL from the reference, equal best ids
"""

import argparse
import json
import pathlib
import sys

import numpy as np

POSITIONS = 200
CONTEXT = 512
CHUNKS = 8


def read_model(path):
    """The model with every weight dequantised, and its tokenizer; facts: GGUF keys and names of architecture llama."""
    import gguf
    import torch
    import transformers

    reader = gguf.GGUFReader(path)
    get = {name: field.contents for name, field in reader.fields.items()}
    if get["general.architecture"]() != "llama":
        sys.exit("error: not of architecture llama")
    tensors = {t.name: t for t in reader.tensors}
    heads, kv_heads = get["llama.attention.head_count"](), get["llama.attention.head_count_kv"]()
    config = transformers.LlamaConfig(
        vocab_size=len(get["tokenizer.ggml.tokens"]()), hidden_size=get["llama.embedding_length"](),
        intermediate_size=get["llama.feed_forward_length"](), num_hidden_layers=get["llama.block_count"](),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=get["llama.context_length"](),
        rms_norm_eps=get["llama.attention.layer_norm_rms_epsilon"](),
        rope_parameters={"rope_theta": get["llama.rope.freq_base"](), "rope_type": "default"},
        tie_word_embeddings="output.weight" not in tensors, attn_implementation="eager")

    def value(name, interleaved_heads=0):
        t = tensors[name]
        v = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        if interleaved_heads:  # row 2i+j of a head is the model's row j*D/2+i
            v = v.reshape(interleaved_heads, -1, 2, v.shape[1]).swapaxes(1, 2).reshape(v.shape)
        return torch.from_numpy(np.ascontiguousarray(v))

    embedding = value("token_embd.weight")
    weights = {"model.embed_tokens.weight": embedding, "model.norm.weight": value("output_norm.weight"),
               "lm_head.weight": value("output.weight") if "output.weight" in tensors else embedding}
    for n in range(config.num_hidden_layers):
        for ours, theirs, interleaved in (
                ("input_layernorm", "attn_norm", 0), ("post_attention_layernorm", "ffn_norm", 0),
                ("self_attn.q_proj", "attn_q", heads), ("self_attn.k_proj", "attn_k", kv_heads),
                ("self_attn.v_proj", "attn_v", 0), ("self_attn.o_proj", "attn_output", 0),
                ("mlp.gate_proj", "ffn_gate", 0), ("mlp.up_proj", "ffn_up", 0), ("mlp.down_proj", "ffn_down", 0)):
            weights[f"model.layers.{n}.{ours}.weight"] = value(f"blk.{n}.{theirs}.weight", interleaved)
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(weights)
    return model.eval(), tokenizer_of(get)


def tokenizer_of(get):
    """Byte-level BPE from the GGUF's tables, with the splitting rules of the name `smollm`."""
    import tokenizers
    from tokenizers import decoders, pre_tokenizers

    if (get["tokenizer.ggml.model"](), get["tokenizer.ggml.pre"]()) != ("gpt2", "smollm"):
        sys.exit("error: not the tokenizer of SmolLM2")
    tokens, kinds = get["tokenizer.ggml.tokens"](), get["tokenizer.ggml.token_type"]()
    merges = [tuple(m.split(" ")) for m in get["tokenizer.ggml.merges"]()]
    t = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([s for s, kind in zip(tokens, kinds) if kind == 3])  # 3: control
    return t


def reference(arguments):
    import torch

    model, tokenizer = read_model(arguments.model)
    ids = tokenizer.encode(arguments.text.read_text(encoding="utf-8")[:100_000], add_special_tokens=False).ids
    arguments.out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids[:POSITIONS]]), use_cache=False).logits[0]
        logits.numpy().astype("<f4").tofile(arguments.out / "reference.bin")
        loss, scored = 0.0, 0
        for chunk in range(CHUNKS):
            part = torch.tensor(ids[chunk * CONTEXT : (chunk + 1) * CONTEXT])
            logp = model(input_ids=part[None], use_cache=False).logits[0, :-1].double().log_softmax(-1)
            loss -= float(logp.gather(1, part[1:, None]).sum())
            scored += len(part) - 1
    (arguments.out / "ids.json").write_text(json.dumps(ids[:POSITIONS]) + "\n")
    (arguments.out / "perplexity_ids.json").write_text(json.dumps(ids[: CHUNKS * CONTEXT]) + "\n")
    result = {"mean_nll": loss / scored, "perplexity": float(np.exp(loss / scored)), "tokens": CHUNKS * CONTEXT,
              "scored": scored, "method": f"{CHUNKS} chunks of {CONTEXT} ids of the text, each chunk from an empty "
              "context; every id after a chunk's first is scored; no BOS, as the file says add_bos_token false"}
    (arguments.out / "perplexity.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def peer(arguments):
    import llama_cpp

    ids = json.loads((arguments.out / "ids.json").read_text())
    kinds = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}
    model = llama_cpp.Llama(str(arguments.model), n_ctx=CONTEXT, n_batch=CONTEXT, n_threads=2, n_threads_batch=2,
                            logits_all=True, verbose=False, type_k=kinds[arguments.kv], type_v=kinds[arguments.kv])
    model.eval(ids)
    model.scores[: len(ids)].astype("<f4").tofile(arguments.out / "llama_cpp.bin")
    print(llama_cpp.llama_print_system_info().decode(), file=sys.stderr)


def log_softmax(rows):
    rows = rows.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def compare(arguments):
    count = len(json.loads((arguments.out / "ids.json").read_text()))
    wanted = np.fromfile(arguments.out / "reference.bin", "<f4").reshape(count, -1)
    largest, logp = float(np.abs(wanted).max()), log_softmax(wanted)
    for file in arguments.files:
        got = np.fromfile(file, "<f4")
        if got.size != wanted.size:
            sys.exit(f"error: {file}: {got.size} values, wanted {wanted.size}")
        got = got.reshape(wanted.shape)
        kl = (np.exp(logp) * (logp - log_softmax(got))).sum(axis=1)
        same = int((wanted.argmax(axis=1) == got.argmax(axis=1)).sum())
        print(json.dumps({"file": str(file), "positions": count,
                          "largest_difference": float(np.abs(wanted.astype(np.float64) - got).max()) / largest,
                          "mean_kl_nats": float(kl.mean()), "largest_kl_nats": float(kl.max()),
                          "top1_equal": same / count}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    c = commands.add_parser("reference")
    c.add_argument("model", type=pathlib.Path)
    c.add_argument("--text", type=pathlib.Path, required=True)
    c.add_argument("--out", type=pathlib.Path, required=True)
    c.set_defaults(run=reference)
    c = commands.add_parser("peer")
    c.add_argument("model", type=pathlib.Path)
    c.add_argument("--out", type=pathlib.Path, required=True)
    c.add_argument("--kv", choices=("f16", "f32"), default="f16", help="llama.cpp's own default is f16")
    c.set_defaults(run=peer)
    c = commands.add_parser("compare")
    c.add_argument("out", type=pathlib.Path, metavar="DIR")
    c.add_argument("files", type=pathlib.Path, nargs="+", metavar="FILE.bin")
    c.set_defaults(run=compare)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
