"""A sliced model gives the logits of the masked one, to 1e-5 (McCarley 2019, where slicing is what makes it fast)."""

import math

import numpy as np

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.claims.structured import L0, keep
from benchmarks.lab import Lab
from stillhouse.methods.structured import slice_model
from stillhouse.surgery.gates import gate_sizes, gated, masks


def agreeing(lab: Lab, seed: int) -> list[float]:
    """−log₁₀ of the largest difference of a logit, of all judged rows."""
    teacher = lab.teacher(seed)
    stays = keep(L0, lab, seed)
    model = slice_model(teacher, stays)
    sliced = lab.logits(model, lab.judged)
    gates = {kind: values.to(model.device) for kind, values in masks(stays, gate_sizes(teacher)).items()}
    with gated(teacher, gates):
        masked = lab.logits(teacher, lab.judged)
    largest = float(np.abs(sliced - masked).max())
    return [-math.log10(max(largest, 1e-12))] * 2


def wanted(lab: Lab, seed: int) -> list[float]:
    return [5.0] * 2


CLAIM = Claim(
    "structured-slicing",
    "sliced and masked logits agree to 1e-5",
    {"sliced and masked": agreeing, "1e-5": wanted},
    [Relation("sliced and masked", "1e-5")],
    as_given,
    "decimals that agree in every logit",
)
