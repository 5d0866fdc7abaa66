"""transformers as the oracle of the goldens: logits, greedy ids, and a judgement whether a model is fit to be one.

Import this before torch does anything: it fixes how torch computes.
"""

import os

# The committed logits must come out again on another machine: no kernel may depend on the processor's model.
os.environ.update(MKL_CBWR="COMPATIBLE", ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1",
                  TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")

import contextlib
import copy
import json
import math
import pathlib

import torch
import transformers

torch.set_num_threads(1)
torch.backends.mkldnn.enabled = False
transformers.utils.logging.disable_progress_bar()

GREEDY = 64
SMALLEST_GAP = 1e-3  # between the two best logits, of the largest logit
ROUNDING = 2.5e-6  # float32 against float64, of the largest logit
SMALLEST_ROUTER_GAP = 1e-3  # between the router's logits of the last expert taken and the first one left
SMALLEST_EFFECT = 1e-3  # of any tensor on the logits, of the largest logit
DISTINCT = 5  # different ids that a greedy path must have at least


def attention_of(folder):
    """Eager attention, except where transformers' eager code adds falcon's alibi twice (to the scores and with the
    mask); its default, scaled_dot_product_attention, adds it once, as the models were trained."""
    return "sdpa" if json.loads((pathlib.Path(folder) / "config.json").read_text()).get("alibi") else "eager"


def load(folder):
    """The model of a folder, in float32."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention_of(folder), experts_implementation="eager",
        output_loading_info=True)
    if info["missing_keys"]:
        raise ValueError(f"{folder}: no tensors for {sorted(info['missing_keys'])}")
    return model.eval()


@torch.no_grad()
def logits_of(model, ids, start=0):
    """Logits of every id, the first one at position `start` of a sequence that has nothing before it."""
    positions = torch.arange(start, start + len(ids))[None]
    return model(input_ids=torch.tensor([ids]), position_ids=positions, use_cache=False).logits[0]


# ---- float64 -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def float32_is_float64():
    """Within, code that asks for float32 computes in float64: norms, softmax and rotary modules always ask for it."""
    names = [(torch, "float32", torch.float64), (torch, "float", torch.float64),
             (torch.Tensor, "float", torch.Tensor.double)]
    before = [getattr(owner, name) for owner, name, _ in names]
    for owner, name, value in names:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(names, before):
            setattr(owner, name, value)


def rotary_modules(model):
    return [module for module in model.modules() if type(module).__name__.endswith("RotaryEmbedding")]


def compute_angles_exactly(model):
    """Has the rotary modules of a float32 model compute frequencies and angles in float64, and round cos and sin."""
    for module in rotary_modules(model):
        with float32_is_float64():
            type(module).__init__(module, module.config)

        def forward(*arguments, module=module, **more):
            with float32_is_float64():
                return type(module).forward(module, *arguments, **more)

        module.forward = forward


def in_float64(model, disturbance):
    """A copy that computes everything in float64, its rotary frequencies alternately off by a relative disturbance."""
    double = copy.deepcopy(model).double()
    for module in rotary_modules(double):
        module.__dict__.pop("forward", None)
        with float32_is_float64():
            type(module).__init__(module, module.config)
        for name, buffer in module.named_buffers():
            if name.endswith("inv_freq"):
                buffer *= 1.0 + disturbance * (1.0 - 2.0 * (torch.arange(len(buffer)) % 2).double())
    for module in double.modules():
        if hasattr(module, "scalar_embed_scale"):  # gemma's √E, whose float32 has been rounded
            module.embed_scale = torch.tensor(module.scalar_embed_scale, dtype=torch.float64)
    return double


def rounding(model, ids, logits, start=0):
    """How far float64 arithmetic is from `logits`, of the largest one. Angles at low positions may also come from
    float32 frequencies; far out they have to be exact."""
    double = in_float64(model, disturbance=1e-7 if start == 0 else 0.0)
    with float32_is_float64():
        return relative(logits_of(double, ids, start), logits)


def relative(logits, reference):
    """Largest difference, of the largest reference."""
    return float((logits.double() - reference.double()).abs().max() / reference.abs().max())


# ---- what makes a model unfit ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def router_gaps(model):
    """A list that gets, for every call of a router, the smallest distance between the logits of the last expert that
    it takes and the first one that it leaves."""
    gaps = []

    def observe(module, _, output):
        logits, experts = output[0], module.top_k
        if experts < logits.shape[-1]:
            best = torch.topk(logits, experts + 1).values
            gaps.append(float((best[:, -2] - best[:, -1]).min()))

    hooks = [module.register_forward_hook(observe) for module in model.modules()
             if type(module).__name__.endswith("TopKRouter")]
    try:
        yield gaps
    finally:
        for hook in hooks:
            hook.remove()


def greedy_path(model, ids):
    """The ids that follow, and the smallest gap between the two best logits, of the largest logit."""
    path, gap, largest = list(ids), math.inf, 0.0
    for _ in range(GREEDY):
        row = logits_of(model, path)[-1]
        best = torch.topk(row, 2).values
        gap, largest = min(gap, float(best[0] - best[1])), max(largest, float(row.abs().max()))
        path.append(int(row.argmax()))
        if gap < SMALLEST_GAP * largest:
            return None, gap / largest
    return path[len(ids) :], gap / largest


def follows(model, ids, greedy):
    """Whether these ids are the greedy path, by one pass over all of them."""
    best = logits_of(model, [*ids, *greedy]).argmax(-1).tolist()
    return best[len(ids) - 1 : -1] == greedy


@torch.no_grad()
def idle_tensors(model, ids, logits, start=0):
    """Parameters that the logits hardly depend on: shifting their values by one place changes next to nothing."""
    for name, parameter in model.named_parameters():
        if "vision" in name or "multi_modal" in name:
            continue
        before = parameter.data
        parameter.data = torch.roll(before, 1, -1)
        if relative(logits_of(model, ids, start), logits) < SMALLEST_EFFECT:
            yield name
        parameter.data = before
