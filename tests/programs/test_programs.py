#!/usr/bin/env python3
"""Runs inspect and generate as a user or script would.

Usage: test_programs.py INSPECT GENERATE CONFORMANCE_DATA SMOLLM2. The data folder and the model may be missing: the
checks that need them are then left out.
"""
import json
import math
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

INSPECT, GENERATE, DATA, SMOLLM2 = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDENS = ROOT / "tests" / "goldens" / "models"
STORIES = DATA / "models" / "stories260K"


def run(*args, stdin=b"", program=INSPECT, **more):
    return subprocess.run([program, *map(str, args)], input=stdin, capture_output=True, timeout=300, **more)


class Usage(unittest.TestCase):
    def assert_error(self, result, code, *words):
        self.assertEqual(result.returncode, code, result.stderr)
        lines = result.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith("error:"), lines)
        for word in words:
            self.assertIn(word, lines[0])

    def test_wrong_usage_is_1(self):
        self.assert_error(run(), 1)
        self.assert_error(run("no_such_verb"), 1)
        self.assert_error(run("tensors"), 1)
        self.assert_error(run("logits", "x", "--ids", "1,x", "--out", "/dev/null"), 1, "token ids")
        self.assert_error(run("--no-such-flag", program=GENERATE), 1)
        self.assert_error(run("-p", "hi", program=GENERATE), 1, "--model")
        self.assert_error(run("-m", "x", "-p", "hi", "--backend", "cuda", program=GENERATE), 1, "cuda")

    def test_a_missing_model_is_2(self):
        for verb in (["tensors"], ["info"], ["plan"], ["tokens", "--decode", "1"]):
            self.assert_error(run(verb[0], "/nowhere/model.gguf", *verb[1:]), 2, "/nowhere/model.gguf")
        self.assert_error(run("-m", "/nowhere", "-p", "hi", program=GENERATE), 2, "/nowhere")

    def test_a_device_that_is_not_there_is_4(self):
        golden = GOLDENS / "llama_gqa"
        self.assert_error(run("logits", golden, "--ids", "1", "--out", "/dev/null", "--backend", "opencl:99"), 4)

    @unittest.skipIf(b"__asan_init" in pathlib.Path(INSPECT).read_bytes(), "asan's shadow memory has no room under qemu")
    def test_a_cpu_without_avx2_is_4(self):
        for program in (INSPECT, GENERATE):
            result = subprocess.run(["qemu-x86_64", "-cpu", "Nehalem", program, "--help"], capture_output=True, timeout=60)
            self.assert_error(result, 4, "AVX")

    def test_help_is_on_stdout(self):
        for program in (INSPECT, GENERATE):
            result = run("--help", program=program)
            self.assertEqual(result.returncode, 0)
            self.assertIn(b"--help", result.stdout)

    def test_another_family_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "config.json").write_text('{"model_type": "rwkv"}')
            pathlib.Path(folder, "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
            self.assert_error(run("info", folder), 2, "rwkv")
            self.assert_error(run("logits", folder, "--ids", "1", "--out", "/dev/null"), 2, "rwkv", "llama, mistral", "nearest")


class Families(unittest.TestCase):
    def test_readme_lists_what_the_program_says(self):
        tables = run("families", "--markdown")
        self.assertEqual(tables.returncode, 0)
        readme = (ROOT / "README.md").read_text()
        section = readme.split("<!-- inspect families --markdown -->\n")[1].split("<!-- end -->")[0]
        self.assertEqual(section, tables.stdout.decode(), "put the program's output between the marks in README.md")

    def test_info_says_what_gguf_cannot(self):
        info = run("info", GOLDENS / "gguf_phi" / "model.gguf", "--json")
        self.assertIn("qk_layernorm", json.loads(info.stdout)["not_in_gguf"])


class Goldens(unittest.TestCase):
    def logits(self, model, ids, *more):
        with tempfile.NamedTemporaryFile() as out:
            result = run("logits", model, "--ids", ",".join(map(str, ids)), "--out", out.name, *more)
            self.assertEqual(result.returncode, 0, result.stderr)
            raw = out.read()
        return struct.unpack(f"<{len(raw) // 4}f", raw)

    def test_logits_on_every_backend_equal_the_golden(self):
        for name in ("llama_gqa", "qwen2_tied", "llama_dynamic_long", "llama_at_2100", "gemma3_text_rope_v5", "falcon_40b",
                     "qwen3_moe_norm"):
            expected = json.loads((GOLDENS / name / "expected.json").read_text())
            raw = (GOLDENS / name / expected["logits"]).read_bytes()
            want = struct.unpack(f"<{len(raw) // 4}f", raw)
            largest = max(map(abs, want))
            for backend, bound in (("reference", 2e-5), ("cpu", 1e-4), ("opencl", 1e-4)):
                got = self.logits(GOLDENS / name, expected["ids"], "--backend", backend, "--chunk", 5,
                                  "--start-position", expected.get("start_position", 0),
                                  *(("--convert", "f32") if backend == "opencl" else ()))
                self.assertEqual(len(got), len(want))
                self.assertLessEqual(max(abs(a - b) for a, b in zip(got, want)), bound * largest, (name, backend))

    def test_plan_and_info_need_no_tokenizer(self):
        plan = json.loads(run("plan", GOLDENS / "llama_gqa", "--json", "--ctx", 100, "--kv", "f16").stdout)
        self.assertEqual(plan["total"], sum(v for k, v in plan.items() if k != "total"))
        twice = json.loads(run("plan", GOLDENS / "llama_gqa", "--json", "--ctx", 100, "--kv", "f16", "--batch", 2).stdout)
        self.assertEqual(twice["kv_cache"], 2 * plan["kv_cache"])
        info = json.loads(run("info", GOLDENS / "qwen2_tied", "--json").stdout)
        self.assertEqual(info["family"], "qwen2")
        self.assertEqual(info["tokenizer"], "none")


class Stories(unittest.TestCase):
    derived = STORIES / "derived"

    def test_container_verdicts(self):
        cases = json.loads((DATA / "malformed" / "expectations.json").read_text())
        for case in cases:
            result = run("tensors", DATA / "malformed" / case["file"])
            verdict = case["expect"]
            if verdict.startswith("accept") or "as model" in verdict:
                self.assertEqual(result.returncode, 0, case)
            elif verdict.startswith("reject"):
                self.assertEqual(result.returncode, 2, case)
                result.stderr.decode()  # valid UTF-8
            else:
                self.assertIn(result.returncode, (0, 2), case)
        model = run("info", DATA / "malformed" / "gguf_own" / "arch_invalid_utf8.gguf")
        self.assertEqual(model.returncode, 2)
        model.stderr.decode()

    def test_tensors_are_listed_a_line_each(self):
        lines = run("tensors", self.derived / "stories260K-q8_0.gguf").stdout.decode().splitlines()
        self.assertIn("token_embd.weight", " ".join(lines))
        self.assertTrue(all(len(line.split()) >= 4 for line in lines))

    def greedy(self, model, prompt, n, *more):
        result = run("-m", model, "--raw", "-p", prompt, "-n", n, "--temp", 0, *more, program=GENERATE)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.decode()[:-1]

    def test_greedy_texts(self):
        cases = json.loads((STORIES / "expected_greedy.json").read_text())["cases"]
        for backend in ("reference", "cpu", "opencl"):
            for model in (self.derived / "stories260K-f32.gguf", self.derived / "hf"):
                for case in cases[1:]:
                    n = len(case["ids"]) - len(json.loads(run("tokens", model, case["prompt"]).stdout))
                    text = self.greedy(model, case["prompt"], n, "--backend", backend)
                    self.assertEqual(case["prompt"] + text, case["expected_text"], (backend, model))

    def test_greedy_texts_of_quantised_files(self):
        expected = json.loads((self.derived / "expected_by_quant.json").read_text())
        for quant, want in expected.items():
            ids = want["greedy_100_ids"]
            result = run("logits", self.derived / f"stories260K-{quant}.gguf", "--ids", ",".join(map(str, ids)), "--out", "/dev/stdout",
                         "--backend", "reference")
            flat = struct.unpack(f"<{len(result.stdout) // 4}f", result.stdout)
            rows = [flat[i * 512:(i + 1) * 512] for i in range(len(ids))]
            self.assertEqual([max(range(512), key=row.__getitem__) for row in rows[:-1]], ids[1:], quant)

    def test_gguf_and_safetensors_give_the_same_bits(self):
        ids = ",".join(map(str, json.loads((self.derived / "ref_logits.json").read_text())["ids"]))
        for backend in ("reference", "cpu"):
            both = [run("logits", self.derived / m, "--ids", ids, "--out", "/dev/stdout", "--backend", backend).stdout
                    for m in ("stories260K-f32.gguf", "hf")]
            self.assertEqual(len(both[0]), 64 * 512 * 4)
            self.assertEqual(both[0], both[1])

    def test_perplexities(self):
        expected = json.loads((self.derived / "ref_perplexity.json").read_text())
        text = (DATA / "text" / "tinyshakespeare.txt").read_bytes()[:20000]
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            for backend in ("reference", "cpu"):
                got = json.loads(run("perplexity", self.derived / "stories260K-f32.gguf", "--file", file.name, "--chunks", 4,
                                     "--backend", backend).stdout)
                want = expected["tinyshakespeare_first_20000_chars"]
                self.assertEqual(got["tokens_scored"], want["tokens_scored"])
                self.assertTrue(math.isclose(got["perplexity"], want["ppl"], rel_tol=1e-4), (backend, got))

    def test_tokens_and_back(self):
        model = self.derived / "stories260K-f32.gguf"
        ids = json.loads(run("tokens", model, "Once upon a time").stdout)
        self.assertEqual(ids[0], 1)
        raw = json.loads(run("tokens", model, "--raw", "--file", "/dev/stdin", stdin=b"Once upon a time").stdout)
        self.assertEqual(raw, ids[1:])
        back = run("tokens", model, "--decode", ",".join(map(str, raw))).stdout.decode()
        self.assertEqual(back.strip(), "Once upon a time")
        bare = json.loads(run("tokens", DATA / "tokenizers" / "qwen3" / "tokenizer.json", "Hello world").stdout)
        self.assertEqual(bare, [9707, 1879])

    def test_prompt_equals_the_renderings(self):
        folder = DATA / "chat_templates"
        checked = 0
        for line in (folder / "renderings.jsonl").read_text().splitlines()[::7]:
            case = json.loads(line)
            result = run("prompt", "-", folder / "contexts" / (case["context"] + ".json"), "--template", folder / case["template"],
                         "--now", "2025-07-10T12:00")
            if "error" in case:
                self.assertEqual(result.returncode, 2, case["template"])
            else:
                self.assertEqual(result.stdout.decode(), case["output"], case["template"])
            checked += 1
        self.assertGreater(checked, 20)


class Generate(unittest.TestCase):
    def test_answer_alone_is_on_stdout(self):
        for more in ((), ("--threads", 1), ("--kv", "q8_0"), ("--backend", "reference", "-n", 12)):
            result = run("-m", SMOLLM2, "-p", "What is the capital of France? Answer in one word.", *more, program=GENERATE)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(b"Paris", result.stdout)
            self.assertEqual(result.stderr, b"")

    def test_a_question_through_a_pipe(self):
        result = run("-m", SMOLLM2, stdin=b"What is the capital of France? Answer in one word.", program=GENERATE)
        self.assertIn(b"Paris", result.stdout)

    def test_a_memory_limit_is_3(self):
        result = run("-m", SMOLLM2, "-p", "hi", "--max-memory", 1, program=GENERATE)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"memory budget", result.stderr)

    def test_interrupt_ends_the_answer_and_then_the_program(self):
        command = [GENERATE, "-m", SMOLLM2, "-p", "Tell me a very long story about a dragon.", "--temp", "1", "--raw", "--ctx", "4000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(process.stdout.read(20))
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_closed_pipe_ends_it_quietly(self):
        process = subprocess.Popen([GENERATE, "-m", SMOLLM2, "-p", "Tell me a long story."], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.wait(timeout=30)

    def test_seeded_sampling_repeats(self):
        texts = [run("-m", SMOLLM2, "-p", "Name an animal.", "--temp", "1.2", "--top-p", "0.9", "-n", 20, "--seed", seed, program=GENERATE).stdout
                 for seed in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])


# What cannot run here is not there, rather than skipped.
if b" avx2 " not in pathlib.Path("/proc/cpuinfo").read_bytes() or not shutil.which("qemu-x86_64"):
    del Usage.test_a_cpu_without_avx2_is_4
if not DATA.is_dir():
    del Stories
if not os.path.isfile(SMOLLM2):
    del Generate

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
