"""Qwen3, the dense ones."""

from .case import LLAMA3, WIDE, YARN, changed, folders, v5, without


def qwen3(**changes):
    return changed({"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "bos_token_id": 1, "eos_token_id": 2, "head_dim": 12, "hidden_act": "silu", "hidden_size": 32,
                    "initializer_range": 0.02, "intermediate_size": 43, "max_position_embeddings": 128,
                    "max_window_layers": 2, "model_type": "qwen3", "num_attention_heads": 4, "num_hidden_layers": 2,
                    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000.0,
                    "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
                    "transformers_version": "4.51.0", "use_cache": True, "use_sliding_window": False,
                    "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "head_dim", "hidden_act", "initializer_range",
                      "max_position_embeddings", "max_window_layers", "rms_norm_eps", "rope_scaling", "rope_theta",
                      "sliding_window", "tie_word_embeddings", "use_cache", "use_sliding_window")
    window = {"use_sliding_window": True, "num_hidden_layers": 3}
    return folders("qwen3", [
        ("defaults_f32", qwen3(**minimal, num_attention_heads=1, num_key_value_heads=1, torch_dtype="float32"),
         "optional keys absent: head_dim 128, eps 1e-6, theta 1e4"),
        ("kv_heads_absent", qwen3(num_attention_heads=32, num_key_value_heads=..., head_dim=4, hidden_size=16),
         "num_key_value_heads absent: 32"),
        ("head_dim_wide", qwen3(), "heads together wider than hidden: 48 of 32"),
        ("head_dim_narrow", qwen3(hidden_size=48, head_dim=6, num_key_value_heads=4),
         "heads narrower than hidden, MHA"),
        ("attention_bias", qwen3(attention_bias=True), "biases on q, k, v and o"),
        ("mqa_f16", qwen3(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, head_dim=8,
                          intermediate_size=59, torch_dtype="float16"), "MQA 5:1, head_dim as hidden / heads"),
        ("eps_large", qwen3(rms_norm_eps=1e-2), "rms_norm_eps 1e-2, of the q and k norms too"),
        ("tied", qwen3(tie_word_embeddings=True, vocab_size=101), "tied, odd vocabulary"),
        ("dead_window", qwen3(sliding_window=8, max_window_layers=0), "a sliding_window that is switched off"),
        ("window", qwen3(**window, sliding_window=8, max_window_layers=1), "a window of 8 from layer 1 on"),
        ("window_default_layers", qwen3(**window, sliding_window=5, max_window_layers=...),
         "max_window_layers absent: 28, no layer has the window"),
        ("window_layer_types_v5", v5(qwen3(**window, sliding_window=6, layer_types=[
            "sliding_attention", "full_attention", "sliding_attention"])), "window by layer_types"),
        ("sharded_tied", qwen3(tie_word_embeddings=True), "two shards", {"shards": 2}),
        ("yarn_v4", qwen3(**WIDE, rope_theta=10000.0, rope_scaling=YARN), "yarn"),
        ("yarn_attention_factor_v5", v5(qwen3(**WIDE), **YARN, attention_factor=1.5), "yarn with attention_factor"),
        ("llama3_v5", v5(qwen3(**WIDE), **LLAMA3, rope_theta=500000.0), "llama3"),
        ("linear_v4", qwen3(rope_scaling={"rope_type": "linear", "factor": 3.0}), "linear"),
        ("dynamic_long", qwen3(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
         "dynamic, 24 ids beyond max_position 16", {"rope_length": 24, "greedy": False}),
    ])
