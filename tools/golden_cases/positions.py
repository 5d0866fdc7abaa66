"""Sessions that start far out: the first id stands at a high position, with nothing before it.

There transformers' float32 angles are off by up to 3e-3, so its rotary modules compute these in float64.
"""

from .case import LLAMA3, WIDE, YARN, folders
from .falcon import falcon
from .gemma3 import gemma3
from .llama import llama
from .mistral import mistral
from .phi import phi
from .phi3 import factors, phi3
from .qwen2 import qwen2
from .qwen3 import qwen3


def at(position, **fields):
    return {"start": position, "greedy": False} | fields


def cases():
    linear = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    long = {"original_max_position_embeddings": 4096, "max_position_embeddings": 131072}
    rows = {
        "llama": [
            ("at_2100", llama(**WIDE), "plain", at(2100)),
            ("at_100000", llama(**WIDE, rope_theta=500000.0), "plain, theta 5e5", at(100000)),
            ("llama3_at_100000", llama(**WIDE, rope_theta=500000.0, rope_scaling=LLAMA3), "llama3", at(100000)),
            ("yarn_at_30000", llama(**WIDE, rope_scaling=YARN), "yarn", at(30000)),
            ("linear_at_30000", llama(**WIDE, **linear), "linear", at(30000))],
        "qwen2": [("yarn_at_100000", qwen2(**WIDE, rope_scaling=YARN), "yarn", at(100000))],
        "qwen3": [("at_30000", qwen3(**WIDE), "plain", at(30000))],
        "mistral": [("window_at_100000", mistral(**WIDE, sliding_window=8), "a window of 8", at(100000))],
        "gemma3_text": [
            ("at_100000", gemma3(head_dim=16, rope_theta=1000000.0, rope_local_base_freq=10000.0), "both bases",
             at(100000)),
            ("linear_at_30000", gemma3(head_dim=16, rope_theta=1000000.0, rope_local_base_freq=10000.0, **linear),
             "linear in the global layer", at(30000))],
        "phi": [("at_2100", phi(hidden_size=64, num_attention_heads=2, num_key_value_heads=2), "half of each head",
                 at(2100))],
        "phi3": [
            ("longrope_short_at_2100", phi3(**long, rope_scaling=factors(4)), "short factors",
             at(2100, rope_length=2124)),
            ("longrope_long_at_100000", phi3(**long, rope_scaling=factors(4)), "long factors",
             at(100000, rope_length=100024))],
        "falcon": [("at_100000", falcon(), "plain", at(100000))],
    }
    for family, of_family in rows.items():
        yield from folders(family, of_family)
