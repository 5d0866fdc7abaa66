#!/usr/bin/env python3
"""Makes tests/goldens/formats: blocks of every weight format with the values that gguf-py reads from them.

usage: make_format_vectors.py [FOLDER]     (default: tests/goldens/formats of this checkout)
needs: gguf==0.19.0 numpy==2.4.6; other versions are refused, as the bytes are compared.

NAME.bin, every format:          u32 blocks, u32 bytes per block, u32 elements per block; blocks; f32 values
NAME.quantize.bin, where gguf-py u32 blocks, u32 bytes per block, u32 elements per block; f32 values; blocks
  can write the format:
"""

import importlib.metadata
import pathlib
import struct
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

PINNED = {"gguf": "0.19.0", "numpy": "2.4.6"}
SEED = 20240517
FORMATS = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K, Type.Q3_K,
           Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL, Type.IQ4_XS, Type.MXFP4]
WRITTEN = [Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0]
# Where the f16 scales stand in a block: byte offsets.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q2_K: [80, 82],
          Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.IQ4_NL: [0],
          Type.IQ4_XS: [0]}
E8M0 = [0, 1, 2, 3, 97, 120, 126, 127, 128, 140, 254, 255]


def half(value):
    return np.array([value], dtype=np.float16).view(np.uint8)


def random_scale(rng):
    return half(rng.choice([-1.0, 1.0]) * 2.0 ** rng.uniform(-14, 4))


def blocks_of(kind, rng):
    """Random blocks, then one for each special scale, then one for each pattern of bits."""
    length, size = gguf.GGML_QUANT_SIZES[kind]
    plain = 6 if length == 32 else 2
    special = [half(0.0), half(-0.0), half(2.0 ** -24), half(-3 * 2.0 ** -24), half(1023 * 2.0 ** -24),
               half(65504.0), half(-65504.0)]
    patterns = [0x00, 0xFF, 0x0F, 0xF0, 0x80, 0x7F]
    blocks = rng.integers(0, 256, (plain + len(special) + len(patterns), size), dtype=np.uint8)
    for i, pattern in enumerate(patterns):
        blocks[plain + len(special) + i] = pattern
    for i, block in enumerate(blocks):
        for k, offset in enumerate(SCALES.get(kind, [])):
            rare = i - plain
            if 0 <= rare < len(special):
                scale = special[rare] if k == 0 else special[(rare + 3) % len(special)]
            else:
                scale = random_scale(rng)
            block[offset : offset + 2] = scale
        if kind == Type.MXFP4:
            block[0] = E8M0[i % len(E8M0)]
    return blocks


def dense_blocks(kind, rng):
    """Every exponent with both signs, zeros, subnormals, infinities; no NaN, whose bits may differ."""
    if kind == Type.F32:
        bits = rng.integers(0, 2**32, 1024, dtype=np.uint32)
        bits = np.concatenate([bits, np.array([0, 0x80000000, 1, 0x7F800000, 0xFF800000], dtype=np.uint32)])
        return bits[~np.isnan(bits.view(np.float32))].view(np.uint8).reshape(-1, 4)
    bits = np.arange(0, 2**16, 29, dtype=np.uint16)
    bits = np.concatenate([bits, np.array([0, 0x8000, 1, 0x8001, 0x03FF, 0x0400, 0x7C00, 0xFC00, 0x7F80], np.uint16)])
    values = bits.view(np.float16).astype(np.float32) if kind == Type.F16 else (bits.astype(np.uint32) << 16).view("f4")
    return bits[~np.isnan(values)].view(np.uint8).reshape(-1, 2)


