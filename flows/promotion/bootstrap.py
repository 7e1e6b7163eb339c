"""The standard error of the difference of two models' metrics: a paired bootstrap of the validation rows.

Both models are scored on the same resamples of the same rows, so rows that are hard for both add no noise (Efron and
Tibshirani 1993, An Introduction to the Bootstrap, ch. 6). A resample is given as how often each row was drawn, and
metrics are computed from those counts, for many resamples at once. N rows, R resamples, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.registry.rows import Rows
from stillhouse.errors import InputError

Counts = NDArray  # (R, N): how often each row was drawn

CHUNK = 2_000_000  # counts in memory at a time


@dataclass(frozen=True)
class Difference:
    """A metric of two models on the same rows, and the standard error of its difference."""

    mine: float
    theirs: float
    standard_error: float


def compare(metric: str, mine: Rows, theirs: Rows, resamples: int, seed: int) -> Difference:
    """Score two models on the same rows, and on resamples of them.

    Args:
        metric: its name in the reports.
        resamples: how many, at least two.
        seed: of which rows are drawn.

    Raises:
        InputError: the rows are not the same, or do not have such a metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric '{metric}' is unknown: known are {', '.join(METRICS)}")
    for key in ("actual", "answerable"):
        if not np.array_equal(mine.get(key, ()), theirs.get(key, ())):
            raise InputError(f"the two models were not scored on the same rows ('{key}' differs): compress both again")
    count = len(next(iter(mine.values())))
    once = np.ones((1, count))
    generator = np.random.default_rng(seed)
    differences: list[NDArray] = []
    for begin in range(0, resamples, step := max(1, CHUNK // count)):
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=min(step, resamples - begin))
        differences.append(value(metric, mine, drawn) - value(metric, theirs, drawn))
    error = float(np.concatenate(differences).std(ddof=1))
    return Difference(float(value(metric, mine, once)[0]), float(value(metric, theirs, once)[0]), error)


def value(metric: str, rows: Rows, counts: Counts) -> NDArray:
    """(R,) of a metric, as `tasks.evaluation.metrics` and `tasks.evaluation.squad_metrics` define it.

    Raises:
        InputError: this kind of rows does not have it.
    """
    try:
        return METRICS[metric](rows, counts.astype(np.float64))
    except KeyError as missing:
        raise InputError(f"metric '{metric}' does not fit these rows: they have no {missing}") from None


def _accuracy(rows: Rows, counts: Counts) -> NDArray:
    return _mean((rows["actual"] == rows["predicted"]).astype(np.float64), counts)


def _f1(rows: Rows, counts: Counts) -> NDArray:
    return _f1_by_class(_confusion(rows, counts))[:, 1]


def _macro_f1(rows: Rows, counts: Counts) -> NDArray:
    matrix = _confusion(rows, counts)
    there = (matrix.sum(1) + matrix.sum(2)) > 0  # (R, C): neither present nor predicted does not count
    return _f1_by_class(matrix).sum(1) / there.sum(1)


def _matthews(rows: Rows, counts: Counts) -> NDArray:
    matrix = _confusion(rows, counts)
    total, right = matrix.sum((1, 2)), np.trace(matrix, axis1=1, axis2=2)
    actual, predicted = matrix.sum(2), matrix.sum(1)  # (R, C)
    above = right * total - (actual * predicted).sum(1)
    below = np.sqrt((total**2 - (predicted**2).sum(1)) * (total**2 - (actual**2).sum(1)))
    return _share(above, below)


def _pearson(rows: Rows, counts: Counts) -> NDArray:
    return _correlation(rows["predicted"][None], rows["actual"][None], counts)


def _spearman(rows: Rows, counts: Counts) -> NDArray:
    return _correlation(_ranks(rows["predicted"], counts), _ranks(rows["actual"], counts), counts)


def _column(name: str) -> Callable[[Rows, Counts], NDArray]:
    return lambda rows, counts: _mean(rows[name], counts)


def _best(name: str) -> Callable[[Rows, Counts], NDArray]:
    """What the best threshold on the null odds reaches: answers are given one more at a time, the surest first."""

    def best(rows: Rows, counts: Counts) -> NDArray:
        answerable = rows["answerable"] == 1
        gain = np.where(answerable, rows[name], -1.0 * (rows["best_given"] == 1))
        order = np.argsort(rows["null_odds"], kind="stable")
        reached = np.cumsum((counts * gain)[:, order], axis=1).max(1)
        return (counts[:, ~answerable].sum(1) + np.maximum(reached, 0)) / counts.sum(1)

    return best


METRICS: dict[str, Callable[[Rows, Counts], NDArray]] = {
    "accuracy": _accuracy,
    "f1": lambda rows, counts: _column("f1")(rows, counts) if "f1" in rows else _f1(rows, counts),
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
    "exact": _column("exact"),
    "best_exact": _best("best_exact"),
    "best_f1": _best("best_f1"),
}


def _mean(column: NDArray, counts: Counts) -> NDArray:
    return counts @ column / counts.sum(1)


def _confusion(rows: Rows, counts: Counts) -> NDArray:
    """(R, C, C): how often each class was taken for each."""
    actual, predicted = rows["actual"].astype(int), rows["predicted"].astype(int)
    classes = max(2, int(max(actual.max(), predicted.max())) + 1)
    places = actual * classes + predicted
    cells = [np.bincount(places, weights=row, minlength=classes * classes) for row in counts]
    return np.reshape(cells, (-1, classes, classes))


def _f1_by_class(matrix: NDArray) -> NDArray:
    right = np.diagonal(matrix, axis1=1, axis2=2)
    return _share(2 * right, matrix.sum(1) + matrix.sum(2))


def _correlation(one: NDArray, other: NDArray, counts: Counts) -> NDArray:
    """(R,) of two columns, (R, N) or (1, N) each; 0 where one of them is constant."""
    total = counts.sum(1, keepdims=True)
    one, other = (part - (counts * part).sum(1, keepdims=True) / total for part in (one, other))
    spread = np.sqrt((counts * one**2).sum(1) * (counts * other**2).sum(1))
    return _share((counts * one * other).sum(1), np.where(spread < 1e-12, 0, spread))


def _ranks(column: NDArray, counts: Counts) -> NDArray:
    """(R, N): the mean rank of each row's value among the rows that were drawn."""
    _, group = np.unique(column, return_inverse=True)
    sizes = np.zeros((len(counts), int(group.max()) + 1))
    np.add.at(sizes.T, group, counts.T)
    return (np.cumsum(sizes, axis=1) - (sizes - 1) / 2)[:, group]


def _share(above: NDArray, below: NDArray) -> NDArray:
    return np.divide(above, below, out=np.zeros_like(below, dtype=np.float64), where=below > 0)
