"""Qwen3 with a mixture of experts."""

from .case import WIDE, YARN, changed, folders, v5, without

PER_EXPERT = {"layout": "experts"}


def qwen3_moe(**changes):
    return changed({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                    "bos_token_id": 1, "decoder_sparse_step": 1, "eos_token_id": 2, "head_dim": 12,
                    "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 43,
                    "max_position_embeddings": 128, "max_window_layers": 2, "mlp_only_layers": [],
                    "model_type": "qwen3_moe", "moe_intermediate_size": 19, "norm_topk_prob": True,
                    "num_attention_heads": 4, "num_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 2,
                    "num_key_value_heads": 2, "output_router_logits": False, "rms_norm_eps": 1e-06,
                    "rope_scaling": None, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
                    "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
                    "transformers_version": "4.51.0", "use_cache": True, "use_sliding_window": False,
                    "vocab_size": 96}, changes)


def cases():
    minimal = without("attention_bias", "attention_dropout", "decoder_sparse_step", "head_dim", "hidden_act",
                      "initializer_range", "max_position_embeddings", "max_window_layers", "mlp_only_layers",
                      "norm_topk_prob", "num_experts", "num_experts_per_tok", "num_key_value_heads",
                      "output_router_logits", "rms_norm_eps", "rope_scaling", "rope_theta", "router_aux_loss_coef",
                      "sliding_window", "tie_word_embeddings", "use_cache", "use_sliding_window")
    return folders("qwen3_moe", [
        ("defaults_f16", qwen3_moe(**minimal, hidden_size=16, moe_intermediate_size=3, num_hidden_layers=1,
                                   torch_dtype="float16"),
         "optional keys absent: 8 of 128 experts without norm, 4 key-value heads, head_dim as hidden / heads",
         PER_EXPERT),
        ("norm", qwen3_moe(), "the weights of 2 of 4 experts add up to 1", PER_EXPERT),
        ("norm_fused", qwen3_moe(), "the same with fused tensors"),
        ("no_norm", qwen3_moe(norm_topk_prob=False), "weights as the softmax over all gives them", PER_EXPERT),
        ("no_norm_fused_v5", v5(qwen3_moe(norm_topk_prob=False, num_experts=5, num_experts_per_tok=3)),
         "3 of 5 experts without norm, fused tensors, rope_parameters"),
        ("top1_norm_f32", qwen3_moe(num_experts_per_tok=1, num_experts=3, torch_dtype="float32"),
         "1 of 3 experts, its weight 1", PER_EXPERT),
        ("top1_no_norm", qwen3_moe(num_experts_per_tok=1, norm_topk_prob=False), "1 of 4 experts, its weight below 1",
         PER_EXPERT),
        ("num_local_experts", qwen3_moe(num_experts=..., num_local_experts=3),
         "the count of experts by its other name", PER_EXPERT),
        ("mlp_only_layers", qwen3_moe(num_hidden_layers=3, mlp_only_layers=[0, 2]), "layers 0 and 2 are dense",
         PER_EXPERT),
        ("sparse_step_2", qwen3_moe(num_hidden_layers=3, decoder_sparse_step=2), "only layer 1 has experts",
         PER_EXPERT),
        ("sparse_step_and_mlp_only", qwen3_moe(num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1],
                                               hidden_size=24, head_dim=6),
         "of layers 1 and 3 the first is dense after all", PER_EXPERT),
        ("all_dense", qwen3_moe(mlp_only_layers=[0, 1]), "no layer has experts"),
        ("attention_bias", qwen3_moe(attention_bias=True), "biases on q, k, v and o", PER_EXPERT),
        ("window", qwen3_moe(use_sliding_window=True, sliding_window=8, max_window_layers=2),
         "a window of 8 in all layers: max_window_layers is not heard", PER_EXPERT),
        ("dead_window", qwen3_moe(sliding_window=8), "a sliding_window that is switched off", PER_EXPERT),
        ("tied_mqa", qwen3_moe(tie_word_embeddings=True, num_key_value_heads=1), "tied, MQA", PER_EXPERT),
        ("yarn_v4", qwen3_moe(**WIDE, rope_theta=10000.0, rope_scaling=YARN), "yarn", PER_EXPERT),
    ])
