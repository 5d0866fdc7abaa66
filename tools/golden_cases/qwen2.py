"""Qwen1.5, Qwen2 and Qwen2.5."""

from .case import LLAMA3, WIDE, changed, folders, v5


def qwen2(**changes):
    return changed({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
                    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
                    "intermediate_size": 43, "max_position_embeddings": 128, "max_window_layers": 2,
                    "model_type": "qwen2", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
                    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 128, "tie_word_embeddings": False,
                    "torch_dtype": "bfloat16", "transformers_version": "4.46.3", "use_cache": True,
                    "use_sliding_window": False, "vocab_size": 96}, changes)


def cases():
    minimal = {key: ... for key in ("attention_dropout", "hidden_act", "initializer_range", "max_position_embeddings",
                                    "max_window_layers", "rms_norm_eps", "rope_theta", "sliding_window",
                                    "tie_word_embeddings", "use_cache", "use_sliding_window")}
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32}
    window = {"use_sliding_window": True, "num_hidden_layers": 3}
    rows = [
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
    return folders("qwen2", [(*row, options.get(row[0], {})) for row in rows])
