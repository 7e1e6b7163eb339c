"""A student comes closer to an early stop of its teacher's route than to a late one (Jin 2019, section 3 and figure 2).

Equal steps on the logits of one stop alone; then, of each judged row, KL(stop ‖ student).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.claims.rco import LAYERS
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import soft_cross_entropy


def variant(stop: int) -> Callable[[Lab, int], list[float]]:
    return partial(run, stop)


def run(stop: int, lab: Lab, seed: int) -> list[float]:
    """`stop` counts the quarters of the teacher's training from 0."""
    anchor = lab.route()[stop]
    student = build_student(lab.bare(), layers=len(LAYERS), source_layers=LAYERS, seed=seed)
    lab.fit(student, learn_logits, lab.taught(teacher=anchor), seed=seed)
    theirs, ours = (torch.from_numpy(lab.logits(model, lab.judged)).log_softmax(-1) for model in (anchor, student))
    return (theirs.exp() * (theirs - ours)).sum(-1).tolist()


def learn_logits(model: nn.Module, batch: Batch) -> dict:
    return {"soft": soft_cross_entropy(model(**model_inputs(batch)).logits, batch["teacher_logits"], 1.0)}


CLAIM = Claim(
    "rco-anchors",
    "the KL to an early stop of the route is smaller than to the last one",
    {"KL to the last stop": variant(3), "KL to the first stop": variant(0)},
    [Relation("KL to the last stop", "KL to the first stop")],
    score=as_given,
    measure="KL in nats",
)
