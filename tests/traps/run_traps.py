"""Springs the traps that other engines have fallen into, one at a time, in a copy of the headers, and checks that a golden
sees it. A trap that no golden sees is a hole in the tests.

  run_traps.py [--only TEXT] [--jobs N]

A trap: what is done wrong, the header, what stands there, what takes its place, and names of goldens that must then
differ (parts of their folders' names). Windows of thousands of ids are read from configurations in test_refusals.cpp. About a quarter of a minute each; ./test --long runs all.
"""
import argparse
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

TRAPS = [
    ("GGUF llama rows are taken as if they were in halves", "families/llama.hpp", ".interleaved_gguf = true", ".interleaved_gguf = false", ["gguf_llama"]),
    ("GGUF smollm3 rows are taken as if they were in halves", "families/smollm3.hpp", ".interleaved_gguf = true", ".interleaved_gguf = false", ["gguf_smollm3"]),
    ("GGUF granite rows are taken as if they were in halves", "families/granite.hpp", ".interleaved_gguf = true", ".interleaved_gguf = false", ["gguf_granite"]),
    ("GGUF qwen2 rows are taken as if they were interleaved", "families/qwen2.hpp", ".max_positions = 32768", ".max_positions = 32768, .interleaved_gguf = true", ["gguf_qwen2"]),
    ("Gemma's norms without the 1", "families/gemma.hpp", "r.gguf() ? 0.f : 1.f", "0.f", ["gemma_"]),
    ("Gemma's norms in GGUF with the 1 twice", "families/gemma.hpp", "r.gguf() ? 0.f : 1.f", "1.f", ["gguf_gemma"]),
    ("Gemma's embeddings are not scaled", "families/gemma.hpp", "std::sqrt(static_cast<f32>(c.dim))", "1", ["gemma_"]),
    ("Gemma's embedding scale is rounded to bf16", "families/gemma.hpp", "std::sqrt(static_cast<f32>(c.dim))", "to_f32(to_bf16(std::sqrt(static_cast<f32>(c.dim))))", ["gemma_"]),
    ("Gemma gates by the erf form", "families/gemma.hpp", "Activation::gelu_tanh", "Activation::gelu_erf", ["gemma_"]),
    ("Gemma 2's post_attention_layernorm stands before the ffn", "families/gemma2.hpp", "pre_feedforward_layernorm", "post_attention_layernorm", ["gemma2_"]),
    ("Gemma 2 and 3 scale scores by the head dimension", "families/gemma.hpp", 'r.positive("query_pre_attn_scalar", 256)', "static_cast<f64>(c.head_dim)", ["gemma2_", "gemma3_"]),
    ("Gemma 2 caps no scores", "families/gemma2.hpp", "r.is_null(keys::attention_softcap) ? 0.f :", "true ? 0.f :", ["gemma2_"]),
    ("Gemma 2 caps no logits", "families/gemma2.hpp", "c.final_softcap = r.is_null(keys::final_softcap) ? 0.f :", "c.final_softcap = true ? 0.f :", ["gemma2_"]),
    ("Gemma 2's window on odd layers", "families/gemma2.hpp", "(layer + 1) % c.window_period != 0", "(layer + 1) % c.window_period == 0", ["gemma2_"]),
    ("Gemma 3's global layer is the first of six", "families/gemma3.hpp", "(layer + 1) % c.window_period != 0", "layer % c.window_period != 0", ["gemma3_text_"]),
    ("Gemma 3's local layers rotate by the global base", "families/gemma3.hpp", "local ? 1 : 0", "0", ["gemma3_text_"]),
    ("Gemma 3's local layers are scaled too", "families/gemma3.hpp", ".scaled = false", ".scaled = true", ["gemma3_text_linear"]),
    ("Gemma 3 normalises queries after the rotation", "model/forward.hpp", None, None, ["gemma3_text_", "qwen3_"]),
    ("Qwen2's dead window is used", "families/defaults.hpp", '!r.flag("use_sliding_window", false) || ', "", ["qwen2_"]),
    ("A window sees one key more", "backends/reference.hpp", "position + 1 - shape.window", "position - shape.window", ["window"]),
    ("The scale ignores head_dim", "families/defaults.hpp", "std::sqrt(static_cast<f64>(c.head_dim))", "std::sqrt(static_cast<f64>(c.dim / c.heads))", ["head_dim"]),
    ("Granite's attention multiplier is ignored", "families/granite.hpp", 'static_cast<f32>(r.number(Key{"attention_multiplier", "attention.scale"}, unset))', "static_cast<f32>(unset)", ["granite_"]),
    ("Granite's residual multiplier is ignored", "families/granite.hpp", 'static_cast<f32>(r.number(Key{"residual_multiplier", "residual_scale"}, 1))', "1", ["granite_"]),
    ("Granite's logits are multiplied", "families/granite.hpp", "1.0 / r.positive(", "r.positive(", ["granite_"]),
    ("Router weights are not renormalised", "families/mixtral.hpp", "c.experts_used = r.size", "c.normalize_routes = false, c.experts_used = r.size", ["mixtral_"]),
    ("Router weights are always renormalised", "families/qwen3_moe.hpp", 'r.flag("norm_topk_prob", false)', "true", ["qwen3_moe_"]),
    ("Qwen3-MoE's dense layers are ignored", "families/qwen3_moe.hpp", "c.expert_layers = expert_layers(r, c.layers);", "", ["qwen3_moe_"]),
    ("Mixtral's w2 and w3 are exchanged", "families/mixtral.hpp", "experts.@.w3", "experts.@.w1", ["mixtral_"]),
    ("Phi's head has no bias", "model/forward.hpp", "matmul<B>(be, w.output, be.prepare(last, w.output.acts()), logits);", "w.output.visit([&](const auto& m) { be.matmul(m, be.prepare(last, w.output.acts()), logits, {}); });", ["phi_"]),
    ("Phi-3's gate and up are exchanged", "model/tensor_finder.hpp", "role == Role::up ? n : 0", "role == Role::up ? 0 : n", ["phi3_"]),
    ("Falcon's groups are taken as q, k, v in a row", "families/falcon.hpp", "c.grouped_qkv = true", "c.grouped_qkv = false", ["falcon_40b", "falcon_old"]),
    ("Falcon's num_kv_heads of a multi-query file is used", "families/falcon.hpp", "c.kv_heads = 1", "c.kv_heads = c.kv_heads", ["falcon_7b"]),
    ("Falcon's GELU by the tanh form", "families/falcon.hpp", "Activation::gelu_erf", "Activation::gelu_tanh", ["falcon_"]),
    ("Falcon's norms are exchanged", "families/falcon.hpp", "transformer.h.#.ln_attn", "transformer.h.#.ln_mlp", ["falcon_40b"]),
    ("Alibi is added after the scale", "backends/reference.hpp", None, None, ["alibi"]),
    ("Partial rotation pairs with half of the head", "backends/reference.hpp", "const int pairs = shape.rotary_dim / 2;", "const int pairs = shape.head_dim / 2;", ["phi_", "stablelm_"]),
    ("StableLM's heads share one norm", "families/stablelm.hpp", "self_attn.q_layernorm.norms.@", "self_attn.q_layernorm.norms.0", ["stablelm_"]),
    ("no_rope_layers is read as it is named", "families/smollm3.hpp", "reader.number() != 0", "reader.number() == 0", ["smollm3_"]),
    ("SmolLM3 rotates in all layers", "families/smollm3.hpp", ".rope_table = rotated ? 0 : -1", ".rope_table = 0", ["smollm3_"]),
    ("OLMo 2 normalises each head", "families/olmo2.hpp", "QkNorm::whole", "QkNorm::none", ["olmo2_"]),
    ("YaRN's factor is overridden by the lengths", "families/rope_config.hpp", 'p.factor = r.positive(find("factor"), longrope ? max_positions / p.original_length : 1.0);', "p.factor = max_positions / p.original_length;", ["yarn"]),
    ("longrope always takes the short factors", "core/rope.hpp", "longrope && length > p.original_length", "false", ["phi3_longrope"]),
    ("longrope's factors multiply", "core/rope.hpp", "out.inverse[i] /= static_cast<f64>(divisors[i])", "out.inverse[i] *= static_cast<f64>(divisors[i])", ["longrope"]),
    ("longrope's magnitude is forgotten", "core/rope.hpp", "std::sqrt(1.0 + std::log(p.factor) / std::log(p.original_length))", "1.0", ["longrope"]),
    ("Angles are rounded to f32", "backends/reference.hpp", "cos_sin((sequence.origin + sequence.position + i) * f.inverse[p],", "cos_sin(static_cast<f64>(static_cast<f32>(sequence.origin + sequence.position + i) * static_cast<f32>(f.inverse[p])),", ["_at_"]),
]

