"""Llama 1 to 3 and what is built like them."""

from .case import LLAMA3, WIDE, changed, folders, v5


def llama(**changes):
    """A config.json of transformers 4; a change to `...` takes the key out."""
    return changed({"architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32,
                    "initializer_range": 0.02, "intermediate_size": 43, "max_position_embeddings": 128,
                    "mlp_bias": False, "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2,
                    "num_key_value_heads": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None,
                    "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
                    "transformers_version": "4.46.3", "use_cache": True, "vocab_size": 96}, changes)


def cases():
    minimal = {key: ... for key in ("attention_bias", "attention_dropout", "hidden_act", "initializer_range",
                                    "max_position_embeddings", "mlp_bias", "num_key_value_heads", "pretraining_tp",
                                    "rms_norm_eps", "rope_scaling", "rope_theta", "tie_word_embeddings", "use_cache")}
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32}
    long_yarn = {"factor": 8.0, "original_max_position_embeddings": 256, "rope_type": "yarn"}
    rows = [
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
        ("tied_other_head", llama(tie_word_embeddings=True),
         "tied, but another lm_head is stored: transformers 5 keeps it"),
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
    return folders("llama", [(*row, options.get(row[0], {})) for row in rows])
