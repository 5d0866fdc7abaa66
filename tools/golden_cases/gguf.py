"""GGUF files in F32, F16 and BF16, as llama.cpp's converter writes them."""

from .case import LLAMA3, WIDE, YARN, Case
from .falcon import falcon, falcon40
from .gemma import gemma
from .gemma2 import gemma2
from .gemma3 import gemma3
from .granite import granite
from .llama import llama
from .mistral import mistral
from .mixtral import mixtral
from .olmo2 import olmo2
from .phi import phi
from .phi3 import factors, phi3
from .qwen2 import qwen2
from .qwen3 import qwen3
from .qwen3_moe import qwen3_moe
from .smollm3 import smollm3
from .stablelm import stablelm

LINEAR_KEYS = {"ARCH.rope.scaling.type": "linear", "ARCH.rope.scaling.factor": 4.0}
YARN_KEYS = {"ARCH.rope.scaling.type": "yarn", "ARCH.rope.scaling.factor": 8.0,
             "ARCH.rope.scaling.original_context_length": 256}
FUSED = {"layout": "attn_qkv"}  # q, k and v in one tensor, as some converters write any family
PER_EXPERT = {"layout": "experts"}  # as early files of Mixtral


def files(rows):
    """The cases of files, from rows of name, format, configuration, further keys, note and, where there are any,
    further fields. A further key of `...` takes out what the converter would write."""
    for name, weights, config, keys, note, *fields in rows:
        yield Case("gguf_" + name, config["model_type"], config, note, weights=weights, gguf=keys,
                   **(fields[0] if fields else {}))


def of_llama_and_qwen2():
    yarn = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 256}
    keys = {"ARCH.rope.scaling.type": "yarn", "ARCH.rope.scaling.factor": 8.0,
            "ARCH.rope.scaling.original_context_length": 256}
    tokens = [chr(c) for c in range(33, 127)] + ["th", "in"]
    vocabulary = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2", "tokenizer.ggml.tokens": tokens,
                  "tokenizer.ggml.token_type": [1] * len(tokens), "tokenizer.ggml.merges": ["t h", "i n"]}
    cases = [
        ("llama", "f32", llama(), {}, "q and k rows interleaved"),
        ("llama_mqa_odd", "f16", llama(hidden_size=40, num_attention_heads=5, num_key_value_heads=1,
                                       intermediate_size=59), {}, "MQA, odd feed-forward"),
        ("llama_split", "bf16", llama(rope_theta=500000.0), {}, "split over three files"),
        ("llama_biases_tied", "f32", llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True), {},
         "all biases, q's and k's interleaved too; no output.weight"),
        ("llama_head_dim", "f16", llama(head_dim=16), {}, "key_length unlike hidden / heads"),
        ("llama_llama3", "f32", llama(**WIDE, rope_theta=500000.0, rope_scaling=LLAMA3), {}, "rope_freqs.weight"),
        ("llama_linear", "bf16", llama(rope_scaling={"type": "linear", "factor": 4.0}),
         {"ARCH.rope.scaling.type": "linear", "ARCH.rope.scaling.factor": 4.0}, "linear"),
        ("llama_linear_old", "f16", llama(rope_scaling={"type": "linear", "factor": 4.0}),
         {"ARCH.rope.scale_linear": 4.0}, "linear by the older key, file version 2"),
        ("llama_yarn", "bf16", llama(**WIDE, rope_scaling=yarn), keys, "yarn"),
        ("llama_yarn_betas", "f16", llama(**WIDE, rope_scaling=yarn | {"beta_fast": 4, "beta_slow": 2}),
         keys | {"ARCH.rope.scaling.yarn_beta_fast": 4.0, "ARCH.rope.scaling.yarn_beta_slow": 2.0}, "yarn with betas"),
        ("llama_yarn_attention_factor", "f16", llama(**WIDE, rope_scaling=yarn | {"attention_factor": 1.5}),
         keys | {"ARCH.rope.scaling.yarn_attn_factor": 1.5}, "yarn with attention_factor under the key that the "
         "converter writes (llama.cpp reads it for other architectures only)"),
        ("qwen2", "f32", qwen2(), {}, "q and k rows as in the model"),
        ("qwen2_tied", "bf16", qwen2(tie_word_embeddings=True), {}, "no output.weight"),
        ("qwen2_no_vocab_size", "f16", qwen2(intermediate_size=59), vocabulary, "vocabulary known by the token list"),
        ("qwen2_yarn", "f16", qwen2(**WIDE, rope_theta=10000.0, rope_scaling=yarn), keys, "yarn"),
    ]
    options = {"llama_split": {"split": 9}, "llama_linear_old": {"gguf_version": 2}}
    return files((*row, options.get(row[0], {})) for row in cases)


