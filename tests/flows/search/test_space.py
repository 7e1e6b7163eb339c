"""The space that params.yaml states: what it may say, and what it must not name."""

from pathlib import Path
from typing import Any

import pytest

from flows.search.foresight import searched
from flows.search.space import SearchParams, check_space, in_space
from stillhouse.errors import InputError
from tasks.stage.params import load, read_yaml

ROOT = Path(__file__).parents[3]
RECIPES = ("hinton", "smallest", "structured-distil", "pkd")


def params(**space: Any) -> SearchParams:
    block = {
        "trials": 2,
        "proposals": 9,
        "rungs": 2,
        "reduction": 3,
        "at_once": 1,
        "startup": 1,
        "seed": 1,
        "space": space,
    }
    return SearchParams.model_validate(block)


@pytest.fixture(scope="module")
def tree() -> dict:
    return read_yaml(ROOT / "params.yaml")


def test_the_space_that_is_shipped_names_what_there_is(tree):
    shipped = load("search", SearchParams, ROOT / "params.yaml")
    check_space(shipped, tree, RECIPES, searched(RECIPES))
    assert sum(map(len, shipped.space.values())) >= 15


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "search.space is empty"),
        ({"hinten": {"hinton.distill.alpha": [0.5]}}, "search.space.hinten: no such recipe: choose among hinton"),
        ({"pkd": {"pkd.distill.alpha": [0.5]}}, "search.space.pkd: its shape is not known before training"),
        ({"hinton": {}}, "search.space.hinton names no parameter"),
        ({"hinton": {"hinton.distill.alfa": [0.5]}}, r"hinton\.distill\.alfa: params\.yaml has no such parameter"),
        ({"hinton": {"alpha": [0.5]}}, r"search\.space\.hinton\.alpha: params\.yaml has no such parameter"),
        ({"hinton": {"evaluate.tokens": [8]}}, "is what all trials have in common"),
        ({"hinton": {"train.warmup": [0.1]}}, r"hinton\.train\.warmup is what all trials have in common"),
    ],
)
def test_a_space_that_names_what_is_not_there_is_refused(tree, space, said):
    with pytest.raises(InputError, match=said):
        check_space(params(**space), tree, RECIPES, searched(RECIPES))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"low": 2, "high": 1}, "must lie below"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "log: true wants"),
        ([], "at least 1"),
        ({"low": 1, "high": 2, "steps": 1}, "Extra inputs"),
    ],
)
def test_an_entry_that_states_nothing_is_refused(entry, said):
    with pytest.raises(ValueError, match=said):
        params(hinton={"hinton.distill.alpha": entry})


def test_what_lies_in_an_entry():
    space = params(hinton={"a": [1, None, "x"], "b": {"low": 2, "high": 8, "step": 2}, "c": {"low": 0.1, "high": 1}})
    a, b, c = space.space["hinton"].values()
    assert [in_space(a, each) for each in (1, None, "x", True, 1.0)] == [True, True, True, False, False]
    assert [in_space(b, each) for each in (2, 4, 5, 10, 4.0, "4")] == [True, True, False, False, False, False]
    assert [in_space(c, each) for each in (0.1, 1, 0.05, None)] == [True, True, False, False]


def test_the_recipes_whose_shape_is_known_before_they_are_trained():
    assert searched(RECIPES) == ("hinton", "smallest", "structured-distil")
