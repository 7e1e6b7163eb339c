"""Splits cut from train by what a row says, and rows that stand in two splits."""

from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.overlap import without_overlap
from tasks.sources.shares import with_shares
from tasks.sources.split import Source, Split
from tasks.stage.params import PARAMS, read_yaml

ROOT = Path(__file__).parents[3]


def params(**changes: Any) -> DataParams:
    return DataParams.model_validate(read_yaml(ROOT / PARAMS)["data"] | changes)


def source(**splits: list[str]) -> Source:
    def made(name: str, texts: list[str]) -> Split:
        return Split(f"{name}.tsv", "line", lambda: iter(enumerate({"text": text, "label": "x"} for text in texts)))

    named = {name: made(name, texts) for name, texts in splits.items()}
    return Source(named, ("text", "label"), None, ("text",), ("text",))


def texts(cut: Source, name: str) -> list[str]:
    return [row["text"] for _, row in cut.splits[name].rows()]


MANY = [f"sentence {number}" for number in range(2000)]


def test_shares_are_what_they_say_and_every_row_is_in_one_split() -> None:
    cut = with_shares(source(train=MANY), params(validation_share=0.2, test_share=0.1))
    assert list(cut.splits) == ["train", "validation", "test"]
    found = {name: texts(cut, name) for name in cut.splits}
    assert sorted(text for part in found.values() for text in part) == sorted(MANY)
    assert len(found["validation"]) == pytest.approx(400, abs=60)
    assert len(found["test"]) == pytest.approx(200, abs=45)
    assert found["train"] == [text for text in MANY if text in set(found["train"])], "in the order of the source"


def test_a_row_that_is_added_moves_no_other_and_equal_texts_stay_together() -> None:
    share = params(validation_share=0.3)
    before = with_shares(source(train=MANY), share)
    after = with_shares(source(train=["a new one", *MANY[::-1], *MANY[:50]]), share)
    for name in ("train", "validation"):
        assert set(texts(after, name)) - {"a new one"} == set(texts(before, name))


def test_another_seed_cuts_otherwise_and_test_does_not_depend_on_validations_share() -> None:
    def cut(**changes: Any) -> set[str]:
        return set(texts(with_shares(source(train=MANY), params(test_share=0.1, **changes)), "test"))

    assert cut(validation_share=0.1) == cut(validation_share=0.4)
    assert cut(seed=1) != cut(seed=2)


def test_what_a_source_has_is_never_cut() -> None:
    given = source(train=MANY, validation=["v"], test=["t"])
    assert with_shares(given, params(validation_share=0.5, test_share=0.2)) is given


def test_no_validation_and_no_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.tsv has no validation split beside it, and data\.validation_share"):
        with_shares(source(train=MANY), params(validation_share=None))


def test_rows_of_two_splits_are_counted_and_said(capsys: pytest.CaptureFixture) -> None:
    given = source(train=["a", "b", "c"], validation=["b", "x", "y"], test=["a", "c", "z", "w"])
    same, counts = without_overlap(given, "say")
    assert same is given
    assert counts == {"validation_rows_in_train": 1, "test_rows_in_train": 2}
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "validation: 1 of 3 rows are training rows too",
        "test: 2 of 4 rows are training rows too",
    ]


def test_rows_of_validation_and_test_are_counted_too_and_leave_validation(capsys: pytest.CaptureFixture) -> None:
    given = source(train=["a", "b"], validation=["b", "v", "w", "x"], test=["v", "t"])
    _, counts = without_overlap(given, "say")
    assert counts == {"validation_rows_in_train": 1, "test_rows_in_validation": 1}
    assert capsys.readouterr().out.splitlines()[1] == "test: 1 of 2 rows are validation rows too"
    dropped, counts = without_overlap(given, "drop")
    assert counts == {"validation_rows_in_train": 1, "test_rows_in_validation": 1}
    assert {name: texts(dropped, name) for name in dropped.splits} == {
        "train": ["a"],
        "validation": ["b", "w", "x"],
        "test": ["v", "t"],
    }
    with pytest.raises(InputError, match=r"test: 1 of 1 rows are validation rows too: .* takes them out of validation"):
        without_overlap(source(train=["a"], validation=["b", "c"], test=["b"]), "say")


def test_such_rows_are_refused_or_leave_train_where_that_is_asked_for() -> None:
    given = source(train=["a", "b", "b", "c"], validation=["b", "x", "y"])
    with pytest.raises(InputError, match=r"validation: 1 of 3 rows are training rows too: data\.overlap = 'drop'"):
        without_overlap(given, "refuse")
    dropped, counts = without_overlap(given, "drop")
    assert texts(dropped, "train") == ["a", "c"] and texts(dropped, "validation") == ["b", "x", "y"]
    assert counts == {"validation_rows_in_train": 1}


def test_splits_that_are_mostly_one_are_refused_whoever_asks() -> None:
    with pytest.raises(InputError, match="test: 2 of 3 rows are training rows too"):
        without_overlap(source(train=["a", "b"], validation=["v"], test=["a", "b", "z"]), "say")


def test_splits_without_a_row_in_common_say_nothing(capsys: pytest.CaptureFixture) -> None:
    given = source(train=["a"], validation=["v"])
    assert without_overlap(given, "refuse") == (given, {})
    assert capsys.readouterr().out == ""


def test_a_drop_that_leaves_nothing_to_train_on_says_so() -> None:
    with pytest.raises(InputError, match=r"data\.overlap = 'drop' leaves nothing of train\.tsv: each of its rows"):
        without_overlap(source(train=["a", "b"], validation=["b", "a", "x"]), "drop")
