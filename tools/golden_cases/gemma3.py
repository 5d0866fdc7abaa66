"""Gemma 3, its text models and the text part of the others."""

from .case import YARN, changed, folders, v5, without


def gemma3(**changes):
    return changed({"architectures": ["Gemma3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "attn_logit_softcapping": None, "bos_token_id": 2, "eos_token_id": [1, 106],
                    "final_logit_softcapping": None, "head_dim": 12, "hidden_activation": "gelu_pytorch_tanh",
                    "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 43,
                    "max_position_embeddings": 128, "model_type": "gemma3_text", "num_attention_heads": 4,
                    "num_hidden_layers": 3, "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 12,
                    "rms_norm_eps": 1e-06, "rope_local_base_freq": 100.0, "rope_scaling": None,
                    "rope_theta": 10000.0, "sliding_window": 8, "sliding_window_pattern": 3,
                    "torch_dtype": "bfloat16", "transformers_version": "4.50.0", "use_cache": True,
                    "vocab_size": 96}, changes)


def wrapped(text, **top):
    """The configuration of a model with a part for images, which is as small as it can be."""
    vision = {"hidden_size": 4, "image_size": 28, "intermediate_size": 4, "model_type": "siglip_vision_model",
              "num_attention_heads": 1, "num_hidden_layers": 1, "patch_size": 14, "vision_use_head": False}
    return {"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 90, "eoi_token_index": 91,
            "eos_token_id": [1, 106], "image_token_index": 95, "initializer_range": 0.02, "mm_tokens_per_image": 4,
            "model_type": "gemma3", "text_config": text, "torch_dtype": "bfloat16",
            "transformers_version": "4.50.0", "vision_config": vision} | top


def cases():
    minimal = without("attention_bias", "attention_dropout", "attn_logit_softcapping", "final_logit_softcapping",
                      "head_dim", "hidden_activation", "initializer_range", "max_position_embeddings",
                      "query_pre_attn_scalar", "rms_norm_eps", "rope_local_base_freq", "rope_scaling", "rope_theta",
                      "sliding_window", "sliding_window_pattern", "use_cache")
    new = without("rope_local_base_freq", "sliding_window_pattern")
    layers = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    sparse = {"head_dim": 8, "hidden_size": 32, "intermediate_size": 43, "model_type": "gemma3_text",
              "num_hidden_layers": 2, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 8,
              "vocab_size": 96}

    def nested(config, full, sliding):
        return v5(config) | {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}

    plain, local = {"rope_theta": 20000.0, "rope_type": "default"}, {"rope_theta": 300.0, "rope_type": "default"}
    return folders("gemma3_text", [
        ("defaults_f32", gemma3(**minimal, hidden_size=8, num_attention_heads=1, num_hidden_layers=6,
                                torch_dtype="float32"),
         "optional keys absent: the sixth layer is global, head_dim 256"),
        ("heads_absent", gemma3(num_attention_heads=..., num_key_value_heads=..., head_dim=4),
         "numbers of heads absent: 8 and 4"),
        ("pattern_absent", gemma3(sliding_window_pattern=..., num_hidden_layers=7, hidden_size=16, head_dim=6,
                                  num_attention_heads=2), "layer 5 of 7 is global"),
        ("pattern_3", gemma3(), "the third layer is global, both bases, a window of 8"),
        ("pattern_2_f16", gemma3(sliding_window_pattern=2, sliding_window=5, torch_dtype="float16"),
         "every second layer is global, a window of 5"),
        ("pattern_1", gemma3(sliding_window_pattern=1), "all layers are global"),
        ("layer_types", gemma3(**layers, sliding_window_pattern=...), "windows by layer_types"),
        ("all_sliding", gemma3(layer_types=["sliding_attention"] * 3), "all layers have the window"),
        ("scalar", gemma3(query_pre_attn_scalar=5, num_key_value_heads=2), "a scalar of 5 for head_dim 12"),
        ("final_cap", gemma3(final_logit_softcapping=0.5), "a cap on the logits"),
        ("attention_cap", gemma3(attn_logit_softcapping=2.0), "attn_logit_softcapping is not heard"),
        ("attention_bias", gemma3(attention_bias=True), "biases on q, k, v and o"),
        ("untied", gemma3(tie_word_embeddings=False), "not tied, lm_head stored"),
        ("linear_v4", gemma3(rope_scaling={"factor": 8.0, "rope_type": "linear"}), "linear in the global layer only"),
        ("linear_v4_type", gemma3(rope_scaling={"factor": 4.0, "type": "linear"}), "linear, key `type`"),
        ("rope_v5", nested(gemma3(**new, **layers), plain, local), "rope_parameters by kind of layer"),
        ("linear_v5", nested(gemma3(**new, **layers), plain | {"factor": 8.0, "rope_type": "linear"}, local),
         "rope_parameters by kind of layer, linear in the global one"),
        ("yarn_v5", nested(gemma3(**new, **layers, head_dim=16), plain | YARN, local),
         "yarn in the global layer"),
        ("local_linear_v5", nested(gemma3(**new, **layers), plain, local | {"factor": 4.0, "rope_type": "linear"}),
         "linear in the windowed layers"),
        ("one_kind_v5", nested(gemma3(**new, **layers), plain, None), "no parameters for windowed layers: base 10000"),
        ("wrapped", wrapped(gemma3(torch_dtype=...)), "text part, prefix language_model.model",
         {"layout": "language_model.model"}),
        ("wrapped_v5", wrapped(nested(gemma3(**new, **layers), plain | {"factor": 8.0, "rope_type": "linear"}, local)),
         "text part, prefix model.language_model", {"layout": "model.language_model"}),
        ("wrapped_sparse", wrapped(sparse), "text part whose heads, bases, scalar and pattern are the class's",
         {"layout": "language_model.model"}),
    ])
