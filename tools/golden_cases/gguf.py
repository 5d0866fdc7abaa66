"""GGUF files, as llama.cpp's converter writes them, and quantised ones."""

from .case import LLAMA3, WIDE, Case
from .llama import llama
from .qwen2 import qwen2


def plain():
    yarn = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 256}
    keys = {"ARCH.rope.scaling.type": "yarn", "ARCH.rope.scaling.factor": 8.0,
            "ARCH.rope.scaling.original_context_length": 256}
    tokens = [chr(c) for c in range(33, 127)] + ["th", "in"]
    vocabulary = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": tokens,
                  "tokenizer.ggml.token_type": [1] * len(tokens), "tokenizer.ggml.merges": ["t h", "i n"]}
    cases = [
        ("llama", "f32", llama(), {}, "q and k rows interleaved"),
        ("llama_mqa_odd", "f16", llama(hidden_size=40, num_attention_heads=5, num_key_value_heads=1,
                                       intermediate_size=59), {}, "MQA, odd feed-forward"),
        ("llama_split", "bf16", llama(rope_theta=500000.0), {}, "split over three files"),
        ("llama_biases_tied", "f32", llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True), {},
         "all biases, q's and k's interleaved too; no output.weight"),
        ("llama_head_dim", "f16", llama(head_dim=16), {}, "key_length unlike hidden / heads"),
        ("llama_llama3", "f32", llama(**WIDE, rope_theta=500000.0, rope_scaling=LLAMA3), {}, "rope_freqs.weight"),
        ("llama_linear", "bf16", llama(rope_scaling={"type": "linear", "factor": 4.0}),
         {"ARCH.rope.scaling.type": "linear", "ARCH.rope.scaling.factor": 4.0}, "linear"),
        ("llama_linear_old", "f16", llama(rope_scaling={"type": "linear", "factor": 4.0}),
         {"ARCH.rope.scale_linear": 4.0}, "linear by the older key, file version 2"),
        ("llama_yarn", "bf16", llama(**WIDE, rope_scaling=yarn), keys, "yarn"),
        ("llama_yarn_betas", "f16", llama(**WIDE, rope_scaling=yarn | {"beta_fast": 4, "beta_slow": 2}),
         keys | {"ARCH.rope.scaling.yarn_beta_fast": 4.0, "ARCH.rope.scaling.yarn_beta_slow": 2.0}, "yarn with betas"),
        ("llama_yarn_attention_factor", "f16", llama(**WIDE, rope_scaling=yarn | {"attention_factor": 1.5}),
         keys | {"ARCH.rope.scaling.yarn_attn_factor": 1.5}, "yarn with attention_factor under the key that the "
         "converter writes (llama.cpp reads it for other architectures only)"),
        ("qwen2", "f32", qwen2(), {}, "q and k rows as in the model"),
        ("qwen2_tied", "bf16", qwen2(tie_word_embeddings=True), {}, "no output.weight"),
        ("qwen2_no_vocab_size", "f16", qwen2(intermediate_size=59), vocabulary, "vocabulary known by the token list"),
        ("qwen2_yarn", "f16", qwen2(**WIDE, rope_theta=10000.0, rope_scaling=yarn), keys, "yarn"),
    ]
    options = {"llama_split": {"split": 9}, "llama_linear_old": {"gguf_version": 2}}
    for name, weights, config, extra, note in cases:
        yield Case("gguf_" + name, config["model_type"], config, note, weights=weights, gguf=extra,
                   **options.get(name, {}))


def quantised():
    small = {"hidden_size": 96, "intermediate_size": 64, "num_attention_heads": 3, "num_hidden_layers": 1,
             "num_key_value_heads": 1, "vocab_size": 64}
    for weights in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4"):
        yield Case("gguf_llama_" + weights, "llama", llama(**small), "rows of three blocks", weights=weights, gguf={})
        yield Case("gguf_qwen2_" + weights, "qwen2", qwen2(**small, tie_word_embeddings=True), "tied, biases F32",
                   weights=weights, gguf={})
    wide = {"hidden_size": 512, "head_dim": 16, "intermediate_size": 32, "num_attention_heads": 2,
            "num_hidden_layers": 1, "num_key_value_heads": 1, "vocab_size": 40}
    square = {"hidden_size": 256, "intermediate_size": 32, "num_attention_heads": 32, "num_hidden_layers": 1,
              "num_key_value_heads": 1, "vocab_size": 32, "tie_word_embeddings": True}
    for weights in ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs"):
        yield Case("gguf_llama_" + weights, "llama", llama(**wide), "rows of two blocks; o and down in the 32-element "
                   "format that the quantiser takes for short rows", weights=weights, gguf={})
        yield Case("gguf_qwen2_" + weights, "qwen2", qwen2(**square), "tied, biases F32, rows of one block; down in a "
                   "32-element format", weights=weights, gguf={})


def cases():
    yield from plain()
    yield from quantised()
