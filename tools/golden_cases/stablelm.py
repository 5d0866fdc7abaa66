"""StableLM 3B, Zephyr, StableLM 2."""

from .case import LLAMA3, YARN, changed, folders, v5, without


def stablelm(**changes):
    return changed({"architectures": ["StableLmForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 0,
                    "eos_token_id": 0, "hidden_act": "silu", "hidden_dropout": 0.0, "hidden_size": 32,
                    "initializer_range": 0.02, "intermediate_size": 43, "layer_norm_eps": 1e-05,
                    "max_position_embeddings": 128, "model_type": "stablelm", "num_attention_heads": 4,
                    "num_hidden_layers": 2, "num_key_value_heads": 4, "partial_rotary_factor": 0.25,
                    "qk_layernorm": False, "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
                    "torch_dtype": "bfloat16", "transformers_version": "4.40.0", "use_cache": True,
                    "use_parallel_residual": False, "use_qkv_bias": False, "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_dropout", "hidden_act", "hidden_dropout", "initializer_range", "layer_norm_eps",
                      "max_position_embeddings", "partial_rotary_factor", "qk_layernorm", "rope_scaling", "rope_theta",
                      "tie_word_embeddings", "use_cache", "use_parallel_residual", "use_qkv_bias")
    wide = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "partial_rotary_factor": 0.5}
    return folders("stablelm", [
        ("defaults_f32", stablelm(**minimal, torch_dtype="float32"), "optional keys absent: a quarter rotates"),
        ("kv_heads_absent", stablelm(num_attention_heads=32, num_key_value_heads=..., hidden_size=64,
                                     partial_rotary_factor=1.0, vocab_size=48), "num_key_value_heads absent: 32"),
        ("sequential", stablelm(hidden_size=64, num_hidden_layers=1), "4 of 16 elements rotate"),
        ("parallel", stablelm(use_parallel_residual=True), "attention beside the feed-forward part, one norm"),
        ("qkv_bias_f16", stablelm(use_qkv_bias=True, torch_dtype="float16"), "biases on q, k and v, none on o"),
        ("gqa_deep", stablelm(num_key_value_heads=2, num_hidden_layers=3, hidden_size=36, num_attention_heads=6,
                              partial_rotary_factor=0.7, intermediate_size=59), "GQA 6:2, 4 of 6 elements rotate"),
        ("mqa_parallel_bias", stablelm(num_key_value_heads=1, use_parallel_residual=True, use_qkv_bias=True),
         "MQA, parallel, biases"),
        ("qk_layernorm", stablelm(qk_layernorm=True), "a LayerNorm for each head of q and k"),
        ("qk_layernorm_12b", stablelm(qk_layernorm=True, use_parallel_residual=True, num_key_value_heads=2),
         "a LayerNorm for each head, parallel, GQA"),
        ("whole_rotary", stablelm(partial_rotary_factor=1.0), "whole heads rotate"),
        ("tied", stablelm(tie_word_embeddings=True, vocab_size=101), "tied, odd vocabulary"),
        ("eps_large", stablelm(layer_norm_eps=1e-2, qk_layernorm=True), "layer_norm_eps 1e-2, of the head norms too"),
        ("sharded", stablelm(qk_layernorm=True), "two shards", {"shards": 2}),
        ("half_v5", v5(stablelm(partial_rotary_factor=...), partial_rotary_factor=0.5, rope_theta=500.0),
         "partial_rotary_factor in rope_parameters"),
        ("linear_v4", stablelm(rope_scaling={"type": "linear", "factor": 4.0}, partial_rotary_factor=0.5), "linear"),
        ("yarn_v4", stablelm(**wide, rope_scaling=YARN), "yarn over half of each head"),
        ("llama3_v4", stablelm(**wide, rope_theta=500000.0, rope_scaling=LLAMA3), "llama3 over half of each head"),
        ("dynamic_long", stablelm(max_position_embeddings=16, rope_scaling={"type": "dynamic", "factor": 2.0},
                                  partial_rotary_factor=0.5), "dynamic, 24 ids beyond max_position 16",
         {"rope_length": 24, "greedy": False}),
    ])
