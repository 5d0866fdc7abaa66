"""GGUF files of the goldens, as llama.cpp's converter writes them."""

import dataclasses
import math
import re
from collections.abc import Callable

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from golden_quants import store
from golden_weights import spread

# ---- conventions of the converter -----------------------------------------------------------------------------------

# Architectures whose name is not the family's.
ARCHITECTURES = {"mistral": "llama", "mixtral": "llama", "qwen3_moe": "qwen3moe", "gemma3_text": "gemma3",
                 "phi": "phi2"}
# Rows of q and k are in pairs that rotate together, not in halves.
INTERLEAVED = ("llama", "mistral", "mixtral", "smollm3", "granite")
# What multiplies by 1 + weight in transformers is stored with the 1.
ONE_MORE = ("gemma", "gemma2", "gemma3_text")
# Their post_attention_layernorm follows attention; elsewhere it precedes the feed-forward part.
NORM_AFTER_ATTENTION = ("gemma2", "gemma3_text", "olmo2")
# Families whose norms are LayerNorms.
LAYER_NORM = ("phi", "falcon", "stablelm")
# Families whose converter writes neither the rope's base nor, unless heads are partly rotated, its dimension.
NO_ROPE_BASE = ("gemma", "gemma2", "phi", "falcon", "stablelm")
WITH_ROPE_DIMENSION = (*INTERLEAVED, "phi", "phi3", "stablelm")
NAMES = {"embed_tokens": "token_embd", "word_embeddings": "token_embd", "norm": "output_norm",
         "final_layernorm": "output_norm", "ln_f": "output_norm", "lm_head": "output"}
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "ln_mlp": "attn_norm", "ln_attn": "attn_norm_2", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv",
    "self_attention.query_key_value": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output", "self_attn.dense": "attn_output", "self_attention.dense": "attn_output",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm", "mlp.gate": "ffn_gate_inp",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.fc1": "ffn_up",
    "mlp.dense_h_to_4h": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.fc2": "ffn_down", "mlp.dense_4h_to_h": "ffn_down"}

# Keys of every file, and the entry of config.json that each repeats. The architecture's name goes before each.
KEYS = {"context_length": "max_position_embeddings", "embedding_length": "hidden_size",
        "block_count": "num_hidden_layers", "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads"}
# Further keys of a family's files.
FAMILY_KEYS = {
    "mixtral": {"expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"},
    "qwen3_moe": {"expert_count": "num_experts", "expert_used_count": "num_experts_per_tok",
                  "expert_feed_forward_length": "moe_intermediate_size"},
    "gemma2": {"attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping",
               "attention.sliding_window": "sliding_window"},
    "gemma3_text": {"final_logit_softcapping": "final_logit_softcapping", "attention.sliding_window": "sliding_window"},
    "phi3": {"attention.sliding_window": "sliding_window",
             "rope.scaling.original_context_length": "original_max_position_embeddings"},
    "stablelm": {"use_parallel_residual": "use_parallel_residual"},
    "granite": {"attention.scale": "attention_multiplier", "embedding_scale": "embedding_multiplier",
                "residual_scale": "residual_multiplier", "logit_scale": "logits_scaling"}}
FLOATS = tuple(FAMILY_KEYS["granite"])  # keys of numbers that a configuration may write without a decimal point


def architecture(case):
    return ARCHITECTURES.get(case.family, case.family)


def rotary_dim(case):
    return int(case.head_dim * case.get("partial_rotary_factor", 1.0))


def kv_heads(case):
    """Key-value heads as the model has them: Falcon's entry does not always count."""
    if case.family != "falcon":
        return case.kv_heads
    if case.config["multi_query"] and not case.config["new_decoder_architecture"]:
        return 1
    return case.get("num_kv_heads", case.config["num_attention_heads"])


