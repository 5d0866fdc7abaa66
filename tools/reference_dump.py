#!/usr/bin/env python3
"""Dumps what transformers computes in the middle of a model, for `inspect certify`: every named intermediate of every
layer, logits, greedy tokens.

Needs the environment of tools/oracle_env.sh. MODEL is a checkpoint folder of a family in tools/reference_modules.py. One
forward pass in float32 with eager attention and no cache.

The dump is a safetensors file:
  ids [n] I64, greedy [g] I64, greedy_gaps [g] F32   the gap between the two best logits, of the largest one
  embedding, 0.attention_norm, 0.q, ... logits       F32 [n, columns], names as in include/tmodel/model/tap.hpp
  __metadata__   format, model_type, transformers, dtype (of most matrices, as stored), rope_length, start_position, angles
A first position other than 0 has the angles of the rotation computed in float64: in float32 they err by up to 3e-3 there.

  reference_dump.py MODEL --out DUMP (--ids 1,2,3 | --text TEXT | --count N [--seed S])
                    [--greedy N] [--rope-length N] [--start-position P]
  reference_dump.py MODEL --check DUMP   make it again from its own ids and compare
"""

import argparse
import collections
import contextlib
import pathlib
import sys

import golden_oracle as oracle  # before anything that computes with torch
import torch
import transformers
from reference_modules import FAMILIES, find, place
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = "tmodel reference dump 1"
MOST_IDS = 4096  # what a session computes as one chunk
AGAIN = 1e-6  # how far a dump that is made again may be, of an intermediate's largest element


class Refused(Exception):
    """What keeps a dump from being made, in one line."""


# ---- listening to a forward pass -------------------------------------------------------------------------------------


def rows(tensor):
    """[1, n, columns] as [n, columns], a copy: some layers go on computing in place."""
    tensor = tensor[0] if isinstance(tensor, tuple) else tensor
    return tensor.detach().reshape(-1, tensor.shape[-1]).float().clone()


def by_position(heads):
    """[1, heads, n, D] as [n, heads * D]."""
    return rows(heads.transpose(1, 2).flatten(2))


