import numpy as np
import pytest

from flows.promotion.bootstrap import compare
from stillhouse.errors import InputError

RANDOM = np.random.default_rng(0)
CLASSES = {"actual": RANDOM.integers(3, size=60).astype(float), "predicted": RANDOM.integers(3, size=60).astype(float)}


def test_the_standard_error_of_an_accuracy_is_the_binomial_one() -> None:
    rows = {"actual": np.ones(400), "predicted": (np.arange(400) < 360).astype(float)}
    perfect = rows | {"predicted": np.ones(400)}
    found = compare("accuracy", rows, perfect, resamples=400, seed=1)
    assert (found.mine, found.theirs) == (0.9, 1.0)
    assert found.standard_error == pytest.approx(np.sqrt(0.9 * 0.1 / 400), rel=0.1)


def test_errors_that_both_make_are_no_noise() -> None:
    mine = {"actual": np.ones(400), "predicted": (np.arange(400) < 360).astype(float)}
    nearly = mine | {"predicted": (np.arange(400) < 364).astype(float)}
    assert compare("accuracy", mine, mine, 10, 1).standard_error == 0
    paired = compare("accuracy", mine, nearly, 400, 1).standard_error
    assert paired == pytest.approx(np.sqrt(0.01 * 0.99 / 400), rel=0.1), "four rows differ, whatever the other 40 do"


def test_the_same_seed_draws_the_same_rows_however_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    other = CLASSES | {"predicted": CLASSES["actual"]}
    once = compare("macro_f1", CLASSES, other, 50, seed=3)
    assert compare("macro_f1", CLASSES, other, 50, seed=4) != once
    monkeypatch.setattr("flows.promotion.bootstrap.CHUNK", 600)
    assert compare("macro_f1", CLASSES, other, 50, seed=3) == once


def test_other_rows_and_a_single_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"not scored on the same rows \('actual' differs\)"):
        compare("accuracy", CLASSES, CLASSES | {"actual": CLASSES["actual"][::-1]}, 10, 1)
    questions = {"answerable": np.ones(60), "exact": np.ones(60)}
    with pytest.raises(InputError, match="not scored on the same rows"):
        compare("accuracy", CLASSES, questions, 10, 1)
    with pytest.raises(InputError, match="one row has no resamples"):
        compare("accuracy", {"actual": np.ones(1)}, {"actual": np.ones(1)}, 10, 1)
