"""The task's metrics, always by name: scikit-learn's and SciPy's, with the cases settled that they leave undefined.

Both are imported when something is scored: most stages score nothing.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stillhouse.errors import InputError

# Of (N,) true and (N,) predicted classes or scores; more is better.
Metric = Callable[[np.ndarray, np.ndarray], float]


def compute(logits: np.ndarray, labels: np.ndarray | list, regression: bool) -> dict[str, float]:
    """Every metric of this kind of task.

    Classes: `accuracy`, `macro_f1`, `matthews`, and, with two classes, `f1` of the second. A class that is neither
    present nor predicted does not count in `macro_f1`; a constant prediction has `matthews` 0.
    Scores: `pearson`, `spearman` (both 0 where the prediction or the truth is constant), `mse`.

    Args:
        logits: (N, C), or (N, 1) for regression.
        labels: (N,) class indices, or scores.

    Raises:
        InputError: the model gives a value that is not a number.
    """
    refuse_non_numbers(logits)
    truth = np.asarray(labels)
    if regression:
        predicted, truth = logits[:, 0].astype(np.float64), truth.astype(np.float64)
        return _all(OF_SCORES, truth, predicted) | {"mse": sklearn_metric("mean_squared_error")(truth, predicted)}
    fitting = OF_CLASSES | OF_TWO_CLASSES if logits.shape[1] == 2 else OF_CLASSES
    return _all(fitting, truth, logits.argmax(axis=1))


def sklearn_metric(name: str, **settings: Any) -> Metric:
    """A function of `sklearn.metrics` with these keyword arguments, of true and predicted values."""

    def metric(truth: np.ndarray, predicted: np.ndarray) -> float:
        return float(getattr(importlib.import_module("sklearn.metrics"), name)(truth, predicted, **settings))

    return metric


def refuse_non_numbers(logits: np.ndarray) -> None:
    """Raise for (N, C) logits that are not finite.

    Raises:
        InputError: some are.
    """
    if not np.isfinite(logits).all():
        raise InputError(f"{(~np.isfinite(logits)).any(axis=1).sum()} of {len(logits)} predictions are not numbers")


def _all(metrics: Mapping[str, Metric], truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return {name: float(metric(truth, predicted)) for name, metric in metrics.items()}


def _pearson(truth: np.ndarray, predicted: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return 0.0 if _constant(truth, predicted) else pearsonr(predicted, truth).statistic


def _spearman(truth: np.ndarray, predicted: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return 0.0 if _constant(truth, predicted) else spearmanr(predicted, truth).statistic


def _constant(truth: np.ndarray, predicted: np.ndarray) -> bool:
    return np.ptp(predicted) == 0 or np.ptp(truth) == 0


OF_CLASSES: dict[str, Metric] = {
    "accuracy": sklearn_metric("accuracy_score"),
    "macro_f1": sklearn_metric("f1_score", average="macro"),
    "matthews": sklearn_metric("matthews_corrcoef"),
}
OF_TWO_CLASSES: dict[str, Metric] = {"f1": sklearn_metric("f1_score", pos_label=1, zero_division=0)}
OF_SCORES: dict[str, Metric] = {"pearson": _pearson, "spearman": _spearman}
