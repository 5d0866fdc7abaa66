"""Values of the GGUF goldens in the formats of GGUF files: quantised where numpy can, else blocks drawn at random."""

import math

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

# What llama.cpp's quantiser takes for rows that are no multiple of 256; F16 if they are no multiple of 32 either.
FALLBACK = {Type.Q2_K: Type.IQ4_NL, Type.Q3_K: Type.IQ4_NL, Type.IQ4_XS: Type.IQ4_NL, Type.Q4_K: Type.Q5_0,
            Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}
# Formats without a numpy quantiser: where a block keeps d and dmin, dmin/d that centres the values, d of either sign.
RANDOM_BLOCKS = {Type.Q2_K: (80, 82, 1.5, False), Type.Q3_K: (108, None, 0, True), Type.Q4_K: (0, 2, 7.5, False),
                 Type.Q5_K: (0, 2, 15.5, False), Type.Q6_K: (208, None, 0, True), Type.IQ4_NL: (0, None, 0, True),
                 Type.IQ4_XS: (0, None, 0, True)}
# Tensors that the converter and the quantiser leave in F32, besides vectors.
ALWAYS_F32 = ("_norm.weight", "ffn_gate_inp.weight")


def random_blocks(rng, shape, kind, std):
    """Blocks of random bytes whose values have the given standard deviation and a mean near 0."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = math.prod(shape) // block
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if kind == Type.MXFP4:
        raw[:, 0] = 127 + round(math.log2(std / 3)) + rng.integers(-1, 2, count)
        return raw.reshape(*shape[:-1], -1)
    d_at, min_at, ratio, signed = RANDOM_BLOCKS[kind]
    d = rng.uniform(0.7, 1.3, count) * (rng.choice([-1.0, 1.0], count) if signed else 1.0)

    def put(scale):
        for at, values in ((d_at, d * scale), (min_at, d * scale * ratio)):
            if at is not None:
                raw[:, at : at + 2] = values.astype("<f2").reshape(-1, 1).view(np.uint8)

    put(1.0)
    put(std / float(gguf.quants.dequantize(raw, kind).std()))
    return raw.reshape(*shape[:-1], -1)


def store(rng, tensor, kind):
    """The bytes of a tensor in a format, and the values that they stand for."""
    value = tensor.value
    if value.ndim == 1 or kind == Type.F32 or tensor.name.endswith(ALWAYS_F32):
        return value, value, Type.F32
    if value.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] != 0:
        kind = FALLBACK.get(kind, Type.F16)
    if value.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] != 0:
        kind = Type.F16  # no multiple of 32 either
    if kind in RANDOM_BLOCKS or kind == Type.MXFP4:
        data = random_blocks(rng, value.shape, kind, tensor.spread)
    elif kind == Type.F16:
        data = value.astype(np.float16)
        return data, data.astype(np.float32), kind
    else:
        data = gguf.quants.quantize(value, kind)
    return data, gguf.quants.dequantize(data, kind).astype(np.float32), kind
