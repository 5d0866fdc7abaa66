"""Phi-3, Phi-3.5 and Phi-4."""

from .case import changed, folders, v5, without

SHORT = {"rope_length": 88}  # every id of the greedy path within the original length of 96
LONG = {"rope_length": 24}  # beyond the original length of 16 from the first pass on


def phi3(**changes):
    return changed({"architectures": ["Phi3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32,
                    "initializer_range": 0.02, "intermediate_size": 43, "max_position_embeddings": 128,
                    "model_type": "phi3", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 4,
                    "original_max_position_embeddings": 128, "pad_token_id": 0, "resid_pdrop": 0.0,
                    "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0, "sliding_window": None,
                    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.41.2",
                    "use_cache": True, "vocab_size": 96}, changes)


def factors(pairs, **more):
    """Long and short factors of so many pairs, as uneven as the released ones."""
    return {"long_factor": [round(1.0 + 1.7 * i * i + 0.3 * i, 4) for i in range(pairs)],
            "short_factor": [round(1.0 + 0.13 * i, 4) for i in range(pairs)], "type": "longrope"} | more


def cases():
    minimal = without("attention_bias", "attention_dropout", "embd_pdrop", "hidden_act", "initializer_range",
                      "max_position_embeddings", "num_key_value_heads", "original_max_position_embeddings",
                      "resid_pdrop", "rms_norm_eps", "rope_scaling", "rope_theta", "sliding_window",
                      "tie_word_embeddings", "use_cache")
    long = {"original_max_position_embeddings": 16}  # an eighth of max_position_embeddings
    short = {"original_max_position_embeddings": 96, "max_position_embeddings": 960}
    partial = {"hidden_size": 64, "partial_rotary_factor": 0.75}  # 12 of 16 elements
    return folders("phi3", [
        ("defaults_f32", phi3(**minimal, torch_dtype="float32"), "optional keys absent: MHA, no window, eps 1e-5"),
        ("gqa", phi3(num_key_value_heads=2), "GQA 4:2: the parts of qkv_proj are not of one size"),
        ("mqa_odd_f16", phi3(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, intermediate_size=59,
                             torch_dtype="float16"), "MQA 5:1, odd halves of gate_up_proj"),
        ("null_kv_deep", phi3(num_key_value_heads=None, num_hidden_layers=3), "num_key_value_heads null, three layers"),
        ("window", phi3(sliding_window=8), "a window of 8 in all layers"),
        ("window_one_gqa", phi3(sliding_window=1, num_key_value_heads=2), "a window of 1"),
        ("tied", phi3(tie_word_embeddings=True, vocab_size=101), "tied, odd vocabulary"),
        ("partial", phi3(**partial), "12 of 16 elements rotate"),
        ("sharded", phi3(), "two shards", {"shards": 2}),
        ("default_v5", v5(phi3(), rope_theta=500.0, partial_rotary_factor=0.5), "rope_parameters, half of each head"),
        ("longrope_short", phi3(**short, rope_scaling=factors(4)), "short factors", SHORT),
        ("longrope_long", phi3(**long, rope_scaling=factors(4)), "long factors", LONG),
        ("longrope_at_original", phi3(original_max_position_embeddings=24, max_position_embeddings=192,
                                      rope_scaling=factors(4)), "24 ids at an original length of 24: short factors",
         {"rope_length": 24, "greedy": False}),
        ("longrope_past_original", phi3(original_max_position_embeddings=23, max_position_embeddings=184,
                                        rope_scaling=factors(4)), "24 ids at an original length of 23: long factors",
         LONG),
        ("longrope_su", phi3(**long, rope_scaling=factors(4, type="su") | long, sliding_window=9),
         "label `su`, a window of 9", LONG),
        ("longrope_yarn", phi3(**short, rope_scaling=factors(4, type="yarn")), "label `yarn`, meaning longrope", SHORT),
        ("longrope_factor_v5", v5(phi3(**long, num_key_value_heads=2), **retyped(factors(4, factor=32.0))),
         "rope_parameters with a factor, which beats the ratio of lengths", LONG),
        ("longrope_attention_factor_v5", v5(phi3(**long), **retyped(factors(4, attention_factor=1.7, factor=4.0))),
         "rope_parameters with attention_factor", LONG),
        ("longrope_no_stretch", phi3(original_max_position_embeddings=128, rope_scaling=factors(4)),
         "the lengths are the same: no attention factor", SHORT),
        ("longrope_two_originals_v5", v5(phi3(**long), **retyped(factors(4)), original_max_position_embeddings=96),
         "two original lengths: the top level's wins", LONG),
        ("longrope_default_original_v5", v5(phi3(original_max_position_embeddings=..., max_position_embeddings=32768),
                                            **retyped(factors(4)), original_max_position_embeddings=16),
         "an original length in rope_parameters only: the top level's default of 4096 wins", SHORT),
        ("longrope_partial_tied", phi3(**long, **partial, tie_word_embeddings=True, rope_scaling=factors(6)),
         "long factors of 6 pairs of heads of 16, tied", LONG),
        ("longrope_partial_short_v5", v5(phi3(**short, hidden_size=64), **retyped(factors(6)),
                                         partial_rotary_factor=0.75),
         "short factors of 6 pairs, all in rope_parameters", SHORT),
    ])


def retyped(factors):
    """The same with `rope_type` for `type`."""
    return {"rope_type" if key == "type" else key: value for key, value in factors.items()}