ROTATION = "  if (shape.rope_table >= 0) {\n    be.rope(q, c.heads, shape);\n    be.rope(k, c.kv_heads, shape);\n  }\n"
NORM = "  if constexpr (S.qk_norm != QkNorm::none) {\n"
ALIBI = "    if (shape.alibi) sum += static_cast<f64>(alibi_bias(slope, j));\n"
SCALE = "    sum *= static_cast<f64>(shape.scale);\n"

# Traps that exchange lines.
EXCHANGES = {"Gemma 3 normalises queries after the rotation": [(ROTATION, ""), (NORM, ROTATION + NORM)],
             "Alibi is added after the scale": [(ALIBI + SCALE, SCALE + ALIBI)]}


def spring(trap, folder):
    """None if a golden sees the trap, else what is wrong."""
    what, header, old, new, goldens = trap
    include = folder / "include"
    shutil.copytree(ROOT / "include", include)
    path = include / "tmodel" / header
    text = path.read_text()
    for before, after in EXCHANGES.get(what, [(old, new)]):
        if before not in text:
            return "the text to change is not there"
        text = text.replace(before, after)
    path.write_text(text)
    program = folder / "goldens"
    flags = subprocess.run(["pkg-config", "--cflags", "eigen3"], capture_output=True, text=True, check=True).stdout.split()
    built = subprocess.run(["clang++", "-std=c++20", "-O0", "-w",  # the quickest way to code that runs
                            f"-I{include}", f"-I{ROOT}/tests", *flags, f'-DTMODEL_GOLDENS="{ROOT}/tests/goldens"',
                            ROOT / "tests/traps/reference_goldens.cpp", "-o", program, "-lgtest", "-lpcre2-8", "-lutf8proc", "-lpthread"],
                           capture_output=True, text=True)
    if built.returncode != 0:
        return "does not compile: " + built.stderr.splitlines()[0]
    run = subprocess.run([program, *goldens], capture_output=True, text=True)
    if run.returncode == 1:
        print(f"seen: {what}: {run.stdout.splitlines()[-1]}", flush=True)
        return None
    return "no golden sees it" if run.returncode == 0 else f"fails with {run.returncode}: {run.stdout[-200:]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="traps whose description contains this")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    traps = [t for t in TRAPS if arguments.only in t[0]]
    if not traps:
        sys.exit(f"error: no trap's description contains {arguments.only}")

    def one(trap):
        with tempfile.TemporaryDirectory() as folder:
            return spring(trap, pathlib.Path(folder))

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        problems = [(t[0], p) for t, p in zip(traps, pool.map(one, traps)) if p is not None]
    for what, problem in problems:
        print(f"error: {what}: {problem}")
    print(f"{len(traps) - len(problems)} of {len(traps)} traps seen")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
