"""The task's metrics, always by name: scikit-learn's and SciPy's, with the cases settled that they leave undefined."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error

from stillhouse.errors import InputError


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
    if not np.isfinite(logits).all():
        raise InputError(f"{(~np.isfinite(logits)).any(axis=1).sum()} of {len(logits)} predictions are not numbers")
    truth = np.asarray(labels)
    if regression:
        return _regression(logits[:, 0].astype(np.float64), truth.astype(np.float64))
    return _classification(logits.argmax(axis=1), truth, classes=logits.shape[1])


def headline(metrics: Mapping[str, float], name: str) -> float:
    """The metric that params.yaml names.

    Raises:
        InputError: this kind of task does not have it.
    """
    if name not in metrics:
        raise InputError(f"evaluate.metric = '{name}' does not fit this task: choose {', '.join(sorted(metrics))}")
    return metrics[name]


def check_headline(name: str, classes: int) -> None:
    """Before anything is trained: whether a task has the metric that params.yaml names.

    Args:
        classes: how many; 0 for scores.

    Raises:
        InputError: it does not.
    """
    some = np.zeros((2, classes or 1))
    headline(compute(some, np.arange(2) % max(classes, 1), regression=not classes), name)


def _classification(predicted: np.ndarray, truth: np.ndarray, classes: int) -> dict[str, float]:
    metrics = {
        "accuracy": accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro"),
        "matthews": matthews_corrcoef(truth, predicted),
    }
    if classes == 2:
        metrics["f1"] = f1_score(truth, predicted, pos_label=1, zero_division=0)
    return {name: float(value) for name, value in metrics.items()}


def _regression(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    constant = np.ptp(predicted) == 0 or np.ptp(truth) == 0
    return {
        "pearson": 0.0 if constant else float(pearsonr(predicted, truth).statistic),
        "spearman": 0.0 if constant else float(spearmanr(predicted, truth).statistic),
        "mse": float(mean_squared_error(truth, predicted)),
    }
