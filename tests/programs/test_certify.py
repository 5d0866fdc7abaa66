#!/usr/bin/env python3
"""inspect certify: sound models are certified on every backend, and planted faults are found at the right place.

Usage: test_certify.py INSPECT CONFORMANCE_DATA. The data folder may be missing: checks of GGUF files are then left out.
Dumps were made by tools/reference_dump.py from the goldens of the same names.
"""
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

INSPECT, DATA = sys.argv[1], pathlib.Path(sys.argv[2])
GOLDENS = pathlib.Path(__file__).resolve().parent.parent / "goldens"
STORIES = DATA / "models" / "stories260K" / "derived"
LLAMA, GEMMA, FALCON = "llama_eps_large", "gemma2_window", "falcon_40b"
DIFFERS = 5


def run(*args):
    return subprocess.run([INSPECT, *map(str, args)], capture_output=True, timeout=300)


def dump_of(name):
    return GOLDENS / "dumps" / f"{name}.safetensors"


def read_tensors(path):
    """Header and {name: bytes} of a safetensors file."""
    raw = path.read_bytes()
    begin = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:begin])
    metadata = header.pop("__metadata__", {})
    tensors = {name: raw[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]] for name, entry in header.items()}
    return metadata, header, tensors


def write_tensors(path, metadata, header, tensors):
    data = b""
    for name, entry in header.items():
        entry["data_offsets"] = [len(data), len(data) + len(tensors[name])]
        data += tensors[name]
    text = json.dumps({"__metadata__": metadata, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def matrix_rows(tensor, rows):
    size = len(tensor) // rows
    return [tensor[i * size : (i + 1) * size] for i in range(rows)]


def interleaved(tensor, rows, heads):
    """Rows of each head, in halves, as pairs that stand side by side."""
    rows = matrix_rows(tensor, rows)
    half = len(rows) // heads // 2
    order = [head * 2 * half + part * half + i for head in range(heads) for i in range(half) for part in (0, 1)]
    return b"".join(rows[i] for i in order)


class Certify(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def certify(self, model, dump, *more):
        """Exit code, report and printed text."""
        report = self.folder / "report.json"
        result = run("certify", model, "--reference", dump, "--json", report, *more)
        self.assertIn(result.returncode, (0, DIFFERS), result.stderr)
        return result.returncode, json.loads(report.read_text()), result.stdout.decode()

    def copy(self, name):
        model = self.folder / name
        shutil.copytree(GOLDENS / "models" / name, model)
        return model

    def edit_config(self, name, **keys):
        """A copy of a golden with other values of keys that its config.json has."""
        model = self.copy(name)
        config = json.loads((model / "config.json").read_text())
        self.assertLessEqual(keys.keys(), config.keys())
        (model / "config.json").write_text(json.dumps(config | keys))
        return model

    def edit_tensors(self, name, edit):
        """A copy of a golden whose tensors edit() has changed."""
        model = self.copy(name)
        metadata, header, tensors = read_tensors(model / "model.safetensors")
        edit(tensors)
        write_tensors(model / "model.safetensors", metadata, header, tensors)
        return model

    def assert_found(self, model, dump, where, position, *words):
        for backend in ("reference", "cpu"):
            code, report, text = self.certify(model, dump_of(dump), "--backend", backend)
            self.assertEqual(code, DIFFERS, text)
            self.assertFalse(report["certified"])
            self.assertEqual((report["first"]["name"], report["first"]["first_position_beyond"]), (where, position), text)
            for word in words:
                self.assertIn(word, report["first"]["look_at"])
            self.assertIn(f"differs: first at {where}, from position {position} on", text)
            self.assertIn(report["first"]["look_at"], text)


class Sound(Certify):
    def test_goldens_are_certified(self):
        for name in (LLAMA, GEMMA, FALCON):
            for backend in ("reference", "cpu", "opencl"):
                convert = ("--convert", "f32") if backend == "opencl" else ()
                if backend == "opencl" and b"opencl" not in run("certify", "--help").stdout:
                    continue
                code, report, text = self.certify(GOLDENS / "models" / name, dump_of(name), "--backend", backend, *convert)
                self.assertEqual(code, 0, text)
                self.assertTrue(report["certified"])
                self.assertNotIn("first", report)
                self.assertEqual(report["greedy"], {"tokens": 16, "equal": 16, "close": 0})
                self.assertEqual(report["logits"]["best_equal"], 24)
                self.assertLess(report["logits"]["mean_kl"], 1e-8)
                self.assertEqual(text.splitlines()[-1], "certified")

    def test_every_intermediate_is_reported(self):
        _, header, _ = read_tensors(dump_of(LLAMA))
        _, report, text = self.certify(GOLDENS / "models" / LLAMA, dump_of(LLAMA), "--all")
        names = [d["name"] for d in report["intermediates"]]
        self.assertEqual(sorted(names), sorted(header.keys() - {"ids", "greedy", "greedy_gaps"}))
        self.assertEqual((names[0], names[1], names[-1]), ("embedding", "0.attention_norm", "logits"))
        self.assertEqual(text.count("\nffn "), 2)

    def test_a_trimmed_vocabulary_is_compared_as_far_as_it_goes(self):
        metadata, header, tensors = read_tensors(dump_of(LLAMA))
        header["logits"]["shape"] = [24, 100]
        tensors["logits"] = b"".join(row + struct.pack("<4f", -9, -9, -9, -9) for row in matrix_rows(tensors["logits"], 24))
        write_tensors(self.folder / "wide", metadata, header, tensors)
        code, _, text = self.certify(GOLDENS / "models" / LLAMA, self.folder / "wide")
        self.assertEqual(code, 0, text)
        self.assertIn("vocabulary: 96 rows here, 100 in the reference; 96 compared", text)

    @unittest.skipUnless(STORIES.is_dir(), "no conformance data")
    def test_converted_files_are_certified_against_their_folder(self):
        files = ("hf", "hf-bf16", *(f"stories260K-{weights}.gguf" for weights in ("f32", "f16", "q8_0", "q4_0")))
        for file in files:
            for backend in ("reference", "cpu"):
                code, _, text = self.certify(STORIES / file, dump_of("stories260K"), "--backend", backend)
                self.assertEqual(code, 0, (file, text))


class Planted(Certify):
    def test_wrong_epsilon(self):
        model = self.edit_config(LLAMA, rms_norm_eps=1e-6)
        self.assert_found(model, LLAMA, "0.attention_norm", 0, "epsilon")

    def test_swapped_tensors(self):
        def swap(tensors):
            gate, up = (f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up"))
            tensors[gate], tensors[up] = tensors[up], tensors[gate]

        self.assert_found(self.edit_tensors(LLAMA, swap), LLAMA, "1.ffn", 0, "gate, up and down")

    def test_window_off_by_one(self):
        self.assert_found(self.edit_config(GEMMA, sliding_window=9), GEMMA, "0.heads", 8, "window")

    def test_interleaved_for_half_split_pairs(self):
        def permute(tensors):
            for part, rows, heads in (("q", 32, 4), ("k", 16, 2)):
                name = f"model.layers.1.self_attn.{part}_proj.weight"
                tensors[name] = interleaved(tensors[name], rows, heads)

        self.assert_found(self.edit_tensors(LLAMA, permute), LLAMA, "1.q", 0, "pairing")

    def test_wrong_scale_of_scores(self):
        self.assert_found(self.edit_config(GEMMA, query_pre_attn_scalar=16), GEMMA, "0.heads", 1, "scale of scores")

    def test_wrong_base_of_the_rotation(self):
        self.assert_found(self.edit_config(LLAMA, rope_theta=500000.0), LLAMA, "0.q", 1, "base")

    def test_swapped_norms(self):
        def swap(tensors):
            attention, ffn = (f"transformer.h.1.ln_{part}.weight" for part in ("attn", "mlp"))
            tensors[attention], tensors[ffn] = tensors[ffn], tensors[attention]

        self.assert_found(self.edit_tensors(FALCON, swap), FALCON, "1.attention_norm", 0, "norm")

    def test_no_cap_of_logits(self):
        self.assert_found(self.edit_config(GEMMA, final_logit_softcapping=None), GEMMA, "logits", 0, "soft-cap")


class Refused(Certify):
    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stdout)
        lines = result.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])

    def test_a_dump_of_another_model(self):
        self.assert_refused(run("certify", GOLDENS / "models" / GEMMA, "--reference", dump_of(LLAMA)), "another model", "0.q")

    def test_a_dump_of_more_layers(self):
        metadata, header, tensors = read_tensors(dump_of(LLAMA))
        header["2.q"], tensors["2.q"] = dict(header["1.q"]), tensors["1.q"]
        write_tensors(self.folder / "more", metadata, header, tensors)
        self.assert_refused(run("certify", GOLDENS / "models" / LLAMA, "--reference", self.folder / "more"), "2.q")

    def test_a_dump_without_an_intermediate(self):
        metadata, header, tensors = read_tensors(dump_of(LLAMA))
        del header["1.v"]
        write_tensors(self.folder / "less", metadata, header, tensors)
        self.assert_refused(run("certify", GOLDENS / "models" / LLAMA, "--reference", self.folder / "less"), "lacks", "1.v")

    def test_no_dump(self):
        model = GOLDENS / "models" / LLAMA
        self.assert_refused(run("certify", model, "--reference", "/nowhere/dump"), "/nowhere/dump")
        self.assert_refused(run("certify", model, "--reference", model / "model.safetensors"), "not a reference dump")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
