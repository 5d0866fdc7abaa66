"""Mistral 7B v0.1 to v0.3 and Nemo."""

from .case import LLAMA3, WIDE, YARN, changed, folders, v5, without


def mistral(**changes):
    return changed({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
                    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
                    "intermediate_size": 43, "max_position_embeddings": 128, "model_type": "mistral",
                    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
                    "rope_theta": 10000.0, "sliding_window": None, "tie_word_embeddings": False,
                    "torch_dtype": "bfloat16", "transformers_version": "4.42.0", "use_cache": True,
                    "vocab_size": 96}, changes)


ALONE = ("q_proj.weight", "k_proj.weight")  # nothing to choose from


def cases():
    minimal = without("attention_dropout", "hidden_act", "initializer_range", "max_position_embeddings",
                      "num_key_value_heads", "rms_norm_eps", "rope_theta", "sliding_window", "tie_word_embeddings",
                      "use_cache")
    return folders("mistral", [
        ("defaults_f32", mistral(**minimal, num_attention_heads=16, torch_dtype="float32"),
         "optional keys absent: 8 key-value heads, eps 1e-6, a window of 4096"),
        ("window_absent", mistral(sliding_window=...), "sliding_window absent: 4096"),
        ("window_null_f16", mistral(rope_theta=1000000.0, torch_dtype="float16"), "sliding_window null: none"),
        ("window", mistral(sliding_window=8), "a window of 8 in all layers"),
        ("window_odd_deep", mistral(sliding_window=5, num_hidden_layers=3, hidden_size=36, num_attention_heads=6,
                                    intermediate_size=59), "a window of 5, three layers, head_dim 6"),
        ("window_one", mistral(sliding_window=1), "a window of 1: itself only", {"idle": ALONE}),
        ("window_as_prompt", mistral(sliding_window=24, num_key_value_heads=1), "a window as long as the prompt, MQA"),
        ("nemo", mistral(head_dim=12, rope_theta=1000000.0), "head_dim 12, not hidden / heads"),
        ("nemo_narrow_window", mistral(hidden_size=48, head_dim=6, sliding_window=7, num_key_value_heads=4),
         "heads together narrower than hidden, MHA, a window of 7"),
        ("tied", mistral(tie_word_embeddings=True, vocab_size=101), "tied, odd vocabulary"),
        ("sharded_window", mistral(sliding_window=6), "two shards, a window of 6", {"shards": 2}),
        ("linear_v4", mistral(rope_scaling={"type": "linear", "factor": 4.0}), "linear, key `type`"),
        ("llama3_v5", v5(mistral(**WIDE), **LLAMA3, rope_theta=500000.0), "llama3, rope_parameters"),
        ("yarn_window_v5", v5(mistral(**WIDE, sliding_window=9), **YARN), "yarn, rope_parameters, a window of 9"),
        ("yarn_v4", mistral(**WIDE, rope_scaling=YARN), "yarn"),
        ("dynamic_long", mistral(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
         "dynamic, 24 ids beyond max_position 16", {"rope_length": 24, "greedy": False}),
    ])
