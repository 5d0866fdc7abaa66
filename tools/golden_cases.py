"""The cases of tools/make_goldens.py: every branch that a configuration of Llama or Qwen2 can switch, as data.

Keys and defaults: transformers' configuration classes; GGUF keys: its specification and what its converter writes.
"""

import dataclasses


@dataclasses.dataclass
class Case:
    name: str
    family: str
    config: dict  # config.json
    note: str
    weights: str = "bf16"
    shards: int = 1
    prompt: int = 24
    greedy: bool = True
    rope_length: int | None = None
    extra: str = ""  # a tensor that the folder holds besides the model's own
    gguf: dict | None = None  # a GGUF file instead of a folder; keys beyond the usual ones
    gguf_version: int = 3
    split: int = 0  # tensors per GGUF file; 0: one file

    def get(self, key, default=None):
        value = self.config.get(key)
        return default if value is None else value

    @property
    def head_dim(self):
        return self.get("head_dim", self.config["hidden_size"] // self.config["num_attention_heads"])

    @property
    def kv_heads(self):
        return self.get("num_key_value_heads", self.config["num_attention_heads"])

    @property
    def tied(self):
        return self.get("tie_word_embeddings", False)


def llama(**changes):
    """A config.json of transformers 4; a change to `...` takes the key out."""
    config = {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
              "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32,
              "initializer_range": 0.02, "intermediate_size": 43, "max_position_embeddings": 128, "mlp_bias": False,
              "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
              "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0,
              "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.46.3",
              "use_cache": True, "vocab_size": 96} | changes
    return {key: value for key, value in config.items() if value is not ...}


def qwen2(**changes):
    config = {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
              "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 43,
              "max_position_embeddings": 128, "max_window_layers": 2, "model_type": "qwen2", "num_attention_heads": 4,
              "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
              "sliding_window": 128, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
              "transformers_version": "4.46.3", "use_cache": True, "use_sliding_window": False,
              "vocab_size": 96} | changes
    return {key: value for key, value in config.items() if value is not ...}


def v5(config, **rope):
    """The same as transformers 5 writes it: `dtype`, and everything about rotation in `rope_parameters`."""
    config = {k: v for k, v in config.items() if k not in ("rope_theta", "rope_scaling", "torch_dtype")}
    rope = {"rope_theta": 10000.0, "rope_type": "default"} | rope
    return config | {"dtype": "bfloat16", "rope_parameters": rope, "transformers_version": "5.0.0"}


LLAMA3 = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 512,
          "rope_type": "llama3"}
WIDE = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}  # eight pairs: every branch of a scaling


