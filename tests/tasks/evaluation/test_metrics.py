"""Metrics against values worked out by hand, and their undefined cases."""

import numpy as np
import pytest

from stillhouse.errors import InputError
from tasks.evaluation.metrics import compute


def classes(predicted: list[int], count: int = 2) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[predicted]


def test_binary_metrics_are_those_of_the_confusion_matrix():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
    truth = [1] * 5 + [0] * 5
    metrics = compute(classes([1, 1, 1, 0, 0, 1, 0, 0, 0, 0]), truth, regression=False)
    matthews = (3 * 4 - 1 * 2) / np.sqrt((3 + 1) * (3 + 2) * (4 + 1) * (4 + 2))
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert metrics["macro_f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert metrics["matthews"] == pytest.approx(matthews)


def test_f1_of_the_second_class_is_given_for_two_classes_only():
    assert "f1" in compute(classes([0, 1]), [0, 1], regression=False)
    assert "f1" not in compute(classes([0, 1], count=3), [0, 1], regression=False)


def test_a_constant_prediction_has_matthews_0_and_f1_0():
    metrics = compute(classes([0, 0, 0, 0]), [0, 1, 0, 1], regression=False)
    assert (metrics["matthews"], metrics["f1"]) == (0.0, 0.0)


def test_a_straight_line_has_pearson_1_and_a_curve_only_spearman_1():
    scores = np.array([0.0, 1.0, 2.0, 3.0])
    line = compute(np.float32(2 * scores[:, None] + 1), scores, regression=True)
    curve = compute(np.float32(np.exp(scores[:, None])), scores, regression=True)
    assert line["pearson"] == pytest.approx(1)
    assert line["mse"] == pytest.approx(np.mean((scores + 1) ** 2))
    assert curve["spearman"] == pytest.approx(1)
    assert curve["pearson"] < 0.95


def test_a_constant_score_has_correlation_0():
    metrics = compute(np.ones((4, 1), dtype=np.float32), [0.0, 1.0, 2.0, 3.0], regression=True)
    assert (metrics["pearson"], metrics["spearman"]) == (0.0, 0.0)


def test_a_model_that_gives_nan_is_refused():
    with pytest.raises(InputError, match="1 of 2 predictions are not numbers"):
        compute(np.array([[0.0, 1.0], [np.nan, 0.0]]), [0, 1], regression=False)
