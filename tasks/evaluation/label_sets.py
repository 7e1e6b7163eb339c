"""Metrics of rows that may have several labels, and the probabilities from which a label is given.

N rows, W labels; truth and given are (N, W) of bool, shares (N, W) probabilities.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.metrics import sklearn_metric

Marks = NDArray[np.bool_]
# A label that is neither there nor given does not count in the mean; a row without labels that is given none is right.
OF_GIVEN: dict[str, Callable[[Marks, Marks], float]] = {
    "micro_f1": sklearn_metric("f1_score", average="micro", zero_division=0),
    "macro_f1": sklearn_metric("f1_score", average="macro", zero_division=np.nan),
    "samples_f1": sklearn_metric("f1_score", average="samples", zero_division=1),
}


def mean_average_precision(truth: Marks, shares: NDArray) -> float:
    """The mean over the labels that some row has of their average precision: no threshold is needed."""
    there = truth.any(axis=0)
    if not there.any():
        return 0.0
    return sklearn_metric("average_precision_score", average="macro")(truth[:, there], shares[:, there])


def best_thresholds(truth: Marks, shares: NDArray, each: bool) -> NDArray[np.float64]:
    """(W,) the probabilities from which labels are given that give the best F1.

    Args:
        each: for each label its own F1; else one threshold for all, for micro F1. A label that no row has keeps 0.5.
    """
    if not each:
        return np.full(truth.shape[1], _best_cut(truth.ravel(), shares.ravel()))
    return np.array([_best_cut(truth[:, place], shares[:, place]) for place in range(truth.shape[1])])


def _best_cut(truth: Marks, shares: NDArray) -> float:
    """Midway between the two probabilities where giving all from the higher one on has the best F1."""
    if not truth.any():
        return 0.5
    order = np.argsort(-shares, kind="stable")
    ranked = shares[order].astype(np.float64)
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    # Equal probabilities are given together, or not at all.
    f1[:-1][ranked[:-1] == ranked[1:]] = 0
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)
