"""Metrics of labels of words: entities found exactly, or, where labels mark no entities, words.

Of each row it is counted, by type, how many entities are there, how many were given, and how many of those are right:
the same words and the same type. All metrics are of sums of these counts, as in the CoNLL-2000 evaluation script and in
`seqeval`; so a resample of rows is scored from its counts.

N rows, K types.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse.tagging.schemes import Scheme


@dataclass(frozen=True)
class Counts:
    """Of each row, by type.

    Args:
        there, given, hit: (N, K) entities that are right, that were predicted, and that are both.
        words, right: (N,) words, and those with the right label.
    """

    there: NDArray
    given: NDArray
    hit: NDArray
    words: NDArray
    right: NDArray


def count(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: Scheme) -> Counts:
    """Count some rows, the labels of whose words are given."""
    places = {kind: place for place, kind in enumerate(scheme.types)}
    there, given, hit = (np.zeros((len(truth), len(places)), dtype=np.int64) for _ in range(3))
    words, right = (np.zeros(len(truth), dtype=np.int64) for _ in range(2))
    for row, (ours, theirs) in enumerate(zip(truth, predicted, strict=True)):
        words[row] = len(ours)
        right[row] = sum(one == other for one, other in zip(ours, theirs, strict=True))
        wanted, found = scheme.found(ours), scheme.found(theirs)
        for table, entities in ((there, wanted), (given, found), (hit, set(wanted) & set(found))):
            for entity in entities:
                table[row, places[entity.type]] += 1
    return Counts(there, given, hit, words, right)


def by_type(counts: Counts) -> dict[str, NDArray[np.float64]]:
    """(K,) precision, recall and F1 of each type; 0 where nothing is there to divide by."""
    there, given, hit = (table.sum(axis=0) for table in (counts.there, counts.given, counts.hit))
    return {"precision": _share(hit, given), "recall": _share(hit, there), "f1": _share(2 * hit, given + there)}


def _share(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(np.shape(whole), dtype=np.float64), where=np.asarray(whole) > 0)


def _precision(counts: Counts) -> float:
    return float(_share(counts.hit.sum(), counts.given.sum()))


def _recall(counts: Counts) -> float:
    return float(_share(counts.hit.sum(), counts.there.sum()))


def _micro_f1(counts: Counts) -> float:
    return float(_share(2 * counts.hit.sum(), counts.given.sum() + counts.there.sum()))


def _macro_f1(counts: Counts) -> float:
    """The mean over the types that are there or were given."""
    seen = (counts.there.sum(axis=0) + counts.given.sum(axis=0)) > 0
    return float(by_type(counts)["f1"][seen].mean()) if seen.any() else 0.0


def _accuracy(counts: Counts) -> float:
    return float(_share(counts.right.sum(), counts.words.sum()))


OF_COUNTS: dict[str, Callable[[Counts], float]] = {
    "micro_f1": _micro_f1,
    "macro_f1": _macro_f1,
    "precision": _precision,
    "recall": _recall,
    "accuracy": _accuracy,
}
