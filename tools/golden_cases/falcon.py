"""Falcon 7B, 40B, 180B, 11B and what came before them."""

from .case import YARN, changed, folders, v5, without


def falcon(**changes):
    """Like the 7B model: one key-value head, attention beside the feed-forward part, one norm."""
    return changed({"alibi": False, "architectures": ["FalconForCausalLM"], "attention_dropout": 0.0, "bias": False,
                    "bos_token_id": 11, "eos_token_id": 11, "hidden_dropout": 0.0, "hidden_size": 32,
                    "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "falcon",
                    "multi_query": True, "new_decoder_architecture": False, "num_attention_heads": 4,
                    "num_hidden_layers": 2, "num_kv_heads": 4, "parallel_attn": True, "torch_dtype": "bfloat16",
                    "transformers_version": "4.27.4", "use_cache": True, "vocab_size": 96}, changes)


def falcon40(**changes):
    return falcon(**{"new_decoder_architecture": True, "num_attention_heads": 8, "num_kv_heads": 2} | changes)


def cases():
    minimal = without("alibi", "attention_dropout", "bias", "hidden_dropout", "initializer_range",
                      "layer_norm_epsilon", "multi_query", "new_decoder_architecture", "num_kv_heads", "parallel_attn",
                      "use_cache")
    old = {"multi_query": False, "num_kv_heads": ...}
    return folders("falcon", [
        ("defaults_f32", falcon(**minimal, torch_dtype="float32"), "optional keys absent: as 7B, tied"),
        ("7b", falcon(), "num_kv_heads 4 is not heard: one key-value head; tied by default"),
        ("7b_copy_of_head", falcon(), "tied by default, and lm_head stored once more", {"extra": "lm_head.weight"}),
        ("7b_untied_f16", falcon(tie_word_embeddings=False, torch_dtype="float16"), "not tied, lm_head stored"),
        ("7b_odd", falcon(hidden_size=40, num_attention_heads=5, num_hidden_layers=3, vocab_size=101),
         "five heads, three layers, odd vocabulary"),
        ("7b_ffn", falcon(ffn_hidden_size=59), "ffn_hidden_size 59"),
        ("7b_bias", falcon(bias=True), "biases on all four matrices"),
        ("7b_eps", falcon(layer_norm_epsilon=1e-2, tie_word_embeddings=True), "layer_norm_epsilon 1e-2, tied by flag"),
        ("sequential", falcon(parallel_attn=False), "feed-forward part after attention, its own norm"),
        ("per_head", falcon(**old), "q, k and v of each head together, num_kv_heads absent"),
        ("per_head_sequential_bias", falcon(**old, parallel_attn=False, bias=True),
         "q, k and v of each head together, sequential, biases"),
        ("40b", falcon40(), "two groups of 4 heads, two norms"),
        ("40b_untied", falcon40(tie_word_embeddings=False, num_attention_heads=6, hidden_size=36, num_kv_heads=3),
         "three groups of 2 heads, not tied"),
        ("40b_bias_flags", falcon40(bias=True, multi_query=False), "biases; multi_query is not heard"),
        ("40b_mha", falcon40(num_kv_heads=..., num_attention_heads=4), "num_kv_heads absent: a group for each head"),
        ("40b_one_group", falcon40(num_kv_heads=1, num_ln_in_parallel_attn=2), "one group, two norms by key"),
        ("11b", falcon40(num_ln_in_parallel_attn=1, ffn_hidden_size=67), "two groups, one norm"),
        ("11b_untied_bias", falcon40(num_ln_in_parallel_attn=1, bias=True, tie_word_embeddings=False),
         "two groups, one norm, biases, not tied"),
        ("alibi_rw", falcon(**old, alibi=True, parallel_attn=False, bias=True), "alibi, sequential, per head, biases"),
        ("alibi_7b_odd", falcon(alibi=True, num_attention_heads=6, hidden_size=36), "alibi with 6 heads, one key head"),
        ("alibi_40b", falcon40(alibi=True, num_attention_heads=12, hidden_size=48, num_kv_heads=4),
         "alibi with 12 heads in 4 groups"),
        ("alibi_one_head", falcon(alibi=True, num_attention_heads=1, hidden_size=16), "alibi with one head"),
        ("alibi_far", falcon(alibi=True, num_hidden_layers=1, vocab_size=24),
         "alibi at key positions that bfloat16 does not hold", {"prompt": 300, "greedy": False}),
        ("linear_v4", falcon(rope_scaling={"type": "linear", "factor": 4.0}, rope_theta=500.0), "linear"),
        ("yarn_v5", v5(falcon40(hidden_size=64, num_attention_heads=4), **YARN), "yarn, rope_parameters"),
        ("dynamic_long", falcon(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
         "dynamic, 24 ids beyond max_position 16", {"rope_length": 24, "greedy": False}),
    ])
