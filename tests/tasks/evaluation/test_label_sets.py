"""Metrics of rows with several labels, and thresholds, on cases worked out by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from flows.promotion.bootstrap import compare
from stillhouse.errors import InputError
from tasks.evaluation.label_sets import OF_GIVEN, best_thresholds, mean_average_precision
from tasks.evaluation.row_metrics import metric_of

TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
GIVEN = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)


def test_the_f1s_of_a_table_worked_out_by_hand() -> None:
    found = {name: metric(TRUTH, GIVEN) for name, metric in OF_GIVEN.items()}
    # Micro: 2 hits, 1 missed. Macro: 1 and 0; the third label is nowhere. Samples: 1, 2/3, and none where none is.
    assert found == pytest.approx({"micro_f1": 4 / 5, "macro_f1": 1 / 2, "samples_f1": (1 + 2 / 3 + 1) / 3})


def test_average_precision_is_a_mean_over_the_labels_that_are_there() -> None:
    shares = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.5], [0.1, 0.3, 0.5]])
    # The first label's two rows come first (1); the second's one comes second (1/2); the third has none.
    assert mean_average_precision(TRUTH, shares) == pytest.approx(3 / 4)
    assert mean_average_precision(np.zeros((2, 2), dtype=bool), shares[:2, :2]) == 0


@pytest.mark.parametrize("each", [False, True])
def test_no_threshold_gives_a_better_f1_than_the_chosen_one(each: bool) -> None:
    draw = np.random.default_rng(1)
    truth = draw.random((60, 3)) < (0.5, 0.2, 0.05)
    shares = np.round(np.clip(draw.normal(truth * 0.3 + 0.3, 0.2), 0.01, 0.99), 2)  # rounded: many are equal
    chosen = best_thresholds(truth, shares, each)
    columns = [[0], [1], [2]] if each else [[0, 1, 2]]
    for places in columns:
        right, probable = truth[:, places].ravel(), shares[:, places].ravel()
        best = max(f1_score(right, probable >= cut, zero_division=0) for cut in np.unique(probable))
        assert f1_score(right, probable >= chosen[places[0]]) == pytest.approx(best)


def test_a_label_that_no_row_has_keeps_its_half() -> None:
    assert best_thresholds(np.zeros((4, 1), dtype=bool), np.full((4, 1), 0.2), each=True).tolist() == [0.5]


def rows(truth: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    columns = {"label": truth, "given": given, "share": given * 0.8 + 0.1}
    return {f"{name}_{place}": values[:, place].astype(float) for name, values in columns.items() for place in range(3)}


def test_the_gate_scores_rows_as_the_report_does_and_pairs_them() -> None:
    draw = np.random.default_rng(2)
    truth = draw.random((80, 3)) < 0.4
    mine, theirs = rows(truth, truth ^ (draw.random((80, 3)) < 0.1)), rows(truth, truth ^ (draw.random((80, 3)) < 0.3))
    found = compare("micro_f1", mine, theirs, resamples=50, seed=1)
    assert found.mine == pytest.approx(
        OF_GIVEN["micro_f1"](truth, np.stack([mine[f"given_{i}"] > 0 for i in range(3)], 1))
    )
    assert found.mine > found.theirs and 0 < found.standard_error < 0.1
    assert metric_of("mean_average_precision", mine)(mine) > 0.5
    others = rows(truth[::-1], truth)
    with pytest.raises(InputError, match="not scored on the same rows"):
        compare("micro_f1", mine, others, resamples=50, seed=1)
