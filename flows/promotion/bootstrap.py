"""The standard error of the difference of two models' metrics: a paired bootstrap of the validation rows.

Both models are scored on the same resamples of the same rows, so rows that are hard for both add no noise (Efron and
Tibshirani 1993, An Introduction to the Bootstrap, ch. 6). SciPy draws the rows, and the functions that the reports use
score them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.registry.rows import Rows
from stillhouse.errors import InputError

CHUNK = 2_000_000  # numbers of rows in memory at a time


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
        InputError: the rows are not the same, are fewer than two, or do not have such a metric.
    """
    # Takes a second, and most programs that import this module compare nothing.
    from scipy.stats import bootstrap

    for key in ("actual", "answerable"):
        if not np.array_equal(mine.get(key, ()), theirs.get(key, ())):
            raise InputError(f"the two models were not scored on the same rows ('{key}' differs): compress both again")
    count = len(next(iter(mine.values())))
    if count < 2:
        raise InputError("one row has no resamples: compress both on a validation split of two rows or more")

    def difference(places: NDArray) -> float:
        ours, others = ({key: column[places] for key, column in rows.items()} for rows in (mine, theirs))
        return value(metric, ours) - value(metric, others)

    score, rival = value(metric, mine), value(metric, theirs)
    found = bootstrap(
        # Numbers of rows, which pair the two models as `paired=True` would pair their columns.
        (np.arange(count),),
        difference,
        n_resamples=resamples,
        batch=max(1, CHUNK // count),
        vectorized=False,
        # Of a confidence interval that is not used; the default one costs N more scores.
        method="basic",
        rng=np.random.default_rng(seed),
    )
    return Difference(score, rival, float(found.standard_error))


def value(metric: str, rows: Rows) -> float:
    """A metric of rows, by the functions of the reports.

    Raises:
        InputError: this kind of rows does not have it, or less of it is better.
    """
    from tasks.evaluation.metrics import OF_CLASSES, OF_SCORES, OF_TWO_CLASSES
    from tasks.evaluation.squad_metrics import best_threshold

    try:
        if metric in ("best_exact", "best_f1"):
            facts = (rows[name].tolist() for name in (metric, "best_given", "null_odds", "answerable"))
            return best_threshold(*facts)[0]
        if "answerable" in rows:
            return float(rows[metric].mean())
        if metric in OF_SCORES:
            return float(OF_SCORES[metric](rows["actual"], rows["predicted"]))
        score = (OF_CLASSES | OF_TWO_CLASSES)[metric]
        return float(score(rows["actual"].astype(int), rows["predicted"].astype(int)))
    except KeyError as missing:
        raise InputError(
            f"metric '{metric}' does not fit these rows ({', '.join(rows)}): they lack {missing}"
        ) from None
