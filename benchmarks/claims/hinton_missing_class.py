"""A student whose transfer set lacks one class still recalls that class (Hinton 2015, section 3: the digit 3)."""

import numpy as np

from benchmarks.claims import Claim, Relation
from benchmarks.claims.hinton import step, student
from benchmarks.lab import Lab, Rows, classify

MISSING = 1


def transfer_set(lab: Lab) -> Rows:
    """The training rows without those of one class."""
    return Rows(row for row in lab.rows if row["label"] != MISSING)


def hard(lab: Lab, seed: int) -> list[int]:
    model = student(lab)
    lab.fit(model, classify, transfer_set(lab), seed=seed)
    return lab.predictions(model)


def distilled(lab: Lab, seed: int) -> list[int]:
    model = student(lab)
    lab.fit(model, step, lab.taught(transfer_set(lab)), seed=seed)
    return lab.predictions(model)


def recalled(given: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether a row of the missing class is recognised; other rows do not count."""
    return np.where(truth == MISSING, (given == truth).astype(float), np.nan)


CLAIM = Claim(
    "hinton-missing-class",
    "a class that the transfer set lacks is still recalled",
    {"hard": hard, "distilled": distilled},
    [Relation("distilled", "hard")],
    score=recalled,
)
