from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stillhouse.errors import InputError
from tasks.evaluation import metrics, squad_metrics
from tasks.evaluation.row_metrics import metric_of
from tasks.evaluation.rows import read_rows, write_rows
from tasks.kinds.scores import Scores
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
    assert metric_of(name, rows)(rows) == report[name]


def test_a_metric_of_answers_is_the_one_in_the_report() -> None:
    right = [question["answers"]["text"] for question in tiny.questions(18, seed=2)]
    odds = RANDOM.normal(size=18).round(1)
    best = ["very good" if number % 5 else "" for number in range(18)]
    given = [text if odd < 0 else "" for text, odd in zip(best, odds, strict=True)]
    rows = {
        "answerable": np.array([float(bool(texts)) for texts in right]),
        "best_given": np.array([float(bool(text)) for text in best]),
        "null_odds": odds,
    }
    for prefix, said in (("", given), ("best_", best)):
        for score in (squad_metrics.exact, squad_metrics.f1):
            found = [max(score(text, one) for one in texts or [""]) for text, texts in zip(said, right, strict=True)]
            rows[f"{prefix}{score.__name__}"] = np.array(found)
    wanted = squad_metrics.compute(right, given, best, odds)
    names = ("exact", "f1", "best_exact", "best_f1")
    assert [metric_of(name, rows)(rows) for name in names] == pytest.approx([wanted[name] for name in names])


def test_a_metric_of_another_kind_is_refused_with_those_there_are() -> None:
    for name in ("exact", "bleu", "mse"):
        message = rf"'{name}' does not fit these rows \(actual, predicted\): choose accuracy, .*spearman"
        with pytest.raises(InputError, match=message):
            metric_of(name, CLASSES)
    with pytest.raises(InputError, match=r"'f1' does not fit these rows \(text\): evaluate the model again"):
        metric_of("f1", {"text": np.ones(2)})


def test_rows_that_are_written_are_read_as_they_were(tmp_path: Path) -> None:
    rows = {"actual": np.array([0.1 + 0.2, 1.0, -3e-9]), "predicted": np.array([1 / 3, 0.0, 2.0**60])}
    write_rows(rows, tmp_path / "rows.csv")
    found = read_rows(tmp_path / "rows.csv", "evaluate again")
    assert list(found) == list(rows) and all(np.array_equal(found[name], rows[name]) for name in rows)


def test_small_scores_are_compared_as_they_are(tmp_path: Path) -> None:
    """Scores that four decimals would make equal, or give another order."""
    small = {"actual": np.array([0.03, -0.02, 0.01, 0.0]), "predicted": np.array([3e-5, -2e-5, 1.4e-5, 1.2e-5])}
    write_rows(small, tmp_path / "rows.csv")
    rows = read_rows(tmp_path / "rows.csv", "evaluate again")
    report = metrics.compute(small["predicted"][:, None], small["actual"], regression=True)
    for name in ("pearson", "spearman"):
        assert metric_of(name, rows)(rows) == report[name] > 0.8
    assert metric_of("spearman", rows)(rows) == 1.0


def test_scores_keep_six_digits_however_small_they_are() -> None:
    examples = SimpleNamespace(rows={"label": [0.03, -0.02]})
    rows = Scores.bootstrap_rows(Scores.__new__(Scores), np.array([[1.23456e-5], [-2.34567e-5]]), examples)
    assert rows["predicted"].tolist() == [1.23456e-5, -2.34567e-5] and rows["actual"].tolist() == [0.03, -0.02]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is missing"),
        ("", "is damaged"),
        ("actual,predicted\n", "is damaged"),
        ("actual,predicted\n1,2\n1\n", "is damaged"),
        ("actual,predicted\n1,two\n", "column 'predicted' is no column of numbers .*'two'"),
        ("actual,predicted\n1,nan\n", "column 'predicted' has a value that is not finite"),
    ],
)
def test_rows_that_are_missing_or_damaged_are_refused_in_one_line(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    file = tmp_path / "rows.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=reason) as error:
        read_rows(file, "evaluate again")
    assert str(error.value).endswith(": evaluate again") and "\n" not in str(error.value)
