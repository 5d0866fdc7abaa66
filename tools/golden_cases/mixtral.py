"""Mixtral 8x7B and 8x22B."""

from .case import WIDE, YARN, changed, folders, v5, without

PER_EXPERT = {"layout": "block_sparse_moe"}


def mixtral(**changes):
    return changed({"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
                    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
                    "intermediate_size": 19, "max_position_embeddings": 128, "model_type": "mixtral",
                    "num_attention_heads": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2,
                    "num_key_value_heads": 2, "num_local_experts": 4, "output_router_logits": False,
                    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
                    "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
                    "transformers_version": "4.36.0", "use_cache": True, "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_dropout", "hidden_act", "initializer_range", "max_position_embeddings",
                      "num_experts_per_tok", "num_key_value_heads", "num_local_experts", "output_router_logits",
                      "rms_norm_eps", "rope_theta", "router_aux_loss_coef", "sliding_window", "tie_word_embeddings",
                      "use_cache")
    return folders("mixtral", [
        ("defaults_f32", mixtral(**minimal, num_attention_heads=16, intermediate_size=8, torch_dtype="float32"),
         "optional keys absent: 2 of 8 experts, 8 key-value heads, eps 1e-5, theta 1e6", PER_EXPERT),
        ("top2_of_4", mixtral(), "2 of 4 experts, a tensor for each", PER_EXPERT),
        ("top2_of_4_fused", mixtral(), "2 of 4 experts, fused tensors"),
        ("top2_of_5_fused_v5", v5(mixtral(num_local_experts=5)), "2 of 5 experts, fused tensors, rope_parameters"),
        ("num_experts", mixtral(num_local_experts=..., num_experts=3), "the count of experts by its newer name",
         PER_EXPERT),
        ("top1_of_3_f16", mixtral(num_local_experts=3, num_experts_per_tok=1, torch_dtype="float16"),
         "1 of 3 experts: its weight is 1", PER_EXPERT),
        ("top3_of_5", mixtral(num_local_experts=5, num_experts_per_tok=3, intermediate_size=11),
         "3 of 5 experts, odd intermediate", PER_EXPERT),
        ("all_of_3", mixtral(num_local_experts=3, num_experts_per_tok=3), "every expert takes part", PER_EXPERT),
        ("one_expert", mixtral(num_local_experts=1, num_experts_per_tok=1), "one expert: its router decides nothing",
         PER_EXPERT | {"idle": ("mlp.gate.weight",)}),
        ("window", mixtral(sliding_window=8), "a window of 8", PER_EXPERT),
        ("head_dim_mqa", mixtral(head_dim=12, num_key_value_heads=1), "head_dim 12, MQA", PER_EXPERT),
        ("tied_deep", mixtral(tie_word_embeddings=True, num_hidden_layers=3, num_key_value_heads=4),
         "tied, three layers, MHA", PER_EXPERT),
        ("sharded", mixtral(), "three shards, experts of a layer spread over them", PER_EXPERT | {"shards": 3}),
        ("linear_v4", mixtral(rope_scaling={"type": "linear", "factor": 2.0}), "linear", PER_EXPERT),
        ("yarn_v5", v5(mixtral(**WIDE), **YARN), "yarn, rope_parameters, fused tensors"),
    ])
