"""Budgets are read from words, and shapes are held against them."""

import pytest

from flows.search.budget import Budget, excess, fits, read_budget
from stillhouse.errors import InputError


@pytest.mark.parametrize(
    ("words", "budget"),
    [
        (("5MB", "1ms", "0.97"), Budget(5_000_000, 1.0, 0.97)),
        (("4.5 MiB", "800us", "97%"), Budget(4_718_592, 0.8, 0.97)),
        (("5000000", "0.01s", None), Budget(5_000_000, 10.0, None)),
        ((None, None, "1.01"), Budget(None, None, 1.01)),
    ],
)
def test_quantities_are_read_with_their_units(words, budget):
    found = read_budget(*words)
    assert (found.onnx_bytes, found.ms, found.kept) == pytest.approx((budget.onnx_bytes, budget.ms, budget.kept))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("5 potatoes", None, None), r"bytes = '5 potatoes' is no such quantity: give one such as 5MB"),
        ((None, "fast", None), r"latency = 'fast' .* 1ms"),
        ((None, "1", None), r"latency = '1' .* 1ms"),
        ((None, None, "-0.5"), r"kept = '-0.5' .* 97%"),
        (("0MB", None, None), r"bytes = '0MB'"),
        ((None, None, None), r"no budget: give at least one"),
    ],
)
def test_what_is_no_quantity_is_refused_in_a_line_that_names_it(words, said):
    with pytest.raises(InputError, match=said):
        read_budget(*words)


def test_a_shape_exceeds_each_limit_by_a_share_of_it():
    budget = Budget(4_000_000, 2.0, 0.97)
    assert excess(budget, 5_000_000, 1.0) == {"bytes": 0.25, "latency": -0.5}
    assert not fits(excess(budget, 5_000_000, 1.0)) and fits(excess(budget, 4_000_000, 2.0))
    assert excess(Budget(kept=0.9), 1e12, 1e12) == {}
