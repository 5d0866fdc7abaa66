"""Gemma 2."""

from .case import LLAMA3, WIDE, YARN, changed, folders, v5, without


def gemma2(**changes):
    """Caps and scalar are unlike the released ones: those would hardly show in models as small as this."""
    return changed({"architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "attn_logit_softcapping": 2.0, "bos_token_id": 2, "eos_token_id": 1,
                    "final_logit_softcapping": 1.5, "head_dim": 12, "hidden_act": "gelu_pytorch_tanh",
                    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 32, "initializer_range": 0.02,
                    "intermediate_size": 43, "max_position_embeddings": 128, "model_type": "gemma2",
                    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 0,
                    "query_pre_attn_scalar": 12, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 8,
                    "torch_dtype": "bfloat16", "transformers_version": "4.42.4", "use_cache": True,
                    "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "attn_logit_softcapping", "final_logit_softcapping",
                      "head_dim", "hidden_act", "hidden_activation", "initializer_range", "max_position_embeddings",
                      "query_pre_attn_scalar", "rms_norm_eps", "rope_theta", "sliding_window", "use_cache")
    return folders("gemma2", [
        ("defaults_f32", gemma2(**minimal, hidden_size=16, num_attention_heads=1, num_key_value_heads=1,
                                torch_dtype="float32"),
         "optional keys absent: head_dim 256, caps 50 and 30, scalar 256, a window of 4096"),
        ("heads_absent", gemma2(num_attention_heads=..., num_key_value_heads=..., head_dim=4),
         "numbers of heads absent: 8 and 4"),
        ("window", gemma2(), "a window of 8 in layer 0, both caps"),
        ("window_deep", gemma2(num_hidden_layers=5, sliding_window=5, hidden_size=24, head_dim=6), "windows in layers "
         "0, 2 and 4"),
        ("scalar", gemma2(query_pre_attn_scalar=3, num_attention_heads=2, head_dim=8), "a scalar of 3 for head_dim 8"),
        ("scalar_27b_f16", gemma2(query_pre_attn_scalar=8, head_dim=16, torch_dtype="float16"),
         "a scalar of hidden / heads for head_dim 16"),
        ("no_caps", gemma2(attn_logit_softcapping=None, final_logit_softcapping=None), "both caps null"),
        ("attention_cap_only", gemma2(attn_logit_softcapping=1.0, final_logit_softcapping=None), "no final cap"),
        ("final_cap_only_mqa", gemma2(attn_logit_softcapping=None, final_logit_softcapping=1.2,
                                      num_key_value_heads=1), "no attention cap, MQA"),
        ("layer_types", gemma2(num_hidden_layers=3, sliding_window=6, layer_types=[
            "full_attention", "sliding_attention", "sliding_attention"]), "windows by layer_types"),
        ("attention_bias_mha", gemma2(attention_bias=True, num_key_value_heads=4), "biases on q, k, v and o, MHA"),
        ("untied", gemma2(tie_word_embeddings=False, final_logit_softcapping=3.0), "not tied, lm_head stored"),
        ("yarn_v5", v5(gemma2(**WIDE), **YARN), "yarn, rope_parameters, in windowed layers too"),
        ("llama3_v4", gemma2(**WIDE, rope_theta=500000.0, rope_scaling=LLAMA3), "llama3"),
    ])
