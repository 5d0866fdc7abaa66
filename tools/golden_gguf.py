"""GGUF files of the goldens, as llama.cpp's converter writes them."""

import math

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from golden_weights import spread

# What llama.cpp's quantiser takes for rows that are no multiple of 256.
FALLBACK = {Type.Q2_K: Type.IQ4_NL, Type.Q3_K: Type.IQ4_NL, Type.IQ4_XS: Type.IQ4_NL, Type.Q4_K: Type.Q5_0,
            Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}
# Formats without a numpy quantiser: where a block keeps d and dmin, dmin/d that centres the values, d of either sign.
RANDOM_BLOCKS = {Type.Q2_K: (80, 82, 1.5, False), Type.Q3_K: (108, None, 0, True), Type.Q4_K: (0, 2, 7.5, False),
                 Type.Q5_K: (0, 2, 15.5, False), Type.Q6_K: (208, None, 0, True), Type.IQ4_NL: (0, None, 0, True),
                 Type.IQ4_XS: (0, None, 0, True)}


GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        layer, rest = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{GGUF_NAMES[rest]}.{kind}"
    return f"{GGUF_NAMES[stem]}.{kind}"


def interleave(rows, heads):
    """Row order of q and k in GGUF files of architecture llama: row 2i+j of a head is the model's row j*D/2+i."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows, heads):
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def random_blocks(rng, shape, kind, std):
    """Blocks of random bytes whose values have the given standard deviation and a mean near 0."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = shape[0] * shape[1] // block
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if kind == Type.MXFP4:
        raw[:, 0] = 127 + round(math.log2(std / 3)) + rng.integers(-1, 2, count)
        return raw.reshape(shape[0], -1)
    d_at, min_at, ratio, signed = RANDOM_BLOCKS[kind]
    d = rng.uniform(0.7, 1.3, count) * (rng.choice([-1.0, 1.0], count) if signed else 1.0)

    def put(scale):
        for at, values in ((d_at, d * scale), (min_at, d * scale * ratio)):
            if at is not None:
                raw[:, at : at + 2] = values.astype("<f2").reshape(-1, 1).view(np.uint8)

    put(1.0)
    put(std / float(gguf.quants.dequantize(raw, kind).std()))
    return raw.reshape(shape[0], -1)


def store(rng, name, value, kind):
    """The bytes of a tensor in a format, and the values that they stand for."""
    if value.ndim == 1 or kind == Type.F32:  # vectors are F32 in every GGUF file
        return value, value, Type.F32
    if value.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] != 0:
        kind = FALLBACK[kind]
    if kind in RANDOM_BLOCKS or kind == Type.MXFP4:
        data = random_blocks(rng, value.shape, kind, spread(name, value.shape))
    elif kind == Type.F16:
        data = value.astype(np.float16)
        return data, data.astype(np.float32), kind
    else:
        data = gguf.quants.quantize(value, kind)
    return data, gguf.quants.dequantize(data, kind).astype(np.float32), kind


def llama3_divisors(case):
    """rope_freqs.weight: what llama3 scaling divides each pair's angle by."""
    s, d = case.config["rope_scaling"], case.head_dim
    low, high = s["low_freq_factor"], s["high_freq_factor"]
    original = s["original_max_position_embeddings"]
    out = []
    for i in range(d // 2):
        wavelength = 2 * math.pi * case.config["rope_theta"] ** (2 * i / d)
        t = (original / wavelength - low) / (high - low)
        t = min(max(t, 0.0), 1.0)
        out.append(1.0 / ((1.0 - t) / s["factor"] + t))
    return np.array(out, dtype=np.float32)


def write_gguf(case, folder, weights, rng):
    """Writes model.gguf and returns the values that its tensors stand for, under transformers' names and row order."""
    c, kind = case.config, Type[case.weights.upper()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.gguf"
    w = gguf.GGUFWriter(path, case.family, split_max_tensors=case.split)
    w.add_name(case.name)
    w.add_file_type(int(gguf.LlamaFileType["ALL_F32" if kind == Type.F32 else {
        Type.Q2_K: "MOSTLY_Q2_K", Type.Q3_K: "MOSTLY_Q3_K_M", Type.Q4_K: "MOSTLY_Q4_K_M", Type.Q5_K: "MOSTLY_Q5_K_M",
        Type.MXFP4: "MOSTLY_MXFP4_MOE"}.get(kind, f"MOSTLY_{kind.name}")]))
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(case.kv_heads)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    if case.family == "llama":
        w.add_rope_dimension_count(case.head_dim)
    if "head_dim" in c:
        w.add_key_length(case.head_dim)
        w.add_value_length(case.head_dim)
    if "tokenizer.ggml.tokens" not in case.gguf:
        w.add_vocab_size(c["vocab_size"])
    for key, value in case.gguf.items():
        key = key.replace("ARCH", case.family)
        if isinstance(value, str):
            w.add_string(key, value)
        elif isinstance(value, list):
            w.add_array(key, value)
        elif isinstance(value, int):
            w.add_uint32(key, value)
        else:
            w.add_float32(key, value)
    if (c.get("rope_scaling") or {}).get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_divisors(case))

    meant = {}
    for name, value in weights.items():
        heads = c["num_attention_heads"] if ".q_proj." in name else case.kv_heads if ".k_proj." in name else 0
        permuted = case.family == "llama" and heads
        data, values, stored = store(rng, name, interleave(value, heads) if permuted else value, kind)
        w.add_tensor(gguf_name(name), data, raw_dtype=stored)
        meant[name] = deinterleave(values, heads) if permuted else values
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if case.gguf_version != 3:  # nothing but the number differs in little-endian files
        data = bytearray(path.read_bytes())
        data[4:8] = case.gguf_version.to_bytes(4, "little")
        path.write_bytes(data)
    return meant
