from pathlib import Path

import numpy as np
import pytest

from flows.promotion.bootstrap import compare, value
from flows.registry.rows import answer_rows, read_rows, write_rows
from stillhouse.errors import InputError
from tasks.evaluation import metrics, squad_metrics
from tasks.stage.json_files import write_json
from tests import tiny

RANDOM = np.random.default_rng(0)
CLASSES = {"actual": RANDOM.integers(3, size=60).astype(float), "predicted": RANDOM.integers(3, size=60).astype(float)}
TWO = {name: (column > 0).astype(float) for name, column in CLASSES.items()}
SCORES = {"actual": RANDOM.integers(6, size=60) / 2, "predicted": RANDOM.normal(size=60).round(1)}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        *((name, CLASSES) for name in ("accuracy", "macro_f1", "matthews")),
        *((name, TWO) for name in ("accuracy", "f1")),
        *((name, SCORES) for name in ("pearson", "spearman")),
    ],
)
def test_a_metric_of_rows_is_the_one_in_the_report(name: str, rows: dict) -> None:
    actual, predicted = rows["actual"], rows["predicted"]
    if rows is SCORES:
        report = metrics.compute(predicted[:, None], actual, regression=True)
    else:
        report = metrics.compute(np.eye(2 if rows is TWO else 3)[predicted.astype(int)], actual, regression=False)
    assert value(name, rows) == report[name]


def test_a_metric_of_questions_is_the_one_in_the_report(tmp_path: Path) -> None:
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
    right = [question["answers"]["text"] for question in questions]
    wanted = squad_metrics.compute(right, given, best, odds)
    assert [value(name, rows) for name in QA] == pytest.approx([wanted[name] for name in QA])


QA = ("exact", "f1", "best_exact", "best_f1")


def test_the_standard_error_of_an_accuracy_is_the_binomial_one() -> None:
    rows = {"actual": np.ones(400), "predicted": (np.arange(400) < 360).astype(float)}
    perfect = rows | {"predicted": np.ones(400)}
    found = compare("accuracy", rows, perfect, resamples=1000, seed=1)
    assert (found.mine, found.theirs) == (0.9, 1.0)
    assert found.standard_error == pytest.approx(np.sqrt(0.9 * 0.1 / 400), rel=0.1)


def test_errors_that_both_make_are_no_noise() -> None:
    mine = {"actual": np.ones(400), "predicted": (np.arange(400) < 360).astype(float)}
    nearly = mine | {"predicted": (np.arange(400) < 364).astype(float)}
    assert compare("accuracy", mine, mine, 100, 1).standard_error == 0
    paired = compare("accuracy", mine, nearly, 1000, 1).standard_error
    assert paired == pytest.approx(np.sqrt(0.01 * 0.99 / 400), rel=0.1), "four rows differ, whatever the other 40 do"


def test_the_same_seed_draws_the_same_rows_however_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    other = CLASSES | {"predicted": CLASSES["actual"]}
    once = compare("macro_f1", CLASSES, other, 50, seed=3)
    assert compare("macro_f1", CLASSES, other, 50, seed=4) != once
    monkeypatch.setattr("flows.promotion.bootstrap.CHUNK", 600)
    assert compare("macro_f1", CLASSES, other, 50, seed=3) == once


def test_other_rows_and_other_kinds_of_metric_are_refused() -> None:
    with pytest.raises(InputError, match="not scored on the same rows"):
        compare("accuracy", CLASSES, CLASSES | {"actual": CLASSES["actual"][::-1]}, 10, 1)
    with pytest.raises(InputError, match="one row has no resamples"):
        compare("accuracy", {"actual": np.ones(1)}, {"actual": np.ones(1)}, 10, 1)
    for name in ("exact", "bleu", "mse"):
        message = rf"'{name}' does not fit these rows \(actual, predicted\): they lack '{name}'"
        with pytest.raises(InputError, match=message):
            compare(name, CLASSES, CLASSES, 10, 1)
