"""A tiny model that says one sentence, whatever it is asked: its layers add nothing, and its head knows which byte comes
after which. So chats can be tested without a real model, and what is said is known. It has two layers: the last one's
attention runs for the last token of a prompt only, and a very long prompt must take its time."""
import json
import struct

SENTENCE = "Quick foxes."  # no byte twice
GENERATION_PROMPT = ":"
EOS = 256
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}" + GENERATION_PROMPT


def byte_letters():
    """GPT-2's letters for the 256 bytes, and bytes in the order of their token ids."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    letters = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(other)}
    return letters, plain + other


def write(folder):
    """A model folder of 1.1 MB. After the sentence comes the end; without it (--ignore-eos) '!' for ever."""
    letters, order = byte_letters()
    ids = {byte: i for i, byte in enumerate(order)}
    vocab, dim, heads, ffn, layers = 257, 288, 9, 32, 2
    head_dim = dim // heads
    chain = [ids[b] for b in (GENERATION_PROMPT + SENTENCE).encode()]
    assert len(set(chain)) == len(chain)
    following = dict(zip(chain, chain[1:] + [EOS]))

    one = b"\x00\x3c"  # in f16

    def one_hot(rows):
        data = bytearray(vocab * dim * 2)
        for row, column in rows:
            at = (row * dim + column) * 2
            data[at:at + 2] = one
        return bytes(data)

    shapes = {"self_attn.q_proj": (dim, dim), "self_attn.k_proj": (head_dim, dim), "self_attn.v_proj": (head_dim, dim),
              "self_attn.o_proj": (dim, dim), "mlp.gate_proj": (ffn, dim), "mlp.up_proj": (ffn, dim), "mlp.down_proj": (dim, ffn)}
    tensors = {f"model.layers.{layer}.{name}.weight": (shape, bytes(2 * shape[0] * shape[1]))
               for layer in range(layers) for name, shape in shapes.items()}
    ones = ((dim,), one * dim)
    norms = [f"model.layers.{layer}.{name}" for layer in range(layers) for name in ("input_layernorm", "post_attention_layernorm")]
    for name in (*norms, "model.norm"):
        tensors[name + ".weight"] = ones
    tensors["model.embed_tokens.weight"] = ((vocab, dim), one_hot((t, t) for t in range(vocab)))
    tensors["lm_head.weight"] = ((vocab, dim), one_hot((following.get(t, EOS), t) for t in range(vocab)))
    header, data = {}, b""
    for name, (shape, raw) in tensors.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": dim, "intermediate_size": ffn, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 1, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "eos_token_id": EOS}))
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    end = {"id": EOS, "content": "<end>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {letters[b]: i for b, i in ids.items()}, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>", "chat_template": TEMPLATE}))
