"""Metrics of rows (`tasks.evaluation.rows`), by the functions of the reports: so a resample of rows can be scored."""

from collections.abc import Callable
from functools import partial

import numpy as np

from stillhouse.errors import InputError
from tasks.evaluation.label_sets import OF_GIVEN, mean_average_precision
from tasks.evaluation.metrics import OF_CLASSES, OF_SCORES, OF_TWO_CLASSES, Metric
from tasks.evaluation.rows import Rows
from tasks.evaluation.squad_metrics import best_threshold
from tasks.evaluation.word_labels import OF_COUNTS, Counts


def metric_of(name: str, rows: Rows) -> Callable[[Rows], float]:
    """The function of a metric, the more the better, for rows with these columns.

    Raises:
        InputError: such rows do not have it, or less of it is better.
    """
    known = next((metrics for truth, metrics in OF_ROWS.items() if truth in rows), {})
    if name not in known:
        wanted = f"choose {', '.join(known)}" if known else "evaluate the model again"
        raise InputError(f"metric '{name}' does not fit these rows ({', '.join(rows)}): {wanted}")
    return known[name]


def _classes(metric: Metric, rows: Rows) -> float:
    return float(metric(rows["actual"].astype(int), rows["predicted"].astype(int)))


def _scores(metric: Metric, rows: Rows) -> float:
    return float(metric(rows["actual"], rows["predicted"]))


def _mean(column: str, rows: Rows) -> float:
    return float(rows[column].mean())


def _best(column: str, rows: Rows) -> float:
    return best_threshold(*(rows[name].tolist() for name in (column, "best_given", "null_odds", "answerable")))[0]


def _marks(metric: Callable[[np.ndarray, np.ndarray], float], column: str, rows: Rows) -> float:
    given = _stacked(column, rows)
    return float(metric(_stacked("label", rows) > 0, given > 0 if column == "given" else given))


def _counted(metric: Callable[[Counts], float], rows: Rows) -> float:
    there, given, hit = (_stacked(name, rows) for name in ("there", "given", "hit"))
    return metric(Counts(there, given, hit, rows["words"], rows["right"]))


def _stacked(column: str, rows: Rows) -> np.ndarray:
    """(N, W) of the columns `column_0`, `column_1`, …"""
    return np.stack([rows[name] for name in rows if name.startswith(f"{column}_")], axis=1)


def what_is_right(rows: Rows) -> list[str]:
    """The columns that say it, which two models' rows of one split share."""
    return [name for name in rows if name in OF_ROWS or name.startswith(("label_", "there_"))]


# By the (first) column that says what is right, which tells the kinds of rows apart.
OF_ROWS: dict[str, dict[str, Callable[[Rows], float]]] = {
    "actual": {
        **{name: partial(_classes, metric) for name, metric in (OF_CLASSES | OF_TWO_CLASSES).items()},
        **{name: partial(_scores, metric) for name, metric in OF_SCORES.items()},
    },
    "answerable": {
        **{name: partial(_mean, name) for name in ("exact", "f1")},
        **{name: partial(_best, name) for name in ("best_exact", "best_f1")},
    },
    "label_0": {
        **{name: partial(_marks, metric, "given") for name, metric in OF_GIVEN.items()},
        "mean_average_precision": partial(_marks, mean_average_precision, "share"),
    },
    "there_0": {name: partial(_counted, metric) for name, metric in OF_COUNTS.items()},
}
