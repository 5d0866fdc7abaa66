"""What a case is, and what its families' modules share."""

import dataclasses


@dataclasses.dataclass
class Case:
    name: str
    family: str
    config: dict  # config.json
    note: str
    weights: str = "bf16"
    shards: int = 1
    prompt: int = 24
    start: int = 0  # position of the first id, with nothing before it
    greedy: bool = True
    rope_length: int | None = None
    layout: str = ""  # how the folder names its tensors, where that is not as transformers 5 does: see LAYOUTS
    extra: str = ""  # a tensor that the folder holds besides the model's own
    idle: tuple = ()  # tensors that do not show in the logits, as ends of names
    gguf: dict | None = None  # a GGUF file instead of a folder; keys beyond the usual ones
    gguf_version: int = 3
    split: int = 0  # tensors per GGUF file; 0: one file

    def get(self, key, default=None):
        value = self.config.get(key)
        return default if value is None else value

    @property
    def head_dim(self):
        return self.get("head_dim", self.config["hidden_size"] // self.config["num_attention_heads"])

    @property
    def kv_heads(self):
        return self.get("num_key_value_heads", self.config["num_attention_heads"])


def changed(config, changes):
    """A configuration with some keys changed; a change to `...` takes the key out."""
    return {key: value for key, value in (config | changes).items() if value is not ...}


def without(*keys):
    """The changes that take keys out."""
    return dict.fromkeys(keys, ...)


def v5(config, **rope):
    """The same as transformers 5 writes it: `dtype`, and everything about rotation in `rope_parameters`."""
    config = {k: v for k, v in config.items() if k not in ("rope_theta", "rope_scaling", "torch_dtype")}
    rope = {"rope_theta": 10000.0, "rope_type": "default"} | rope
    return config | {"dtype": "bfloat16", "rope_parameters": rope, "transformers_version": "5.0.0"}


LLAMA3 = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 512,
          "rope_type": "llama3"}
YARN = {"factor": 8.0, "original_max_position_embeddings": 256, "rope_type": "yarn"}  # a ramp of several of 8 pairs
WIDE = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}  # eight pairs: every branch of a scaling


STORED_AS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def folders(family, rows):
    """The cases of folders, from rows of name, config.json, note and, where there are any, further fields."""
    for name, config, note, *fields in rows:
        said = config.get("torch_dtype", config.get("dtype"))  # the storage is what config.json says
        yield Case(f"{family}_{name}", family, config, note, weights=STORED_AS[said], **(fields[0] if fields else {}))
