from pathlib import Path

import numpy as np
import pytest

from flows.promotion.bootstrap import METRICS, compare, value
from flows.registry.rows import answer_rows, read_rows, write_rows
from stillhouse.errors import InputError
from tasks.evaluation import metrics, squad_metrics
from tasks.evaluation.costs import write_json
from tests import tiny

RANDOM = np.random.default_rng(0)
CLASSES = {"actual": RANDOM.integers(3, size=60).astype(float), "predicted": RANDOM.integers(3, size=60).astype(float)}
TWO = {name: (column > 0).astype(float) for name, column in CLASSES.items()}
SCORES = {"actual": RANDOM.integers(6, size=60) / 2, "predicted": RANDOM.normal(size=60).round(1)}
DRAWN = RANDOM.multinomial(60, np.full(60, 1 / 60), size=4)


def reference(name: str, rows: dict, counts: np.ndarray) -> float:
    """By the functions that the reports use, each row as often as it was drawn."""
    actual, predicted = (np.repeat(rows[key], counts) for key in ("actual", "predicted"))
    if rows is SCORES:
        return metrics.compute(predicted[:, None], actual, regression=True)[name]
    classes = 2 if rows is TWO else 3
    return metrics.compute(np.eye(classes)[predicted.astype(int)], actual.astype(int), regression=False)[name]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("accuracy", CLASSES),
        ("macro_f1", CLASSES),
        ("matthews", CLASSES),
        ("f1", TWO),
        ("accuracy", TWO),
        ("pearson", SCORES),
        ("spearman", SCORES),
    ],
)
def test_a_metric_of_counted_rows_is_the_reports_metric_of_repeated_rows(name: str, rows: dict) -> None:
    wanted = [reference(name, rows, counts) for counts in DRAWN]
    assert np.allclose(value(name, rows, DRAWN), wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_constant_prediction_correlates_with_nothing(name: str) -> None:
    rows = SCORES | {"predicted": np.full(60, 0.3)}
    assert np.array_equal(value(name, rows, DRAWN), np.zeros(4))


def test_metrics_of_counted_questions_are_those_of_repeated_questions(tmp_path: Path) -> None:
    tiny.write_questions(tmp_path / "qa")
    questions = tiny.questions(18, seed=2)
    odds = RANDOM.normal(size=18).round(1)
    best = ["very good" if number % 5 else "" for number in range(18)]
    given = [text if odd < 0 else "" for text, odd in zip(best, odds, strict=True)]
    names = [question["id"] for question in questions]
    (tmp_path / "answers").mkdir()
    write_json(tmp_path / "answers" / "answers.json", dict(zip(names, given, strict=True)))
    write_json(tmp_path / "answers" / "null_odds.json", dict(zip(names, odds.tolist(), strict=True)))
    spans = {name: [{"text": text, "score": 0.0}] for name, text in zip(names, best, strict=True)}
    write_json(tmp_path / "answers" / "n_best.json", spans)
    rows = answer_rows(tmp_path, tmp_path / "qa")
    write_rows(rows, tmp_path / "rows.csv")
    rows = read_rows(tmp_path / "rows.csv")
    drawn = np.vstack([np.ones(18, int), RANDOM.multinomial(18, np.full(18, 1 / 18), size=3)])
    right = [question["answers"]["text"] for question in questions]
    for counts, *figures in zip(drawn, *(value(name, rows, drawn) for name in QA), strict=True):
        repeated = [np.repeat(np.array(part, dtype=object), counts) for part in (right, given, best, odds)]
        wanted = squad_metrics.compute(*repeated)
        assert np.allclose(figures, [wanted[name] for name in QA])


QA = ("exact", "f1", "best_exact", "best_f1")


def test_the_standard_error_of_an_accuracy_is_the_binomial_one() -> None:
    rows = {"actual": np.ones(400), "predicted": (np.arange(400) < 360).astype(float)}
    perfect = rows | {"predicted": np.ones(400)}
    found = compare("accuracy", rows, perfect, resamples=4000, seed=1)
    assert (found.mine, found.theirs) == (0.9, 1.0)
    assert found.standard_error == pytest.approx(np.sqrt(0.9 * 0.1 / 400), rel=0.05)


def test_errors_that_both_make_are_no_noise() -> None:
    mine = {"actual": np.ones(400), "predicted": (np.arange(400) < 360).astype(float)}
    nearly = mine | {"predicted": (np.arange(400) < 364).astype(float)}
    assert compare("accuracy", mine, mine, 100, 1).standard_error == 0
    paired = compare("accuracy", mine, nearly, 4000, 1).standard_error
    assert paired == pytest.approx(np.sqrt(0.01 * 0.99 / 400), rel=0.05), "four rows differ, whatever the other 40 do"


def test_the_same_seed_draws_the_same_rows_however_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    other = CLASSES | {"predicted": CLASSES["actual"]}
    once = compare("macro_f1", CLASSES, other, 50, seed=3)
    assert compare("macro_f1", CLASSES, other, 50, seed=4) != once
    monkeypatch.setattr("flows.promotion.bootstrap.CHUNK", 600)
    assert compare("macro_f1", CLASSES, other, 50, seed=3) == once


def test_other_rows_and_other_kinds_of_metric_are_refused() -> None:
    with pytest.raises(InputError, match="not scored on the same rows"):
        compare("accuracy", CLASSES, CLASSES | {"actual": CLASSES["actual"][::-1]}, 10, 1)
    with pytest.raises(InputError, match="metric 'exact' does not fit these rows"):
        compare("exact", CLASSES, CLASSES, 10, 1)
    with pytest.raises(InputError, match="metric 'bleu' is unknown: known are accuracy"):
        compare("bleu", CLASSES, CLASSES, 10, 1)
    assert len(METRICS) == 9
