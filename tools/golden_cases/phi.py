"""Phi 1, 1.5 and 2."""

from .case import LLAMA3, YARN, changed, folders, v5, without


def phi(**changes):
    return changed({"architectures": ["PhiForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
                    "embd_pdrop": 0.0, "eos_token_id": 2, "hidden_act": "gelu_new", "hidden_size": 32,
                    "initializer_range": 0.02, "intermediate_size": 67, "layer_norm_eps": 1e-05,
                    "max_position_embeddings": 128, "model_type": "phi", "num_attention_heads": 4,
                    "num_hidden_layers": 2, "num_key_value_heads": 4, "partial_rotary_factor": 0.5,
                    "qk_layernorm": False, "resid_pdrop": 0.0, "rope_scaling": None, "rope_theta": 10000.0,
                    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.37.0",
                    "use_cache": True, "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_dropout", "embd_pdrop", "hidden_act", "initializer_range", "layer_norm_eps",
                      "max_position_embeddings", "num_key_value_heads", "partial_rotary_factor", "qk_layernorm",
                      "resid_pdrop", "rope_scaling", "rope_theta", "tie_word_embeddings", "use_cache")
    wide = {"num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 64}
    return folders("phi", [
        ("defaults_f32", phi(**minimal, torch_dtype="float32"), "optional keys absent: MHA, half of each head rotates"),
        ("half", phi(num_key_value_heads=None), "half of each head rotates, num_key_value_heads null"),
        ("two_fifths", phi(hidden_size=40, partial_rotary_factor=0.4), "4 of 10 elements rotate"),
        ("whole_f16", phi(partial_rotary_factor=1.0, torch_dtype="float16"), "whole heads rotate"),
        ("qk_layernorm", phi(qk_layernorm=True), "LayerNorm with bias on q and k heads"),
        ("qk_layernorm_gqa", phi(qk_layernorm=True, num_key_value_heads=2, partial_rotary_factor=0.25),
         "LayerNorm on q and k heads, GQA, 2 of 8 elements rotate"),
        ("gqa_deep", phi(num_key_value_heads=2, num_hidden_layers=3, hidden_size=36, num_attention_heads=6,
                         partial_rotary_factor=0.4, intermediate_size=59), "GQA 6:2, three layers, 2 of 6 elements"),
        ("mqa", phi(num_key_value_heads=1, vocab_size=101), "MQA, odd vocabulary"),
        ("eps_large", phi(layer_norm_eps=1e-2), "layer_norm_eps 1e-2"),
        ("sharded", phi(), "two shards", {"shards": 2}),
        ("half_v5", v5(phi(partial_rotary_factor=...), partial_rotary_factor=0.5, rope_theta=500.0),
         "partial_rotary_factor in rope_parameters"),
        ("linear_v4", phi(rope_scaling={"type": "linear", "factor": 4.0}), "linear"),
        ("yarn_v4", phi(**wide, rope_scaling=YARN), "yarn over half of each head"),
        ("llama3_v5", v5(phi(**wide, partial_rotary_factor=...), **LLAMA3, rope_theta=500000.0,
                         partial_rotary_factor=0.5),
         "llama3 over half of each head"),
        ("dynamic_long", phi(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
         "dynamic over half of each head, 24 ids beyond max_position 16", {"rope_length": 24, "greedy": False}),
    ])