def llama_cases():
    minimal = {key: ... for key in ("attention_bias", "attention_dropout", "hidden_act", "initializer_range",
                                    "max_position_embeddings", "mlp_bias", "num_key_value_heads", "pretraining_tp",
                                    "rms_norm_eps", "rope_scaling", "rope_theta", "tie_word_embeddings", "use_cache")}
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32}
    long_yarn = {"factor": 8.0, "original_max_position_embeddings": 256, "rope_type": "yarn"}
    cases = [
        ("defaults_f32", llama(**minimal, torch_dtype="float32"), "optional keys absent: MHA, eps 1e-6, theta 1e4"),
        ("gqa", llama(rope_theta=500000.0, head_dim=None), "GQA 4:2, head_dim null, rope_scaling null"),
        ("mqa_f16", llama(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, torch_dtype="float16",
                          intermediate_size=100), "MQA 5:1, hidden no power of two"),
        ("mha_null_kv", llama(num_key_value_heads=None, rope_theta=10000), "num_key_value_heads null, theta whole"),
        ("gqa3_deep", llama(hidden_size=36, num_attention_heads=6, num_key_value_heads=2, num_hidden_layers=3,
                            intermediate_size=59), "GQA 6:2, head_dim 6, three layers, odd intermediate"),
        ("ffn172", llama(intermediate_size=172, vocab_size=101), "feed-forward rows of 172, odd vocabulary"),
        ("tied", llama(tie_word_embeddings=True), "tied, no lm_head"),
        ("tied_copy_of_head", llama(tie_word_embeddings=True), "tied, and lm_head stored once more"),
        ("tied_other_head", llama(tie_word_embeddings=True), "tied, but another lm_head is stored: transformers 5 keeps it"),
        ("attention_bias_f32", llama(attention_bias=True, torch_dtype="float32"), "biases on q, k, v and o"),
        ("mlp_bias", llama(mlp_bias=True), "biases on gate, up and down"),
        ("all_biases_tied_f16", llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                      torch_dtype="float16"), "all biases, tied"),
        ("head_dim_wide", llama(head_dim=16), "heads together wider than hidden: 64 of 32"),
        ("head_dim_narrow", llama(hidden_size=48, head_dim=6, num_key_value_heads=4, intermediate_size=75),
         "heads together narrower than hidden: 24 of 48; three pairs"),
        ("eps_large", llama(rms_norm_eps=1e-3), "rms_norm_eps 1e-3"),
        ("stray_inv_freq_f16", llama(pretraining_tp=2, torch_dtype="float16"),
         "an old file's rotary_emb.inv_freq; pretraining_tp 2"),
        ("sharded", llama(), "three shards and their index"),
        ("v5_default", v5(llama(), rope_theta=250000.0), "rope_parameters, default"),
        ("linear_v4_type", llama(rope_scaling={"type": "linear", "factor": 4.0}), "linear, key `type`"),
        ("linear_v5", v5(llama(**WIDE), rope_type="linear", factor=2.5), "linear, rope_parameters"),
        ("llama3", llama(**WIDE, rope_theta=500000.0, rope_scaling=LLAMA3), "llama3: kept, blended and divided pairs"),
        ("llama3_tied_v5", v5(llama(**WIDE, tie_word_embeddings=True), **LLAMA3 | {"factor": 32.0},
                              rope_theta=500000.0), "llama3, rope_parameters, tied"),
        ("dynamic_short", llama(rope_scaling={"type": "dynamic", "factor": 2.0}), "dynamic, within max_position"),
        ("dynamic_long", llama(**WIDE, max_position_embeddings=16, rope_scaling={"rope_type": "dynamic",
                                                                                "factor": 2.0}),
         "dynamic, 24 ids beyond max_position 16: one forward pass of all"),
        ("yarn", llama(**WIDE, rope_scaling={"type": "yarn"} | yarn), "yarn, key `type`"),
        ("yarn_ramp_v5", v5(llama(**WIDE), **long_yarn), "yarn, rope_parameters, a ramp of several pairs"),
        ("yarn_attention_factor", llama(**WIDE, rope_scaling=long_yarn | {
            "attention_factor": 1.5, "beta_fast": 4, "beta_slow": 2}), "yarn with attention_factor and betas"),
        ("yarn_mscale_v5", v5(llama(**WIDE), **long_yarn, mscale=1.2, mscale_all_dim=0.7, truncate=False),
         "yarn with mscale, mscale_all_dim and a ramp not truncated"),
        ("yarn_no_original", llama(**WIDE, max_position_embeddings=256, rope_scaling={
            "rope_type": "yarn", "factor": 4.0}), "yarn, original length absent: max_position_embeddings"),
        ("yarn_top_original", llama(**WIDE, original_max_position_embeddings=320, rope_scaling={
            "rope_type": "yarn", "factor": 4.0}), "yarn, original length at the top level of the file"),
        ("yarn_both_originals", llama(**WIDE, original_max_position_embeddings=192, rope_scaling=long_yarn),
         "yarn, two original lengths: the top level's wins in transformers 5"),
    ]
    options = {"tied_copy_of_head": {"extra": "lm_head.weight"}, "tied_other_head": {"extra": "another lm_head.weight"},
               "sharded": {"shards": 3},
               "stray_inv_freq_f16": {"extra": "model.layers.0.self_attn.rotary_emb.inv_freq"},
               "dynamic_short": {"rope_length": 88}, "dynamic_long": {"rope_length": 24, "greedy": False}}
    for name, config, note in cases:
        yield Case("llama_" + name, "llama", config, note, **options.get(name, {}))