def usual_keys(case):
    """The keys that the converter writes for a case's configuration."""
    c, keys = case.config, {}
    defaults = {"max_position_embeddings": 2048, "intermediate_size": c.get("ffn_hidden_size", 4 * c["hidden_size"])}
    for key, entry in KEYS.items():
        keys[key] = c.get(entry, defaults.get(entry))
    keys["attention.head_count_kv"] = kv_heads(case)
    if case.family in LAYER_NORM:
        keys["attention.layer_norm_epsilon"] = case.get("layer_norm_epsilon", c.get("layer_norm_eps"))
    else:
        keys["attention.layer_norm_rms_epsilon"] = c["rms_norm_eps"]
    if case.family not in NO_ROPE_BASE:
        keys["rope.freq_base"] = float(c["rope_theta"])
    if case.family in WITH_ROPE_DIMENSION:
        keys["rope.dimension_count"] = rotary_dim(case)
    if "head_dim" in c:
        keys["attention.key_length"] = keys["attention.value_length"] = case.head_dim
    if "tokenizer.ggml.tokens" not in case.gguf:
        keys["vocab_size"] = c["vocab_size"]
    if case.family == "falcon":
        keys["tensor_data_layout"] = "jploski"
    for key, entry in FAMILY_KEYS.get(case.family, {}).items():
        value = c.get(entry, 0 if "sliding_window" in key else None)
        if value is not None or case.family == "phi3":
            keys[key] = float(value) if isinstance(value, int) and key in FLOATS else value or 0
    return {f"{architecture(case)}.{key}": value for key, value in keys.items()}


# ---- tensors --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Tensor:
    """A tensor of the file."""
    name: str
    value: np.ndarray
    spread: float = 0.0  # standard deviation, for formats whose values are drawn anew


@dataclasses.dataclass
class Stored:
    """Tensors of the file, and what their values, as stored, say under transformers' names."""
    tensors: list[Tensor]
    back: Callable[[list[np.ndarray]], dict[str, np.ndarray]]


def gguf_name(case, name):
    stem, kind = name.rsplit(".", 1)
    in_layer = re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)", stem)
    if not in_layer:
        return f"{NAMES[stem.removeprefix('model.').removeprefix('transformer.')]}.{kind}"
    layer, part = in_layer.groups()
    if part == "post_attention_layernorm":
        return f"blk.{layer}.{'post_attention' if case.family in NORM_AFTER_ATTENTION else 'ffn'}_norm.{kind}"
    return f"blk.{layer}.{LAYER_NAMES[part]}.{kind}"


