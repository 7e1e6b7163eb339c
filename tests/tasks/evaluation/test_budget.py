"""The budget: what is met, what is missed, and how it is said."""

import pytest

from stillhouse.errors import InputError
from tasks.evaluation.budget import against, sentence
from tasks.stage.params import BudgetParams, load
from tests.tasks import project


@pytest.mark.parametrize(
    ("size", "kept", "smaller_asked", "kept_asked", "met"),
    [
        (100, 0.968, 7.5, 0.968, True),
        (101, 0.968, 7.5, 0.968, False),
        (100, 0.9679, 7.5, 0.968, False),
        (750, 0.968, None, 0.968, True),
        (100, 0.1, 7.5, None, True),
        (750, 0.1, None, None, True),
    ],
    ids=["both to the byte", "a byte too many", "too little kept", "any size", "any score", "nothing asked"],
)
def test_a_budget_is_met_when_each_limit_that_is_asked_is_reached(size, kept, smaller_asked, kept_asked, met):
    figures = against(size, 750, kept, smaller_asked=smaller_asked, kept_asked=kept_asked)
    assert figures["met"] is met
    assert figures["smaller"] == 750 / size and figures["kept"] == kept


def test_a_sentence_says_what_is_reached_and_what_was_asked():
    figures = against(50, 750, 0.9612, smaller_asked=7.5, kept_asked=0.968)
    assert sentence(figures) == "missed: 15.00× smaller (7.5× asked), 96.12% kept (96.8% asked)"
    free = against(50, 750, 0.9612, smaller_asked=None, kept_asked=None)
    assert sentence(free) == "met: 15.00× smaller, 96.12% kept"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("smaller", 0.5, "budget.smaller = 0.5: Input should be greater than or equal to 1"),
        ("kept", 0.0, "budget.kept = 0.0: Input should be greater than 0"),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused(tmp_path, key, value, line):
    file = project.params(tmp_path, **{f"budget.{key}": value})
    with pytest.raises(InputError, match=line):
        load("budget", BudgetParams, file)
