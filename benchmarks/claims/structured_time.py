"""What slicing gains in time, zeros in the place of what was pruned do not (McCarley 2019)."""

from collections.abc import Callable
from functools import cache, partial

import torch

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.claims.structured import L0, keep
from benchmarks.lab import Lab
from stillhouse.encoders.families import encoder_layers
from stillhouse.methods.structured import slice_model
from stillhouse.models.shape import Shape
from stillhouse.onnx.latency import time_in_turns, token_batch
from stillhouse.surgery.gates import gate_sizes, masks

BATCH, TOKENS, TURNS = 8, 64, 60


def variant(name: str) -> Callable[[Lab, int], list[float]]:
    """How many times as fast as the teacher, in each turn."""
    return partial(faster, name)


def faster(name: str, lab: Lab, seed: int) -> list[float]:
    seconds = timed(lab, seed)
    return [teacher / own for teacher, own in zip(seconds["teacher"], seconds[name], strict=True)]


@cache
def timed(lab: Lab, seed: int) -> dict[str, list[float]]:
    """Seconds of forward passes, all models in turns."""
    teacher = lab.teacher(seed)
    stays = keep(L0, lab, seed)
    models = {"teacher": teacher, "sliced": slice_model(teacher, stays), "zeroed": lab.teacher(seed)}
    gates, head = masks(stays, gate_sizes(teacher)), Shape.of(teacher.config).head_size
    heads, units = (gates[kind].split(list(gate_sizes(teacher)[kind])) for kind in ("heads", "units"))
    with torch.no_grad():
        for layer, of_heads, of_units in zip(encoder_layers(models["zeroed"]), heads, units, strict=True):
            layer.get_submodule("attention.output.dense").weight *= of_heads.repeat_interleave(head)
            layer.get_submodule("output.dense").weight *= of_units
    vocabulary = teacher.get_input_embeddings().num_embeddings
    batch = {name: torch.from_numpy(ids) for name, ids in token_batch(BATCH, TOKENS, vocabulary).items()}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    calls = {name: partial(model, **inputs) for name, model in models.items()}
    with torch.inference_mode():
        return {name: list(seconds) for name, seconds in time_in_turns(calls, repeats=TURNS).items()}


CLAIM = Claim(
    "structured-time",
    "the sliced model is faster than the teacher, one with zeros is not",
    {"sliced": variant("sliced"), "zeroed": variant("zeroed"), "teacher": lambda lab, seed: [1.0] * TURNS},
    [Relation("sliced", "zeroed"), Relation("sliced", "teacher")],
    as_given,
    "times the teacher's speed",
)
