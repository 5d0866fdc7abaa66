#!/usr/bin/env python3
"""What is compared with llama.cpp, as data: a row is a workload on a file, with the ratio that we want to reach.

Run as a program it lists the rows.
"""
import fnmatch
from dataclasses import dataclass

SHAPES = {"smollm2-135m": "135M", "qwen2.5-0.5b": "0.5B", "llama-3.2-1b": "1B", "qwen2.5-1.5b": "1.5B",
          "SmolLM2-135M-Instruct": "SmolLM2"}
REAL = "SmolLM2-135M-Instruct"  # a real file; all others have random weights
SMALL = ("smollm2-135m", "qwen2.5-0.5b", REAL)
FORMATS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q4_1")


@dataclass(frozen=True)
class Row:
    kind: str  # decode or prompt; sessions: ours alone, decoding together against decoding one
    shape: str
    format: str
    tokens: int
    depth: int = 0
    sessions: int = 1
    target: float | None = None  # None: counts in a group only

    @property
    def name(self):
        at = {"decode": f"@{self.depth}" if self.depth else "", "prompt": f"@{self.tokens}" if self.tokens != 512 else "",
              "sessions": str(self.sessions)}[self.kind]
        return f"{self.kind}{at}/{self.shape}/{self.format}"


def _rows():
    decode = {"smollm2-135m": {"Q8_0": 1.4, "Q4_0": 1.5, "Q4_K_M": 1.5, "F16": 1.2},
              "qwen2.5-0.5b": {"Q8_0": 1.15, "Q4_0": 1.2, "Q4_K_M": 1.3},
              "llama-3.2-1b": {"Q8_0": 1.05, "Q4_0": 1.12, "Q4_K_M": 1.12, "F16": 1.05},
              "qwen2.5-1.5b": {"Q8_0": 1.05, "Q4_0": 1.12, "Q4_K_M": 1.12, "F16": 1.05}}
    for shape, targets in decode.items():
        for format, target in targets.items():
            yield Row("decode", shape, format, 128, target=target)
        for format in GROUPS:
            yield Row("prompt", shape, format, 512)
    for shape in ("smollm2-135m", "qwen2.5-0.5b"):
        yield Row("decode", shape, "Q8_0", 128, depth=4096, target=1.25)
        yield Row("prompt", shape, "Q8_0", 4096, target=1.5)
    yield Row("sessions", "qwen2.5-0.5b", "Q8_0", 128, sessions=8, target=3)
    yield Row("decode", REAL, "Q4_1", 128, target=1.4)
    yield Row("prompt", REAL, "Q4_1", 512, target=1.4)


# Format: the target of the geometric mean over the prompts of 512 of all shapes.
GROUPS = {"Q4_K_M": 1.9, "Q8_0": 1.6, "Q4_0": 1.4, "BF16": 1.4, "F32": 1.2, "F16": 1.1}
ROWS = sorted(_rows(), key=lambda r: (list(SHAPES).index(r.shape), FORMATS.index(r.format)))  # those of a file together


def chosen(patterns, quick):
    """The rows whose name one of the patterns matches, in their order. Raises ValueError if a pattern matches none."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(row.name, pattern) for row in ROWS):
            raise ValueError(f"no row {pattern}; bench/peers/run --list shows all")
    rows = [r for r in ROWS if not patterns or any(fnmatch.fnmatchcase(r.name, p) for p in patterns)]
    return [r for r in rows if r.shape in SMALL] if quick and not patterns else rows


if __name__ == "__main__":
    for row in ROWS:
        print(f"{row.name:40} {'' if row.target is None else f'target {row.target:g}'}")
    for format, target in GROUPS.items():
        print(f"{f'prompt/*/{format}, geometric mean':40} target {target:g}")