def interleave(rows, heads):
    """Row order of q and k in files of some architectures: row 2i+j of a head is the model's row j*D/2+i."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows, heads):
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def ungrouped_rows(case):
    """For each row of attn_qkv, its place in Falcon's query_key_value: all of q, then k, then v, not group by group."""
    heads, groups, d = case.config["num_attention_heads"], kv_heads(case), case.head_dim
    places = np.arange((heads + 2 * groups) * d).reshape(groups, heads // groups + 2, d)
    return np.concatenate([places[:, :-2].ravel(), places[:, -2].ravel(), places[:, -1].ravel()])


def as_stored(case, name, value):
    """A tensor of the model as the file has it, and the way back."""
    heads = {"q_proj": case.config["num_attention_heads"], "k_proj": kv_heads(case)}.get(name.split(".")[-2])
    if heads and case.family in INTERLEAVED:
        return interleave(value, heads), lambda values: deinterleave(values, heads)
    if case.family in ONE_MORE and name.endswith("norm.weight"):
        return value + np.float32(1), lambda values: values - np.float32(1)
    if "query_key_value" in name:
        rows = ungrouped_rows(case)
        return value[rows], lambda values: values[np.argsort(rows)]
    return value, lambda values: values


def one_tensor(case, name, value):
    stored, back = as_stored(case, name, value)
    tensor = Tensor(gguf_name(case, name), stored, spread(name, value.shape))
    return Stored([tensor], lambda read: {name: back(read[0])})


def stacked(case, name, parts, std):
    """Several tensors of the model, one below the other in one of the file."""
    stored = {part: as_stored(case, part, value) for part, value in parts.items()}
    rows = [value if value.ndim > 1 or name.endswith(".bias") else value[None] for value, _ in stored.values()]
    ends = np.cumsum([len(r) for r in rows])[:-1]

    def back(read):
        return {part: undo(values.reshape(value.shape))
                for (part, (value, undo)), values in zip(stored.items(), np.split(read[0], ends))}

    return Stored([Tensor(name, np.concatenate(rows), std)], back)


def experts(case, name, value):
    """A layer's fused experts: a tensor each for gate, up and down, in old files one for every expert."""
    layer, half, std = name.split(".")[2], value.shape[1] // 2, spread(name, value.shape)
    parts = {"gate": value[:, :half], "up": value[:, half:]} if name.endswith("gate_up_proj") else {"down": value}
    if case.layout != "experts":
        tensors = [Tensor(f"blk.{layer}.ffn_{part}_exps.weight", values, std) for part, values in parts.items()]
        return Stored(tensors, lambda read: {name: np.concatenate(read, axis=1)})
    tensors = [Tensor(f"blk.{layer}.ffn_{part}.{expert}.weight", matrix, std)
               for part, values in parts.items() for expert, matrix in enumerate(values)]
    count = len(value)
    return Stored(tensors, lambda read: {name: np.concatenate(
        [np.stack(read[i : i + count]) for i in range(0, len(read), count)], axis=1)})


def stored_tensors(case, weights):
    """The tensors of a file, in the order of the model's."""
    done = set()
    for name, value in weights.items():
        if name in done:
            continue
        if ".experts." in name:
            yield experts(case, name, value)
        elif ".norms." in name:  # StableLM's norms of single heads
            stem = name[: name.index(".norms.")]
            parts = {n: w for n, w in weights.items() if n.startswith(stem)}
            layer, which = stem.split(".")[2], stem.split(".")[-1][0]
            done.update(parts)
            yield stacked(case, f"blk.{layer}.attn_{which}_norm.weight", parts, 0.0)
        elif case.layout == "attn_qkv" and re.search(r"self_attn\.[qkv]_proj\.", name):
            parts = {n: weights[n] for n in (re.sub(r"[qkv]_proj", f"{which}_proj", name) for which in "qkv")}
            done.update(parts)
            fused = gguf_name(case, next(iter(parts))).replace("attn_q", "attn_qkv")
            yield stacked(case, fused, parts, spread(name, value.shape))
        else:
            yield one_tensor(case, name, value)


def rope_tensors(case):
    """Divisors of the angles: what llama3 scaling comes to, or longrope's factors."""
    scaling = case.get("rope_scaling", {})
    if scaling.get("rope_type") == "llama3":
        yield "rope_freqs.weight", llama3_divisors(case)
    for which in ("long", "short"):
        if f"{which}_factor" in scaling:
            yield f"rope_factors_{which}.weight", np.array(scaling[f"{which}_factor"], np.float32)


def llama3_divisors(case):
    """rope_freqs.weight: what llama3 scaling divides each pair's angle by."""
    s, d = case.config["rope_scaling"], rotary_dim(case)
    low, high = s["low_freq_factor"], s["high_freq_factor"]
    original = s["original_max_position_embeddings"]
    out = []
    for i in range(d // 2):
        wavelength = 2 * math.pi * case.config["rope_theta"] ** (2 * i / d)
        t = (original / wavelength - low) / (high - low)
        t = min(max(t, 0.0), 1.0)
        out.append(1.0 / ((1.0 - t) / s["factor"] + t))
    return np.array(out, dtype=np.float32)


# ---- files ----------------------------------------------------------------------------------------------------------


def add_key(writer, key, value):
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_float32(key, value)


def write_gguf(case, folder, weights, rng):
    """Writes model.gguf and returns the values that its tensors stand for, under transformers' names and row order."""
    kind = Type[case.weights.upper()]
    path = folder / "model.gguf"
    w = gguf.GGUFWriter(path, architecture(case), split_max_tensors=case.split)
    w.add_name(case.name)
    w.add_file_type(int(gguf.LlamaFileType["ALL_F32" if kind == Type.F32 else {
        Type.Q2_K: "MOSTLY_Q2_K", Type.Q3_K: "MOSTLY_Q3_K_M", Type.Q4_K: "MOSTLY_Q4_K_M", Type.Q5_K: "MOSTLY_Q5_K_M",
        Type.MXFP4: "MOSTLY_MXFP4_MOE"}.get(kind, f"MOSTLY_{kind.name}")]))
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    keys = usual_keys(case) | {key.replace("ARCH", architecture(case)): value for key, value in case.gguf.items()}
    for key, value in keys.items():
        if value is not ...:
            add_key(w, key, value)
    for name, value in rope_tensors(case):
        w.add_tensor(name, value)
    meant = {}
    for stored in stored_tensors(case, weights):
        read = []
        for tensor in stored.tensors:
            data, values, format_of_it = store(rng, tensor, kind)
            w.add_tensor(tensor.name, data, raw_dtype=format_of_it)
            read.append(values)
        meant |= stored.back(read)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if case.gguf_version != 3:  # nothing but the number differs in little-endian files
        data = bytearray(path.read_bytes())
        data[4:8] = case.gguf_version.to_bytes(4, "little")
        path.write_bytes(data)
    return meant
