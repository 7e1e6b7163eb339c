"""An ensemble of teachers ≥ the student distilled from one of them (Hinton 2015, sections 3 and 4)."""

from benchmarks.claims import Claim, Relation
from benchmarks.claims.hinton import distilled
from benchmarks.lab import Lab

TEACHERS = (1, 2, 3)


def ensemble(lab: Lab, seed: int) -> list[int]:
    """The teachers themselves: the mean of their logits."""
    return sum(lab.logits(lab.teacher(n), lab.judged) for n in TEACHERS).argmax(1).tolist()


CLAIM = Claim(
    "hinton-ensemble",
    "ensemble ≥ distilled",
    {"ensemble": ensemble, "distilled": distilled},
    [Relation("ensemble", "distilled")],
)
