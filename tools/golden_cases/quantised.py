"""Quantised GGUF files."""

from .case import Case
from .gemma2 import gemma2
from .gguf import files
from .llama import llama
from .mixtral import mixtral
from .phi3 import phi3
from .qwen2 import qwen2


def whole_blocks():
    """Every format, in rows of whole blocks but for some that fall back."""
    small = {"hidden_size": 96, "intermediate_size": 64, "num_attention_heads": 3, "num_hidden_layers": 1,
             "num_key_value_heads": 1, "vocab_size": 64}
    for weights in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4"):
        yield Case("gguf_llama_" + weights, "llama", llama(**small), "rows of three blocks", weights=weights, gguf={})
        yield Case("gguf_qwen2_" + weights, "qwen2", qwen2(**small, tie_word_embeddings=True), "tied, biases F32",
                   weights=weights, gguf={})
    wide = {"hidden_size": 512, "head_dim": 16, "intermediate_size": 32, "num_attention_heads": 2,
            "num_hidden_layers": 1, "num_key_value_heads": 1, "vocab_size": 40}
    square = {"hidden_size": 256, "intermediate_size": 32, "num_attention_heads": 32, "num_hidden_layers": 1,
              "num_key_value_heads": 1, "vocab_size": 32, "tie_word_embeddings": True}
    for weights in ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs"):
        yield Case("gguf_llama_" + weights, "llama", llama(**wide), "rows of two blocks; o and down in the 32-element "
                   "format that the quantiser takes for short rows", weights=weights, gguf={})
        yield Case("gguf_qwen2_" + weights, "qwen2", qwen2(**square), "tied, biases F32, rows of one block; down in a "
                   "32-element format", weights=weights, gguf={})


def awkward():
    """Rows that are no multiple of 256, and some no multiple of 32: the quantiser takes other formats for them."""
    experts = {"hidden_size": 64, "intermediate_size": 40, "num_hidden_layers": 1, "vocab_size": 48}
    sandwich = {"head_dim": 20, "intermediate_size": 72, "num_attention_heads": 2, "query_pre_attn_scalar": 20}
    fused = {"hidden_size": 64, "intermediate_size": 52, "num_hidden_layers": 1, "vocab_size": 48}
    narrow = fused | {"hidden_size": 48}
    return files([
        ("mixtral_q4_k_awkward", "q4_k", mixtral(**experts), {}, "rows of 64: Q5_0; of 40: F16"),
        ("mixtral_q3_k_awkward", "q3_k", mixtral(**experts, num_local_experts=3), {}, "rows of 64: IQ4_NL; of 40: F16"),
        ("mixtral_q4_k", "q4_k", mixtral(hidden_size=256, intermediate_size=32, num_attention_heads=8, head_dim=8,
                                         num_local_experts=3, num_hidden_layers=1, vocab_size=24), {},
         "experts in rows of 256, down in the format for short rows"),
        ("gemma2_q6_k_awkward", "q6_k", gemma2(**sandwich), {}, "rows of 32: Q8_0; of 40 and 72: F16"),
        ("gemma2_q5_k_awkward", "q5_k", gemma2(**sandwich), {}, "rows of 32: Q5_1; of 40 and 72: F16"),
        ("phi3_q2_k_awkward", "q2_k", phi3(**fused), {}, "rows of 64: IQ4_NL; of 52: F16"),
        ("phi3_q5_k_awkward", "q5_k", phi3(**fused), {}, "rows of 64: Q5_1; of 52: F16"),
        ("phi3_iq4_xs_awkward", "iq4_xs", phi3(**narrow), {}, "rows of 48 and 52: all F16"),
    ])


def cases():
    yield from whole_blocks()
    yield from awkward()
