"""30 % costs nothing; past 50 % it falls; recovery helps; local ≥ global; before ≈ after fine-tuning (Gordon 2020)."""

from collections.abc import Callable
from functools import partial

from transformers import PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.methods.magnitude import HeldZeros, prune
from stillhouse.training.outcomes import classify

RECOVERY = 1.0  # passes of recovery at each share


def after(share: float, scope: str = "local", recover: bool = True) -> Callable[[Lab, int], list[int]]:
    """The fine-tuned model, pruned and, or not, trained on."""
    return partial(_after, share, scope, recover)


def _after(share: float, scope: str, recover: bool, lab: Lab, seed: int) -> list[int]:
    model = lab.teacher(seed)
    prune(model, share, scope)
    if recover:
        _train(model, lab, seed, RECOVERY)
    return lab.predictions(model)


def before(share: float) -> Callable[[Lab, int], list[int]]:
    """The model before fine-tuning, pruned once, then fine-tuned for as many passes as the other has in all."""
    return partial(_before, share)


def _before(share: float, lab: Lab, seed: int) -> list[int]:
    model = lab.bare(seed)
    prune(model, share, "local")
    _train(model, lab, seed, lab.numbers.epochs + RECOVERY)
    return lab.predictions(model)


def _train(model: PreTrainedModel, lab: Lab, seed: int, epochs: float) -> None:
    lab.fit(model, classify, lab.rows, seed=seed, epochs=epochs, callbacks=[HeldZeros(model)])


CLAIM = Claim(
    "magnitude",
    "30 % costs nothing; past 50 % accuracy falls; recovery helps; local ≥ global; before ≈ after fine-tuning",
    {
        "dense": after(0.0),
        "30 %": after(0.3),
        "50 %": after(0.5),
        "70 %": after(0.7),
        "90 %": after(0.9),
        "70 %, no recovery": after(0.7, recover=False),
        "70 %, global": after(0.7, "global"),
        "70 %, before fine-tuning": before(0.7),
    },
    [
        Relation("dense", "30 %", alike=True, margin=0.01),
        Relation("50 %", "70 %"),
        Relation("70 %", "90 %"),
        Relation("70 %", "70 %, no recovery"),
        Relation("70 %", "70 %, global"),
        Relation("70 %", "70 %, before fine-tuning", alike=True, margin=0.02),
    ],
)