class Listener:
    """Collects intermediates by name while a model computes."""

    def __init__(self, model):
        self.model, self.found = model, {}
        self.family = FAMILIES[model.config.model_type]
        self.decoder = find(model, self.family.decoder)
        self.layers = find(self.decoder, self.family.layers)

    def put(self, name, tensor):
        self.found[name] = rows(tensor)

    @contextlib.contextmanager
    def listening(self):
        with contextlib.ExitStack() as undo:
            self.hook(undo, self.layers[0], False, "embedding")
            for i, layer in enumerate(self.layers):
                for tap, rule in self.family.taps.items():
                    module, output = place(layer, rule)
                    if module is not None:
                        self.hook(undo, module, output, f"{i}.{tap}")
                self.hook(undo, layer, True, f"{i}.residual")
            self.hook(undo, find(self.decoder, self.family.norm), True, "output_norm")
            undo.enter_context(self.hearing_attention())
            yield

    def hook(self, undo, module, output, name):
        if output:
            handle = module.register_forward_hook(lambda _, __, result: self.put(name, result))
        else:
            handle = module.register_forward_pre_hook(
                lambda _, positional, named: self.put(name, positional or named["hidden_states"]), with_kwargs=True)
        undo.callback(handle.remove)

    def hearing_attention(self):
        """Listens to what attention is given: q and k normed and rotated, and v."""
        modeling = sys.modules[type(self.decoder).__module__]
        return self.hearing_falcon(modeling) if hasattr(modeling, "FalconAttention") else self.hearing_eager(modeling)

    @contextlib.contextmanager
    def hearing_eager(self, modeling):
        attend = modeling.eager_attention_forward

        def listen(module, query, key, value, *more, **named):
            for tap, heads in (("q", query), ("k", key), ("v", value)):
                self.found[f"{module.layer_idx}.{tap}"] = by_position(heads)
            return attend(module, query, key, value, *more, **named)

        with replaced(modeling, "eager_attention_forward", listen):
            yield

    @contextlib.contextmanager
    def hearing_falcon(self, modeling):
        """Falcon's attention is no function of its own: its q, k, v are heard when they are cut into heads, and q and k
        again when they have been rotated. The new decoder repeats each key and value for the queries that read it."""
        split, rotate = modeling.FalconAttention._split_heads, modeling.apply_rotary_pos_emb
        config, layer = self.model.config, [0]

        def store(**by_tap):
            for tap, heads in by_tap.items():
                if tap != "q" and config.new_decoder_architecture:
                    heads = heads[:, :: config.num_attention_heads // config.num_kv_heads]
                self.found[f"{layer[0]}.{tap}"] = by_position(heads)

        def listen_split(attention, fused):
            layer[0] = attention.layer_idx
            q, k, v = split(attention, fused)
            store(q=q.transpose(1, 2), k=k.transpose(1, 2), v=v.transpose(1, 2))
            return q, k, v

        def listen_rotate(*arguments, **named):
            q, k = rotate(*arguments, **named)
            store(q=q, k=k)
            return q, k

        with (replaced(modeling.FalconAttention, "_split_heads", listen_split),
              replaced(modeling, "apply_rotary_pos_emb", listen_rotate)):
            yield


@contextlib.contextmanager
def replaced(owner, name, value):
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


# ---- a dump ----------------------------------------------------------------------------------------------------------


def fix_rope_length(model, length):
    """Has factors that depend on the length (dynamic, longrope) come out as for a text of `length` positions, whatever
    the positions of a pass: each rotary module is also asked for the last one."""
    for module in oracle.rotary_modules(model):
        def forward(x, position_ids, *more, inner=module.forward, **named):
            last = torch.full_like(position_ids[:, :1], length - 1)
            return tuple(part[:, :-1] for part in inner(x, torch.cat([position_ids, last], 1), *more, **named))

        module.forward = forward


def greedy_of(model, ids, count, start):
    """The ids that follow, and how far the best logit of each was before the second, of the largest."""
    path, gaps = list(ids), []
    for _ in range(count):
        row = oracle.logits_of(model, path, start)[-1]
        best = torch.topk(row, 2).values
        gaps.append(float((best[0] - best[1]) / row.abs().max()))
        path.append(int(row.argmax()))
    return path[len(ids) :], gaps


def stored_dtype(folder):
    """What most matrices of the folder are stored as; its files know that better than its configuration."""
    found = collections.Counter()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as tensors:
            slices = [tensors.get_slice(name) for name in tensors.keys()]
            found.update(part.get_dtype() for part in slices if len(part.get_shape()) > 1)
    return found.most_common(1)[0][0] if found else "unknown"


def load(folder):
    if not (folder / "config.json").is_file():
        raise Refused(f"{folder} has no config.json: a dump is made from a checkpoint folder")
    model = oracle.load(folder)
    if model.config.model_type not in FAMILIES:
        raise Refused(f"{folder}: model_type {model.config.model_type} is not one of {', '.join(FAMILIES)}")
    return model


def make_dump(folder, ids_of, greedy=0, rope_length=0, start=0):
    """Tensors and metadata; ids_of(model) gives the ids."""
    model = load(folder)
    ids = ids_of(model)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if not 0 < len(ids) <= MOST_IDS:
        raise Refused(f"a dump holds 1 to {MOST_IDS} ids, got {len(ids)}")
    if not all(0 <= i < vocabulary for i in ids):
        raise Refused(f"ids must be from 0 to {vocabulary - 1}")
    positions = start + len(ids) + greedy
    if 0 < rope_length < positions:
        raise Refused(f"--rope-length {rope_length} is less than the {positions} positions that are computed")
    if start:
        oracle.compute_angles_exactly(model)
    fix_rope_length(model, rope_length or positions)

    listener = Listener(model)
    with listener.listening():
        logits = oracle.logits_of(model, ids, start)
    path, gaps = greedy_of(model, ids, greedy, start)
    tensors = listener.found | {"logits": rows(logits), "ids": torch.tensor(ids),
                                "greedy": torch.tensor(path, dtype=torch.int64), "greedy_gaps": torch.tensor(gaps)}
    metadata = {"format": FORMAT, "model_type": model.config.model_type, "transformers": transformers.__version__,
                "dtype": stored_dtype(folder), "rope_length": rope_length or positions, "start_position": start,
                "angles": "float64" if start else "float32"}
    return tensors, {key: str(value) for key, value in metadata.items()}


def read_dump(path):
    try:
        with safe_open(path, "pt") as dump:
            metadata = dump.metadata() or {}
            tensors = {name: dump.get_tensor(name) for name in dump.keys()}
    except (OSError, SafetensorError) as error:
        raise Refused(f"{path}: {error}") from error
    if metadata.get("format") != FORMAT:
        raise Refused(f"{path} is not a dump of this tool")
    return tensors, metadata


def differences(old, new):
    """What differs between two dumps; greedy gaps are differences of nearly equal numbers and are left to the rest."""
    (old_tensors, old_metadata), (new_tensors, new_metadata) = old, new
    for key in sorted(old_metadata.keys() | new_metadata.keys()):
        if old_metadata.get(key) != new_metadata.get(key):
            yield f"{key} is {old_metadata.get(key)}, made again {new_metadata.get(key)}"
    for name in sorted(old_tensors.keys() | new_tensors.keys()):
        a, b = old_tensors.get(name), new_tensors.get(name)
        if a is None or b is None or a.shape != b.shape:
            yield f"{name} is in one of them only, or of another shape"
        elif name != "greedy_gaps" and len(a) and not (a - b).abs().max() <= AGAIN * b.abs().max():
            yield f"{name} differs"


def check(folder, dump):
    old = read_dump(dump)
    tensors, metadata = old
    again = make_dump(folder, lambda _: tensors["ids"].tolist(), len(tensors["greedy"]), int(metadata["rope_length"]),
                      int(metadata["start_position"]))
    found = list(differences(old, again))
    if found:
        raise Refused(f"{dump}: {'; '.join(found[:5])}")
    print(f"{dump}: made again, the same")


# ---- command ---------------------------------------------------------------------------------------------------------


def chosen_ids(arguments):
    if arguments.ids is not None:
        try:
            ids = [int(i) for i in arguments.ids.split(",")]
        except ValueError as error:
            raise Refused(f"--ids takes whole numbers separated by commas, got {arguments.ids}") from error
        return lambda _: ids
    if arguments.text is not None:
        return lambda _: transformers.AutoTokenizer.from_pretrained(arguments.model)(arguments.text)["input_ids"]
    generator = torch.Generator().manual_seed(arguments.seed)
    return lambda model: torch.randint(model.get_input_embeddings().weight.shape[0], (arguments.count,),
                                       generator=generator).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL", help="a checkpoint folder")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=pathlib.Path, help="the dump to write")
    what.add_argument("--check", type=pathlib.Path, metavar="DUMP", help="make this dump again and compare")
    ids = parser.add_mutually_exclusive_group()
    ids.add_argument("--ids", help="token ids, separated by commas")
    ids.add_argument("--text", help="a text for the folder's tokenizer")
    ids.add_argument("--count", type=int, default=24, help="so many random ids, default 24")
    parser.add_argument("--seed", type=int, default=0, help="of random ids")
    parser.add_argument("--greedy", type=int, default=0, help="greedy tokens to add")
    parser.add_argument("--rope-length", type=int, default=0,
                        help="positions that dynamic rope scaling and longrope are computed for, default: all of the dump")
    parser.add_argument("--start-position", type=int, default=0, help="position of the first id")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            check(arguments.model, arguments.check)
            return
        tensors, metadata = make_dump(arguments.model, chosen_ids(arguments), arguments.greedy, arguments.rope_length,
                                      arguments.start_position)
        save_file(tensors, arguments.out, metadata)
        arguments.out.chmod(0o644)  # safetensors keeps its files to their owner
    except (Refused, OSError, ValueError) as error:
        sys.exit(f"error: {error}".splitlines()[0])
    print(f"{arguments.out}: {len(tensors)} tensors of {metadata['model_type']}, {len(tensors['ids'])} ids")


if __name__ == "__main__":
    main()