def qwen2_cases():
    minimal = {key: ... for key in ("attention_dropout", "hidden_act", "initializer_range", "max_position_embeddings",
                                    "max_window_layers", "rms_norm_eps", "rope_theta", "sliding_window",
                                    "tie_word_embeddings", "use_cache", "use_sliding_window")}
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32}
    window = {"use_sliding_window": True, "num_hidden_layers": 3}
    cases = [
        ("defaults_f32", qwen2(**minimal, torch_dtype="float32"), "every optional key absent"),
        ("gqa_dead_window", qwen2(sliding_window=8, max_window_layers=0), "a sliding_window that is switched off"),
        ("tied", qwen2(tie_word_embeddings=True, vocab_size=101), "tied, odd vocabulary"),
        ("mqa_f16", qwen2(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, intermediate_size=100,
                          torch_dtype="float16"), "MQA 5:1, hidden no power of two"),
        ("mha_odd", qwen2(hidden_size=36, num_attention_heads=6, num_key_value_heads=6, intermediate_size=59,
                          rope_theta=10000.0), "MHA, head_dim 6, odd intermediate"),
        ("ffn172", qwen2(intermediate_size=172, rms_norm_eps=1e-5), "feed-forward rows of 172, eps 1e-5"),
        ("head_dim_wide", qwen2(head_dim=12), "head_dim 12, not hidden / heads"),
        ("window", qwen2(**window, sliding_window=8, max_window_layers=1), "window of 8 from layer 1 on"),
        ("window_all_f16", qwen2(**window, sliding_window=5, max_window_layers=0, torch_dtype="float16"),
         "window of 5 in all layers"),
        ("window_no_layer", qwen2(**window, sliding_window=8, max_window_layers=3), "a window that no layer has"),
        ("window_layer_types_v5", v5(qwen2(**window, sliding_window=6, layer_types=[
            "sliding_attention", "full_attention", "sliding_attention"])), "window by layer_types"),
        ("window_one", qwen2(**window, sliding_window=1, max_window_layers=2), "a window of 1: itself only"),
        ("window_null", qwen2(**window, sliding_window=None, max_window_layers=0), "window switched on but null"),
        ("sharded_f16", qwen2(torch_dtype="float16"), "two shards"),
        ("linear_v4", qwen2(rope_scaling={"rope_type": "linear", "factor": 3.0}), "linear"),
        ("llama3_v5", v5(qwen2(**WIDE), **LLAMA3, rope_theta=500000.0), "llama3"),
        ("dynamic_long_v5", v5(qwen2(max_position_embeddings=16), rope_type="dynamic", factor=4.0,
                               rope_theta=1000000.0), "dynamic, 24 ids beyond max_position 16"),
        ("yarn_v4_type", qwen2(rope_theta=10000.0, rope_scaling=yarn | {"type": "yarn"}), "yarn as Qwen2.5 says it"),
        ("yarn_attention_factor_tied_v5", v5(qwen2(**WIDE, tie_word_embeddings=True), rope_type="yarn", **yarn | {
            "original_max_position_embeddings": 256}, attention_factor=0.8), "yarn with attention_factor, tied"),
    ]
    options = {"sharded_f16": {"shards": 2}, "dynamic_long_v5": {"rope_length": 24, "greedy": False}}
    for name, config, note in cases:
        yield Case("qwen2_" + name, "qwen2", config, note, **options.get(name, {}))


def gguf_cases():
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


def quantised_cases():
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


def all_cases():
    cases = [*llama_cases(), *qwen2_cases(), *gguf_cases(), *quantised_cases()]
    for case in cases:
        if case.gguf is None:  # the storage of a folder is what its config.json says
            said = case.config.get("torch_dtype", case.config.get("dtype"))
            case.weights = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[said]
    return cases
