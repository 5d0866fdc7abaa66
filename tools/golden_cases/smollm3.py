"""SmolLM3."""

from .case import LLAMA3, YARN, changed, folders, v5, without


def smollm3(**changes):
    return changed({"architectures": ["SmolLM3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32,
                    "initializer_range": 0.02, "intermediate_size": 43, "max_position_embeddings": 128,
                    "mlp_bias": False, "model_type": "smollm3", "no_rope_layer_interval": 4, "num_attention_heads": 4,
                    "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 0, "pretraining_tp": 2,
                    "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 10000.0, "sliding_window": None,
                    "torch_dtype": "bfloat16", "transformers_version": "4.54.0", "use_cache": True,
                    "use_sliding_window": False, "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "hidden_act", "initializer_range",
                      "max_position_embeddings", "mlp_bias", "no_rope_layer_interval", "num_key_value_heads",
                      "pretraining_tp", "rms_norm_eps", "rope_scaling", "rope_theta", "sliding_window", "use_cache",
                      "use_sliding_window")
    window = {"use_sliding_window": True, "num_hidden_layers": 3, "no_rope_layers": [1, 0, 1]}
    return folders("smollm3", [
        ("defaults_f32", smollm3(**minimal, num_attention_heads=8, num_hidden_layers=4, torch_dtype="float32"),
         "optional keys absent: layer 3 does not rotate, 4 key-value heads, theta 2e6, tied"),
        ("interval_4", smollm3(num_hidden_layers=5, no_rope_layers=None, hidden_size=24, intermediate_size=27),
         "layer 3 of 5 does not rotate, no_rope_layers null"),
        ("list_and_interval", smollm3(no_rope_layers=[1, 0], no_rope_layer_interval=4),
         "the list says which: layer 1 does not rotate"),
        ("interval_2", smollm3(num_hidden_layers=4, no_rope_layer_interval=2, hidden_size=24, intermediate_size=27),
         "every second layer does not rotate"),
        ("list", smollm3(num_hidden_layers=3, no_rope_layers=[0, 1, 0]), "layers 0 and 2 do not rotate"),
        ("list_of_none", smollm3(no_rope_layers=[0, 0]), "no layer rotates"),
        ("list_longer", smollm3(no_rope_layers=[1, 0, 1, 1]), "a list longer than the model"),
        ("untied_f16", smollm3(tie_word_embeddings=False, no_rope_layers=[0, 1], torch_dtype="float16"),
         "not tied, lm_head stored"),
        ("attention_bias", smollm3(attention_bias=True, no_rope_layers=[1, 1]), "biases on q, k, v and o"),
        ("mlp_bias", smollm3(mlp_bias=True, no_rope_layers=[0, 1]), "biases on gate, up and down"),
        ("null_kv_tied", smollm3(num_key_value_heads=None, tie_word_embeddings=True, vocab_size=101),
         "num_key_value_heads null, tied by flag"),
        ("dead_window", smollm3(sliding_window=8, no_rope_layers=[1, 0]), "a sliding_window that is switched off"),
        ("window", smollm3(**window, sliding_window=8), "a window of 8 in the layer that does not rotate"),
        ("window_layer_types", smollm3(**window, sliding_window=6, layer_types=[
            "sliding_attention", "full_attention", "full_attention"]), "window by layer_types, in a rotating layer"),
        ("layer_types_without_switch", smollm3(**window | {"use_sliding_window": False}, sliding_window=6, layer_types=[
            "sliding_attention", "full_attention", "full_attention"]), "layer_types counts even if switched off"),
        ("linear_v4", smollm3(no_rope_layers=[1, 0], rope_scaling={"type": "linear", "factor": 4.0}), "linear"),
        ("yarn_v5", v5(smollm3(num_attention_heads=2, num_key_value_heads=1, no_rope_layers=[1, 0]), **YARN),
         "yarn, rope_parameters"),
        ("llama3_v4", smollm3(num_attention_heads=2, num_key_value_heads=1, no_rope_layers=[0, 1], rope_theta=5e5,
                              rope_scaling=LLAMA3), "llama3"),
    ])
