"""The paper checks: when a relation holds, with an interval over seeds and rows together."""

import numpy as np
import pytest

from benchmarks.claims import Relation
from benchmarks.judging import interval, judge, summary

ROWS = np.arange(100)


def scores(*wrong: int) -> dict[str, np.ndarray]:
    """Two variants, by how many of a hundred rows each has wrong with each of two seeds."""
    return {str(i): np.stack([np.arange(100) >= count] * 2).astype(float) for i, count in enumerate(wrong)}


def verdict(relation: Relation, *wrong: int) -> str:
    return judge(relation, scores(*wrong), ROWS)["verdict"]


@pytest.mark.parametrize(
    ("wrong", "found"), [((5, 40), "holds"), ((40, 5), "does not hold"), ((10, 11), "cannot be told")]
)
def test_a_relation_is_judged_by_where_its_interval_lies(wrong, found):
    result = judge(Relation("0", "1"), scores(*wrong), ROWS)
    assert result["verdict"] == found
    assert result["difference"] == pytest.approx((wrong[1] - wrong[0]) / 100)
    low, high = result["interval"]
    assert low < result["difference"] < high


@pytest.mark.parametrize(
    ("wrong", "margin", "found"),
    [
        ((5, 40), 0.1, "does not hold"),
        ((40, 5), 0.1, "does not hold"),
        ((9, 10), 0.1, "holds"),
        ((9, 10), 0.01, "cannot be told"),  # so small a difference as this many rows do not show
        ((9, 9), 0.0, "holds"),
    ],
)
def test_variants_are_alike_where_the_whole_interval_lies_within_the_margin(wrong, margin, found):
    assert verdict(Relation("0", "1", alike=True, margin=margin), *wrong) == found


@pytest.mark.parametrize(
    ("wrong", "found"), [((5, 5), "holds"), ((12, 5), "cannot be told"), ((40, 5), "does not hold")]
)
def test_with_a_margin_a_little_less_holds_as_well(wrong, found):
    assert verdict(Relation("0", "1", margin=0.1), *wrong) == found


def test_a_single_number_has_no_interval():
    given = {"3.9": np.array([[3.9]]), "4": np.array([[4.0]])}
    near, above = (judge(Relation("3.9", "4", margin=margin), given, np.arange(1)) for margin in (0.2, 0.0))
    assert near["interval"] == [near["difference"]] * 2
    assert (near["verdict"], above["verdict"]) == ("holds", "does not hold")


def test_of_one_seed_the_error_is_that_of_paired_rows():
    draw = np.random.default_rng(0)
    rows = draw.normal(0.3, 1, (1, 400))
    found = interval(rows, np.arange(400))
    assert found.error == pytest.approx(rows.std(ddof=1) / 20, rel=0.05)
    assert found.freedom == np.inf
    assert found.half == pytest.approx(1.645 * found.error, rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_where_seeds_are_all_that_varies_the_interval_is_students(seeds):
    means = np.random.default_rng(seeds).normal(0, 1, (seeds, 1))
    found = interval(np.repeat(means, 50, axis=1), np.arange(50))
    assert found.error == pytest.approx(means.std(ddof=1) / seeds**0.5, rel=0.05)
    assert found.freedom == pytest.approx(seeds - 1)


def test_rows_of_one_sentence_are_drawn_together():
    one = np.random.default_rng(0).normal(0, 1, (1, 100))
    alone, four = interval(one, np.arange(100)), interval(np.repeat(one, 4, axis=1), np.repeat(np.arange(100), 4))
    assert four.error == pytest.approx(alone.error)
    apart = interval(np.repeat(one, 4, axis=1), np.arange(400))
    assert apart.error == pytest.approx(alone.error / 2, rel=0.05)


def test_variance_of_seeds_and_of_rows_adds_up():
    draw = np.random.default_rng(0)
    seeds, rows = draw.normal(0, 0.2, (5, 1)), draw.normal(0, 1, (1, 300))
    found = interval(seeds + rows, np.arange(300))
    expected = seeds.var(ddof=1) / 5 + rows.var(ddof=1) / 300
    # The pigeonhole bootstrap counts what is of neither alone more than once, here nothing.
    assert found.error**2 == pytest.approx(expected, rel=0.1)


def test_the_interval_has_the_truth_as_often_as_it_says():
    """90 %: of 100 worlds with three seeds, in few fewer, and not in all."""
    draw = np.random.default_rng(3)
    sentences = np.repeat(np.arange(40), 2)
    hits = 0
    for _ in range(100):
        seeds, rows = draw.normal(0, 0.1, (3, 1)), np.repeat(draw.normal(0, 0.3, 40), 2)
        found = interval(seeds + rows + draw.normal(0, 0.3, (3, 80)), sentences, draws=250)
        hits += abs(found.difference) <= found.half
    assert 84 <= hits <= 99


def test_an_effect_that_would_have_been_seen_is_larger_than_half_the_interval():
    found = interval(np.random.default_rng(0).normal(0, 1, (1, 400)), np.arange(400))
    # 1.645 and 0.842 standard errors.
    assert found.seen == pytest.approx(2.487 * found.error, rel=1e-3)


def test_rows_that_do_not_count_are_left_out():
    rows = np.array([[1.0, np.nan, 0.0, np.nan, 1.0, 0.0]])
    assert interval(rows, np.arange(6)) == interval(rows[:, [0, 2, 4, 5]], np.arange(4))


def test_the_same_scores_give_the_same_interval():
    rows = np.random.default_rng(0).normal(0, 1, (3, 50))
    assert interval(rows, np.arange(50)) == interval(rows, np.arange(50))


def test_a_claim_does_not_hold_with_one_relation_and_holds_with_all():
    assert summary(["holds", "cannot be told", "does not hold"]) == "does not hold"
    assert summary(["holds", "cannot be told"]) == "cannot be told"
    assert summary(["holds", "holds"]) == "holds"
