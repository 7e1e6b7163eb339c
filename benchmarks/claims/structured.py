"""At equal sparsity L0 ≥ gain > random; retraining with the teacher's logits ≥ without (McCarley 2019).

Who decides what stays is told apart where nothing is trained after the slicing, and once more where it is.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.methods import structured
from stillhouse.methods.hinton import distillation_loss
from stillhouse.surgery.gates import gate_sizes
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.outcomes import classify

REMOVE = {"heads": 0.5, "units": 0.5}
MULTIPLE = 8
LEARNING_RATE, RATE = 5e-5, 2000.0  # of the weights, which stay as they are, and of log α in terms of it
L0, GAIN, RANDOM = "L0", "gain", "random"
ALONE, RETRAINED, DISTILLED = "sliced", "retrained", "distilled"


def variant(who: str, then: str) -> Callable[[Lab, int], list[int]]:
    return partial(run, who, then)


def run(who: str, then: str, lab: Lab, seed: int) -> list[int]:
    teacher = lab.teacher(seed)
    model = structured.slice_model(teacher, keep(who, lab, seed))
    if then == RETRAINED:
        lab.fine_tune(model, seed)
    elif then == DISTILLED:
        lab.fit(model, step, lab.taught(teacher=teacher), seed=seed)
    return lab.predictions(model)


def step(model: nn.Module, batch: Batch) -> dict:
    """α = 0.7, T = 4."""
    return distillation_loss(model(**model_inputs(batch)).logits, batch["teacher_logits"], batch["labels"], 0.7, 4.0)


def keep(who: str, lab: Lab, seed: int) -> structured.Keep:
    """What stays of the teacher; found once for all that is done with it."""
    teacher = lab.teacher(seed)
    sizes = gate_sizes(teacher)
    counts = [sum(sizes[kind]) for kind in REMOVE]
    make = {L0: learned, GAIN: gained, RANDOM: drawn}[who]
    found = lab.outcome(
        f"structured/scores {who}-{seed}",
        lambda: torch.cat([make(teacher, lab, seed)[kind] for kind in REMOVE]).tolist(),
    )
    scores = dict(zip(REMOVE, torch.tensor(found).split(counts), strict=True))
    return structured.choose(scores, sizes, REMOVE, MULTIPLE)


def learned(teacher: PreTrainedModel, lab: Lab, seed: int) -> dict[str, Tensor]:
    """log α of gates that were trained while the weights stayed as they are."""
    gates = structured.HardConcreteGates(
        teacher, {kind: 1 - share for kind, share in REMOVE.items()}, start=3.0, rate=RATE, weights=False
    )

    def learn(model: nn.Module, batch: Batch) -> dict:
        return {"task": classify(model, batch), "l0": gates.constraint(0.05, 50.0)}

    lab.fit(gates, learn, lab.rows, seed=seed, learning_rate=LEARNING_RATE)
    return {kind: alpha.detach() for kind, alpha in gates.log_alpha().items()}


def gained(teacher: PreTrainedModel, lab: Lab, seed: int) -> dict[str, Tensor]:
    """Mean |∂L/∂gate| over the training rows."""
    gain = structured.Gain(teacher, list(REMOVE))

    def measure(model: nn.Module, batch: Batch) -> Tensor:
        return gain.measure(len(batch["input_ids"]), partial(classify, batch=batch))

    lab.fit(gain, measure, lab.rows, seed=seed, epochs=1)
    return gain.gains()


def drawn(teacher: PreTrainedModel, lab: Lab, seed: int) -> dict[str, Tensor]:
    return structured.random_scores(gate_sizes(teacher), seed)


CLAIM = Claim(
    "structured",
    "at equal sparsity L0 ≥ gain > random; distilled retraining ≥ plain",
    {
        L0: variant(L0, ALONE),
        GAIN: variant(GAIN, ALONE),
        RANDOM: variant(RANDOM, ALONE),
        "L0, retrained": variant(L0, RETRAINED),
        "gain, retrained": variant(GAIN, RETRAINED),
        "random, retrained": variant(RANDOM, RETRAINED),
        "L0, distilled": variant(L0, DISTILLED),
    },
    [
        Relation(L0, GAIN),
        Relation(GAIN, RANDOM),
        Relation("L0, retrained", "gain, retrained"),
        Relation("gain, retrained", "random, retrained"),
        Relation("L0, distilled", "L0, retrained"),
    ],
)
