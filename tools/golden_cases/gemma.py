"""Gemma 1 and CodeGemma."""

from .case import WIDE, YARN, changed, folders, v5, without


def gemma(**changes):
    return changed({"architectures": ["GemmaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "bos_token_id": 2, "eos_token_id": 1, "head_dim": 12, "hidden_act": "gelu_pytorch_tanh",
                    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 32, "initializer_range": 0.02,
                    "intermediate_size": 43, "max_position_embeddings": 128, "model_type": "gemma",
                    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 0,
                    "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 10000.0, "torch_dtype": "bfloat16",
                    "transformers_version": "4.41.0", "use_cache": True, "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "head_dim", "hidden_act", "hidden_activation",
                      "initializer_range", "max_position_embeddings", "rms_norm_eps", "rope_scaling", "rope_theta",
                      "use_cache")
    return folders("gemma", [
        ("defaults_f32", gemma(**minimal, hidden_size=16, num_attention_heads=1, num_key_value_heads=1,
                               torch_dtype="float32"), "optional keys absent: head_dim 256, tanh, tied"),
        ("kv_heads_absent", gemma(num_attention_heads=16, num_key_value_heads=..., head_dim=2, hidden_size=16),
         "num_key_value_heads absent: 16"),
        ("mqa_2b", gemma(num_key_value_heads=1, head_dim=16, num_attention_heads=2, hidden_act="gelu",
                         hidden_activation=None), "MQA; hidden_act gelu means tanh, hidden_activation null"),
        ("mha_7b_f16", gemma(num_key_value_heads=4, hidden_act="gelu", hidden_activation=..., torch_dtype="float16"),
         "MHA, heads wider than hidden, hidden_act gelu alone"),
        ("hidden_activation_gelu", gemma(hidden_act=..., hidden_activation="gelu"), "hidden_activation is not heard"),
        ("hidden_35", gemma(hidden_size=35, head_dim=6, intermediate_size=59, num_key_value_heads=4),
         "odd hidden: the embedding's factor is no round number"),
        ("attention_bias", gemma(attention_bias=True), "biases on q, k, v and o"),
        ("untied", gemma(tie_word_embeddings=False), "not tied, lm_head stored"),
        ("tied_said", gemma(tie_word_embeddings=True, num_hidden_layers=3), "tied by the flag, three layers"),
        ("tied_copy_of_head", gemma(), "tied by default, and lm_head stored once more", {"extra": "lm_head.weight"}),
        ("linear_v4", gemma(rope_scaling={"type": "linear", "factor": 4.0}), "linear"),
        ("yarn_v5", v5(gemma(**WIDE), **YARN), "yarn, rope_parameters"),
    ])
