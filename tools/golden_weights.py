"""Random weights for a configuration, and folders that hold them as users' files do."""

import json
import math
import re

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# Drawn in the order of the forward pass; what is not listed keeps its place.
ORDER = ("input_layernorm", "self_attn", "post_attention_layernorm", "pre_feedforward_layernorm", "mlp")

# How folders name their tensors where that is not as transformers 5 names its parameters: patterns and replacements.
LAYOUTS = {
    "": {},
    "experts": {},
    "block_sparse_moe": {r"\.mlp\.": ".block_sparse_moe.", r"\.gate_proj\.": ".w1.", r"\.up_proj\.": ".w3.",
                         r"\.down_proj\.": ".w2."},
    "model.language_model": {},
    "language_model.model": {r"^model\.language_model\.": "language_model.model.",
                             r"^model\.vision_tower\.": "vision_tower.vision_model.", r"^model\.": "",
                             r"^lm_head\.": "language_model.lm_head."},
}
SPLIT_EXPERTS = ("experts", "block_sparse_moe")  # layouts with a tensor for each expert


def write_config(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def shapes(folder):
    """Names and shapes of the parameters that transformers has for a folder's configuration, [out, in] for matrices."""
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    named = [(name, tuple(parameter.shape)) for name, parameter in model.state_dict().items()]
    if getattr(config, "tie_word_embeddings", text.tie_word_embeddings):
        named = [(name, shape) for name, shape in named if name != "lm_head.weight"]
    layers = [name for name, _ in named if ".layers." in name]
    if layers:
        first = next(i for i, (name, _) in enumerate(named) if name == layers[0])
        inner = [item for item in named if ".layers." in item[0]]
        rest = [item for item in named if ".layers." not in item[0]]
        named = rest[:first] + sorted(inner, key=place) + rest[first:]
    return dict(named)


def place(item):
    """Where in the forward pass a layer's tensor belongs."""
    layer, part = re.search(r"\.layers\.(\d+)\.(\w+)", item[0]).groups()
    return int(layer), ORDER.index(part) if part in ORDER else len(ORDER)


def spread(name, shape):
    """Standard deviation of a tensor: outputs of order one, so that every tensor shows in the logits."""
    if name.endswith(".bias"):
        return 0.4
    if "embed" in name:
        return 0.1  # small beside what layers add, or a tied model repeats its last id
    return (2.0 if "lm_head" in name or name.endswith("mlp.gate.weight") else 1.1) / math.sqrt(shape[-1])


def draw(family, folder, rng):
    """Random float32 weights for a folder's config.json, under transformers' names."""
    centre = 0.0 if family.startswith("gemma") else 1.0  # gemma's norms multiply by 1 + weight
    weights = {}
    for name, shape in shapes(folder).items():
        if re.search(r"(norm|\bln_\w+|norms\.\d+)\.weight$", name):
            value = rng.uniform(centre - 0.4, centre + 0.4, shape)
        else:
            value = rng.standard_normal(shape) * spread(name, shape)
        weights[name] = value.astype(np.float32)
    return weights


def renamed(layout, name):
    for pattern, replacement in LAYOUTS[layout].items():
        name = re.sub(pattern, replacement, name)
    return name


def laid_out(layout, weights):
    """The weights as a folder of that layout holds them."""
    out = {}
    for name, value in weights.items():
        if layout in SPLIT_EXPERTS and ".experts." in name:
            stem, fused = name.rsplit(".", 1)
            parts = {"gate_proj": value[:, : value.shape[1] // 2], "up_proj": value[:, value.shape[1] // 2 :]}
            parts = parts if fused == "gate_up_proj" else {fused: value}
            for expert in range(len(value)):
                for part, values in parts.items():
                    out[renamed(layout, f"{stem}.{expert}.{part}.weight")] = values[expert]
        else:
            out[renamed(layout, name)] = value
    return out


def write_tensors(folder, weights, dtype, shards=1):
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)).to(dtype) for name, value in weights.items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for shard in range(shards):
        part = names[len(names) * shard // shards : len(names) * (shard + 1) // shards]
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        index["weight_map"].update(dict.fromkeys(part, file))
    index["weight_map"] = dict(sorted(index["weight_map"].items()))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