def of_mistral_and_mixtral():
    return files([
        ("mistral", "f32", mistral(), {}, "architecture llama, q and k rows interleaved"),
        ("mistral_nemo", "f16", mistral(head_dim=12, rope_theta=1000000.0), {}, "key_length unlike hidden / heads"),
        ("mistral_tied_yarn", "bf16", mistral(**WIDE, tie_word_embeddings=True, rope_scaling=YARN), YARN_KEYS,
         "yarn, no output.weight"),
        ("mistral_fused", "f16", mistral(), {}, "attn_qkv: interleaved q, interleaved k, v", FUSED),
        ("mixtral", "f32", mixtral(), {}, "2 of 4 experts"),
        ("mixtral_per_expert", "f16", mixtral(num_local_experts=3), {}, "2 of 3 experts, a tensor for each",
         PER_EXPERT),
        ("mixtral_top1_of_5", "bf16", mixtral(num_local_experts=5, num_experts_per_tok=1, num_key_value_heads=4), {},
         "1 of 5 experts, MHA"),
        ("mixtral_tied_head_dim", "f16", mixtral(tie_word_embeddings=True, head_dim=12), {},
         "no output.weight, key_length unlike hidden / heads"),
    ])


def of_qwen3():
    return files([
        ("qwen3", "f32", qwen3(), {}, "q and k norms, rows as in the model"),
        ("qwen3_tied_odd", "f16", qwen3(tie_word_embeddings=True, num_attention_heads=5, num_key_value_heads=1,
                                        hidden_size=40, intermediate_size=59), {}, "no output.weight, MQA"),
        ("qwen3_yarn", "bf16", qwen3(**WIDE, rope_scaling=YARN), YARN_KEYS, "yarn"),
        ("qwen3_fused", "f16", qwen3(), {}, "attn_qkv", FUSED),
        ("qwen3_moe", "f32", qwen3_moe(), {}, "2 of 4 experts"),
        ("qwen3_moe_top3_of_5", "f16", qwen3_moe(num_experts=5, num_experts_per_tok=3, tie_word_embeddings=True), {},
         "3 of 5 experts, no output.weight"),
        ("qwen3_moe_length_absent", "bf16", qwen3_moe(intermediate_size=38, moe_intermediate_size=19),
         {"ARCH.expert_feed_forward_length": ...}, "expert_feed_forward_length absent: feed_forward_length / used"),
        ("qwen3_moe_top1", "bf16", qwen3_moe(num_experts=3, num_experts_per_tok=1), {}, "1 of 3 experts, its weight 1"),
    ])


