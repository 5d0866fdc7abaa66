"""OLMo 2."""

from .case import LLAMA3, YARN, changed, folders, v5, without


def olmo2(**changes):
    return changed({"architectures": ["Olmo2ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
                    "intermediate_size": 43, "max_position_embeddings": 128, "model_type": "olmo2",
                    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 4, "pad_token_id": 1,
                    "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 500000, "tie_word_embeddings": False,
                    "torch_dtype": "bfloat16", "transformers_version": "4.47.0", "use_cache": True,
                    "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "hidden_act", "initializer_range",
                      "max_position_embeddings", "num_key_value_heads", "rms_norm_eps", "rope_scaling", "rope_theta",
                      "tie_word_embeddings", "use_cache")
    wide = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return folders("olmo2", [
        ("defaults_f32", olmo2(**minimal, torch_dtype="float32"), "optional keys absent: MHA, eps 1e-5, theta 1e4"),
        ("mha", olmo2(), "MHA, theta whole"),
        ("gqa", olmo2(num_key_value_heads=2), "GQA: the norm of k is shorter than that of q"),
        ("mqa_odd_f16", olmo2(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, intermediate_size=59,
                              torch_dtype="float16"), "MQA 5:1, odd intermediate"),
        ("null_kv_deep", olmo2(num_key_value_heads=None, num_hidden_layers=3),
         "num_key_value_heads null, three layers"),
        ("attention_bias", olmo2(attention_bias=True), "biases on q, k, v and o, before the norms"),
        ("eps_large", olmo2(rms_norm_eps=1e-2), "rms_norm_eps 1e-2, of the q and k norms too"),
        ("tied", olmo2(tie_word_embeddings=True, vocab_size=101), "tied, odd vocabulary"),
        ("sharded", olmo2(), "two shards", {"shards": 2}),
        ("linear_v4", olmo2(rope_scaling={"type": "linear", "factor": 4.0}), "linear"),
        ("yarn_v4", olmo2(**wide, rope_theta=10000.0, rope_scaling=YARN), "yarn"),
        ("llama3_v5", v5(olmo2(**wide), **LLAMA3, rope_theta=500000.0), "llama3"),
        ("dynamic_long", olmo2(max_position_embeddings=16, rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
         "dynamic, 24 ids beyond max_position 16", {"rope_length": 24, "greedy": False}),
    ])
