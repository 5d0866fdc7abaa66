"""Granite 3, the dense ones."""

from .case import LLAMA3, YARN, changed, folders, v5, without


def granite(**changes):
    return changed({"architectures": ["GraniteForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "attention_multiplier": 0.21, "bos_token_id": 0, "embedding_multiplier": 7.3, "eos_token_id": 0,
                    "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 43,
                    "logits_scaling": 5.6, "max_position_embeddings": 128, "mlp_bias": False, "model_type": "granite",
                    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 0,
                    "residual_multiplier": 0.61, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0,
                    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.46.0",
                    "use_cache": True, "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "attention_multiplier", "embedding_multiplier",
                      "hidden_act", "initializer_range", "logits_scaling", "max_position_embeddings", "mlp_bias",
                      "num_key_value_heads", "residual_multiplier", "rms_norm_eps", "rope_scaling", "rope_theta",
                      "tie_word_embeddings", "use_cache")
    wide = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return folders("granite", [
        ("defaults_f32", granite(**minimal, torch_dtype="float32"),
         "optional keys absent: every multiplier 1, so attention is not scaled; eps 1e-6"),
        ("multipliers", granite(), "four multipliers"),
        ("attention_multiplier", granite(**without("embedding_multiplier", "logits_scaling", "residual_multiplier")),
         "attention_multiplier alone"),
        ("embedding_multiplier", granite(**without("logits_scaling", "residual_multiplier"), attention_multiplier=0.35),
         "embedding_multiplier, the residual ones absent"),
        ("residual_multiplier_f16", granite(embedding_multiplier=1, residual_multiplier=0.22, logits_scaling=1,
                                            torch_dtype="float16"), "whole multipliers of 1, residual_multiplier 0.22"),
        ("logits_scaling", granite(logits_scaling=16, embedding_multiplier=12, num_hidden_layers=3),
         "whole multipliers, three layers"),
        ("attention_bias", granite(attention_bias=True), "biases on q, k, v and o"),
        ("mlp_bias", granite(mlp_bias=True), "biases on gate, up and down"),
        ("tied", granite(tie_word_embeddings=True, vocab_size=101, embedding_multiplier=3.0), "tied, odd vocabulary"),
        ("mqa_odd", granite(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, intermediate_size=59),
         "MQA 5:1, odd intermediate"),
        ("null_kv", granite(num_key_value_heads=None), "num_key_value_heads null"),
        ("sharded", granite(), "two shards", {"shards": 2}),
        ("linear_v4", granite(rope_scaling={"type": "linear", "factor": 4.0}), "linear"),
        ("yarn_v5", v5(granite(**wide), **YARN), "yarn, rope_parameters"),
        ("llama3_v4", granite(**wide, rope_theta=500000.0, rope_scaling=LLAMA3), "llama3"),
        ("dynamic_long", granite(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
         "dynamic, 24 ids beyond max_position 16", {"rope_length": 24, "greedy": False}),
    ])