def of_gemma():
    six = {"num_hidden_layers": 7, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 27,
           "sliding_window_pattern": ..., "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0, "vocab_size": 64}
    three = {"rope_local_base_freq": 10000.0, "head_dim": 12}
    pattern = {"ARCH.attention.sliding_window_pattern": 3}
    return files([
        ("gemma", "f32", gemma(), {}, "1 added to the norms"),
        ("gemma_mqa", "bf16", gemma(num_key_value_heads=1, head_dim=16), {}, "MQA"),
        ("gemma_fused", "f16", gemma(num_key_value_heads=4), {}, "attn_qkv, MHA", FUSED),
        ("gemma2", "f32", gemma2(), {}, "1 added to four norms of a layer, a window of 8 in layer 0, both caps"),
        ("gemma2_deep", "f16", gemma2(num_hidden_layers=4, sliding_window=5, hidden_size=24, head_dim=6,
                                      query_pre_attn_scalar=6), {}, "a window of 5 in layers 0 and 2"),
        ("gemma2_caps_absent", "bf16", gemma2(attn_logit_softcapping=50.0, final_logit_softcapping=30.0),
         {"ARCH.attn_logit_softcapping": ..., "ARCH.final_logit_softcapping": ...}, "caps absent: 50 and 30"),
        ("gemma2_window_absent", "f16", gemma2(sliding_window=4096, num_key_value_heads=1),
         {"ARCH.attention.sliding_window": ...}, "window absent: 4096; MQA"),
        ("gemma2_period", "bf16", gemma2(num_hidden_layers=3, layer_types=[
            "sliding_attention", "sliding_attention", "full_attention"]), pattern, "every third layer is global"),
        ("gemma3_text", "f32", gemma3(**six), {}, "1 added to all norms, layer 5 of 7 is global, local base 10000"),
        ("gemma3_text_period", "f16", gemma3(**three), pattern, "every third layer is global"),
        ("gemma3_text_local_base", "bf16", gemma3(), pattern | {"ARCH.rope.freq_base_swa": 100.0}, "local base 100"),
        ("gemma3_text_linear", "bf16", gemma3(**three, rope_scaling={"factor": 8.0, "rope_type": "linear"}),
         pattern | LINEAR_KEYS | {"ARCH.rope.scaling.factor": 8.0}, "linear in the global layer only"),
        ("gemma3_text_no_window", "f32", gemma3(**three, sliding_window_pattern=1, final_logit_softcapping=0.8),
         {"ARCH.attention.sliding_window": ...}, "no window: all layers global; a cap on the logits"),
        ("gemma3_text_cap", "f16", gemma3(**three, final_logit_softcapping=0.8), pattern,
         "windows and a cap on the logits"),
    ])


def of_phi():
    long = {"original_max_position_embeddings": 16}
    short = {"original_max_position_embeddings": 256, "max_position_embeddings": 2048}
    attention = {"ARCH.rope.scaling.attn_factor": 1.3228756555322954}  # of a stretch by 8 from 16 positions
    return files([
        ("phi", "f32", phi(intermediate_size=128), {}, "biases everywhere, half of each head rotates"),
        ("phi_two_fifths", "f16", phi(hidden_size=40, intermediate_size=160, partial_rotary_factor=0.4), {},
         "rope.dimension_count 4 of 10"),
        ("phi_fused", "bf16", phi(intermediate_size=128), {}, "attn_qkv with biases", FUSED),
        ("phi3", "f32", phi3(), {}, "attn_qkv, and ffn_up that holds the gate first"),
        ("phi3_gqa_odd", "f16", phi3(num_key_value_heads=1, intermediate_size=59), {}, "MQA, odd feed-forward"),
        ("phi3_tied_partial", "bf16", phi3(hidden_size=64, partial_rotary_factor=0.75, tie_word_embeddings=True), {},
         "rope.dimension_count 12 of 16, no output.weight"),
        ("phi3_longrope_long", "f32", phi3(**long, rope_scaling=factors(4)), attention, "rope_factors_long",
         {"rope_length": 24}),
        ("phi3_longrope_short", "bf16", phi3(**short, rope_scaling=factors(4)),
         {"ARCH.rope.scaling.attn_factor": 1.1726039399558574}, "rope_factors_short", {"rope_length": 88}),
        ("phi3_window", "f16", phi3(sliding_window=8), {}, "a window of 8"),
    ])


def of_falcon():
    return files([
        ("falcon_7b", "f32", falcon(), {}, "one key-value head, tied"),
        ("falcon_7b_untied", "f16", falcon(tie_word_embeddings=False, num_attention_heads=5, hidden_size=40), {},
         "five heads, output.weight"),
        ("falcon_per_head", "bf16", falcon(multi_query=False, num_kv_heads=4), {}, "q, k and v of each head regrouped"),
        ("falcon_40b", "f32", falcon40(), {}, "two groups regrouped, ln_mlp in attn_norm, ln_attn in attn_norm_2"),
        ("falcon_40b_untied", "bf16", falcon40(tie_word_embeddings=False, num_attention_heads=6, hidden_size=36,
                                               num_kv_heads=3), {}, "three groups regrouped, output.weight"),
        ("falcon_11b", "f16", falcon40(num_ln_in_parallel_attn=1), {}, "two groups regrouped, one norm"),
    ])


def of_the_others():
    wide = {"num_attention_heads": 2, "num_key_value_heads": 1}
    step = {"num_hidden_layers": 5, "hidden_size": 24, "intermediate_size": 27}
    return files([
        ("stablelm", "f32", stablelm(hidden_size=64, num_hidden_layers=1), {}, "rope.dimension_count 4 of 16"),
        ("stablelm_bias_gqa", "f16", stablelm(use_qkv_bias=True, num_key_value_heads=2), {}, "biases on q, k and v"),
        ("stablelm_12b", "f32", stablelm(qk_layernorm=True, use_parallel_residual=True, num_key_value_heads=2), {},
         "norms of heads stacked, no ffn_norm: parallel"),
        ("stablelm_qk_sequential", "bf16", stablelm(qk_layernorm=True, partial_rotary_factor=0.5), {},
         "norms of heads stacked, sequential"),
        ("stablelm_parallel_said", "bf16", stablelm(), {"ARCH.use_parallel_residual": True},
         "a key says parallel, but there is an ffn_norm: sequential"),
        ("stablelm_fused", "f16", stablelm(use_qkv_bias=True), {}, "attn_qkv with biases", FUSED),
        ("smollm3", "f32", smollm3(**step), {}, "layer 3 of 5 does not rotate; rows interleaved there too; tied"),
        ("smollm3_untied", "f16", smollm3(**step, tie_word_embeddings=False, num_key_value_heads=1), {},
         "output.weight, MQA"),
        ("smollm3_llama3", "bf16", smollm3(**wide, num_hidden_layers=4, rope_theta=500000.0, rope_scaling=LLAMA3), {},
         "rope_freqs.weight"),
        ("olmo2", "f32", olmo2(), {}, "norms after attention and feed-forward, of whole q and k"),
        ("olmo2_gqa", "f16", olmo2(num_key_value_heads=2), {}, "the norm of k is shorter"),
        ("olmo2_yarn", "bf16", olmo2(**wide, rope_theta=10000.0, rope_scaling=YARN), YARN_KEYS, "yarn"),
        ("olmo2_fused", "f16", olmo2(num_key_value_heads=1), {}, "attn_qkv, MQA", FUSED),
        ("granite", "f32", granite(), {}, "four multipliers, rows interleaved"),
        ("granite_biases_tied", "f16", granite(attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                               embedding_multiplier=3), {}, "all biases, no output.weight"),
        ("granite_scales_absent", "bf16", granite(embedding_multiplier=1.0, residual_multiplier=1.0,
                                                  logits_scaling=1.0, attention_multiplier=8 ** -0.5),
         {f"ARCH.{key}": ... for key in ("attention.scale", "embedding_scale", "residual_scale")},
         "multipliers absent: 1, and 1 / sqrt(head_dim) for attention"),
        ("granite_llama3", "bf16", granite(**wide, rope_theta=500000.0, rope_scaling=LLAMA3), {}, "rope_freqs.weight"),
    ])


def cases():
    yield from of_llama_and_qwen2()
    yield from of_mistral_and_mixtral()
    yield from of_qwen3()
    yield from of_gemma()
    yield from of_phi()
    yield from of_falcon()
    yield from of_the_others()
