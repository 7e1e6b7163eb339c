"""What each method must show: variants that differ in one thing, and which should score higher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.set_up import DEFAULT, SetUp


@dataclass(frozen=True)
class Relation:
    """`better` should score higher than `worse`, or, where they should be alike, neither by more than the margin.

    Args:
        better, worse: names of variants.
        alike: whether they should be alike.
        margin: by how much `better` may be lower; of variants that should be alike, by how much they may differ.
        paper: the paper's own difference, on its task, in the unit of the scores; None: it names none.
        source: where the paper has it.
    """

    better: str
    worse: str
    alike: bool = False
    margin: float = 0.0
    paper: float | None = None
    source: str = ""


def correct(given: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1 where a prediction is right, (N,)."""
    return (given == truth).astype(float)


def as_given(given: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For variants that measure something themselves, of rows or of anything else that they have in common."""
    return given.astype(float)


@dataclass(frozen=True)
class Claim:
    """A statement of a paper that can be checked on a small model and a small task.

    Args:
        slug: the method.
        says: the statement.
        variants: by name, what trains a model with a seed and gives its predictions for the judged rows, (N,).
        relations: between the variants' scores.
        score: of each judged row, given predictions and truth; NaN for a row that does not count.
        measure: what the scores' mean is.
        set_up: rows, passes, rates, teacher.
    """

    slug: str
    says: str
    variants: Mapping[str, Callable[[Any, int], list[int] | list[float]]]
    relations: Sequence[Relation]
    score: Callable[[np.ndarray, np.ndarray], np.ndarray] = correct
    measure: str = "accuracy"
    set_up: SetUp = DEFAULT
