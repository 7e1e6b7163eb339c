"""Metrics of rows (`tasks.evaluation.rows`), by the functions of the reports: so a resample of rows can be scored."""

from collections.abc import Callable
from functools import partial

from stillhouse.errors import InputError
from tasks.evaluation.metrics import OF_CLASSES, OF_SCORES, OF_TWO_CLASSES, Metric
from tasks.evaluation.rows import Rows
from tasks.evaluation.squad_metrics import best_threshold


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


# By the column that says what is right, which tells the kinds of rows apart.
OF_ROWS: dict[str, dict[str, Callable[[Rows], float]]] = {
    "actual": {
        **{name: partial(_classes, metric) for name, metric in (OF_CLASSES | OF_TWO_CLASSES).items()},
        **{name: partial(_scores, metric) for name, metric in OF_SCORES.items()},
    },
    "answerable": {
        **{name: partial(_mean, name) for name in ("exact", "f1")},
        **{name: partial(_best, name) for name in ("best_exact", "best_f1")},
    },
}
