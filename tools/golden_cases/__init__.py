"""The cases of tools/make_goldens.py: every branch that a configuration of a family can switch, as data.

Keys and defaults: transformers' configuration classes; GGUF keys: its specification and what its converter writes.
"""

from . import falcon, gemma, gemma2, gemma3, gguf, granite, llama, mistral, mixtral, olmo2, phi, phi3, positions
from . import quantised, qwen2, qwen3, qwen3_moe, smollm3, stablelm

FOLDERS = (llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gemma, gemma2, gemma3, phi, phi3, falcon, stablelm,
           smollm3, olmo2, granite)


def all_cases():
    return [case for module in (*FOLDERS, positions, gguf, quantised) for case in module.cases()]