def rows_that_tell_fma(kind, rng, wanted=12):
    """Rows for which (x - low) * inverse + bias in one fused operation gives other integers than in two."""
    f4 = np.float32
    top = {Type.Q4_0: 15, Type.Q4_1: 15, Type.Q5_0: 31, Type.Q5_1: 31}.get(kind)
    if top is None:
        return np.empty((0, 32), f4)
    found = []
    for _ in range(100000):
        if len(found) == wanted:
            return np.array(found)
        steps = (rng.integers(0, top, 32) + 0.5).astype(f4)
        if kind in (Type.Q4_0, Type.Q5_0):
            half_range = (top + 1) // 2
            step = f4(rng.uniform(0.01, 3))
            row = (steps - half_range) * step
            row[0] = -half_range * step
            low, inverse, bias = f4(0), 1 / (row[0] / -half_range), f4(half_range + 0.5)
        else:
            step = f4(rng.uniform(0.01, 3))
            row = f4(0.5) * step * (1 - rng.integers(0, 4, 32).astype(f4) * f4(2.0**-24))
            row[0], row[1] = 0, top * step
            low, inverse, bias = f4(0), 1 / (row[1] / top), f4(0.5)
        two = (row - low) * inverse + bias
        one = (np.float64(row - low) * np.float64(inverse) + np.float64(bias)).astype(f4)
        assert row.dtype == two.dtype == f4
        if np.any(np.trunc(one) != np.trunc(two)):
            found.append(row)
    sys.exit(f"error: no rows found for {kind.name}")


def values_to_write(kind, rng):
    """Rows of 32: zeros of both signs, one sign only, ties, outliers, very small and very large values."""
    rows = [np.zeros(32), -np.zeros(32), np.full(32, 1.5), np.full(32, -0.375), np.arange(32) - 16.0, np.arange(-32, 0),
            np.arange(32) / 31.0, np.tile([1.0, -1.0], 16), np.tile([-3.0, 3.0], 16),
            np.where(np.arange(32) == 7, 1e4, 1e-4)]
    for exponent in [-30, -24, -20, -14, -7, -1, 0, 3, 10, 14]:
        rows += [rng.standard_normal(32) * 2.0**exponent for _ in range(6)]
        rows.append(np.abs(rng.standard_normal(32)) * 2.0**exponent)
        rows.append(-np.abs(rng.standard_normal(32)) * 2.0**exponent)
    for _ in range(20):  # multiples of half a step
        rows.append(rng.integers(-31, 32, 32) * 0.5 * np.float32(rng.uniform(0.01, 3)))
    rows = np.concatenate([np.array(rows).astype(np.float32), rows_that_tell_fma(kind, rng)])
    if kind in (Type.F16, Type.BF16):  # ties and overflow of the narrowing itself
        step = np.float32(2.0**-11 if kind == Type.F16 else 2.0**-8)
        ties = (1 + step * np.arange(64, dtype=np.float32)).reshape(2, 32)
        edges = np.array([65504, 65519.996, 65520, 1e30, 3.3e38, 3.4e38, np.inf, -np.inf] * 4, dtype=np.float32)
        rows = np.concatenate([rows[::2], ties, -ties, ties * np.float32(2.0**-15), edges.reshape(1, 32)])
    return rows


def header(blocks, size, length):
    return struct.pack("<III", blocks, size, length)


def main():
    for package, version in PINNED.items():
        found = importlib.metadata.version(package)
        if found != version:
            sys.exit(f"error: {package} {version} is needed, {found} is installed")
    default = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "formats"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for kind in FORMATS:
        rng = np.random.default_rng([SEED, int(kind)])
        length, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = dense_blocks(kind, rng) if length == 1 else blocks_of(kind, rng)
        with np.errstate(over="ignore", invalid="ignore"):
            values = dequantize(blocks.reshape(1, -1), kind).astype("<f4")
        (folder / f"{kind.name}.bin").write_bytes(
            header(len(blocks), size, length) + blocks.tobytes() + values.tobytes())
        if kind not in WRITTEN:
            continue
        rows = values_to_write(kind, rng)
        with np.errstate(over="ignore"):
            written = quantize(rows, kind).tobytes()
        (folder / f"{kind.name}.quantize.bin").write_bytes(
            header(rows.size // length, size, length) + rows.astype("<f4").tobytes() + written)


if __name__ == "__main__":
    main()
