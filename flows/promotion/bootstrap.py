"""The standard error of the difference of two models' metrics: a paired bootstrap of the rows that they were judged on.

Both models are scored on the same resamples of the same rows, so rows that are hard for both add no noise (Efron and
Tibshirani 1993, An Introduction to the Bootstrap, ch. 6). SciPy draws the rows, and the functions that the reports use
score them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import InputError
from tasks.evaluation.rows import Rows

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
    # They take a second, and most programs that import this module compare nothing.
    from scipy.stats import bootstrap

    from tasks.evaluation.row_metrics import metric_of, what_is_right

    value = metric_of(metric, mine)
    for truth in {*what_is_right(mine), *what_is_right(theirs)}:
        if not np.array_equal(mine.get(truth, ()), theirs.get(truth, ())):
            raise InputError(
                f"the two models were not scored on the same rows ('{truth}' differs): compress both again"
            )
    count = len(next(iter(mine.values())))
    if count < 2:
        raise InputError("one row has no resamples: compress both on a split of two rows or more")

    def difference(places: NDArray) -> float:
        ours, others = ({key: column[places] for key, column in rows.items()} for rows in (mine, theirs))
        return value(ours) - value(others)

    score, rival = value(mine), value(theirs)
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
