"""Which module of a transformers model gives which intermediate of a layer, for each family, as data.

"a|b:out" is the output of the layer's submodule a, or of b where there is no a; ":in" is its input. An intermediate whose
modules a layer lacks does not exist there. Names and their meaning: include/tmodel/model/tap.hpp. What every family has
in the same place needs no line: embedding (what enters the first layer), q, k, v (what attention is given), residual
(what leaves a layer), output_norm, logits.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Family:
    """Paths of the decoder in the model, and of its layers and last norm in the decoder."""

    taps: dict
    decoder: str = "model"
    layers: str = "layers"
    norm: str = "norm"


# x += attention(norm x); x += ffn(norm x). What the second norm reads is the residual between the two.
PRE = {"attention_norm": "input_layernorm:out", "heads": "self_attn.o_proj:in", "attention": "self_attn.o_proj:out",
       "middle": "post_attention_layernorm:in", "ffn_norm": "post_attention_layernorm:out", "ffn": "mlp:out"}
# Norms before and behind both parts; what is called post_attention_layernorm stands behind attention.
SANDWICH = PRE | {"middle": "pre_feedforward_layernorm:in", "ffn_norm": "pre_feedforward_layernorm:out"}
# Norms behind both parts only.
POST = {"heads": "self_attn.o_proj:in", "attention": "self_attn.o_proj:out", "middle": "mlp:in", "ffn": "mlp:out"}
# Both parts read the same norm.
PHI = {"attention_norm": "input_layernorm:out", "heads": "self_attn.dense:in", "attention": "self_attn.dense:out",
       "ffn": "mlp:out"}
# Side by side behind one norm or two, or in sequence: only then is there a post_attention_layernorm.
FALCON = {"attention_norm": "ln_attn|input_layernorm:out", "heads": "self_attention.dense:in",
          "attention": "self_attention.dense:out", "middle": "post_attention_layernorm:in",
          "ffn_norm": "ln_mlp|post_attention_layernorm:out", "ffn": "mlp:out"}

FAMILIES = {
    "llama": Family(PRE),
    "mistral": Family(PRE),
    "mixtral": Family(PRE),
    "qwen2": Family(PRE),
    "qwen3": Family(PRE),
    "qwen3_moe": Family(PRE),
    "gemma": Family(PRE),
    "gemma2": Family(SANDWICH),
    "gemma3_text": Family(SANDWICH),
    "gemma3": Family(SANDWICH, decoder="model.language_model"),
    "phi": Family(PHI, norm="final_layernorm"),
    "phi3": Family(PRE),
    "falcon": Family(FALCON, decoder="transformer", layers="h", norm="ln_f"),
    "stablelm": Family(PRE),
    "smollm3": Family(PRE),
    "olmo2": Family(POST),
    "granite": Family(PRE),
}


def find(owner, path):
    """The submodule at a path, or None."""
    for name in path.split("."):
        owner = getattr(owner, name, None)
    return owner


def place(layer, rule):
    """The module that a rule names, and whether its output is meant; (None, ...) where the layer has none."""
    paths, _, side = rule.partition(":")
    modules = (find(layer, path) for path in paths.split("|"))
    return next((module for module in modules if module is not None), None), side == "out"
