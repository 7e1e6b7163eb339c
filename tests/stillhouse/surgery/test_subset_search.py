from itertools import combinations
from math import comb

import pytest

from stillhouse.errors import InputError
from stillhouse.surgery.subset_search import beam_cost, beam_width, best_subset, search_cost


class Score:
    """A score that counts what it was asked for."""

    def __init__(self, score):
        self.score = score
        self.asked = []

    def __call__(self, subset):
        self.asked.append(subset)
        return self.score(subset)


def spread(subset):
    """The best subset of any size is the one of the largest products: no subset of the best one need be good."""
    return sum((i * 7919 + 31 * j * j) % 101 for i, j in combinations(subset, 2)) if len(subset) > 1 else subset[0]


def test_every_subset_is_scored_once_where_they_are_few_and_the_best_one_found():
    score = Score(spread)
    found = best_subset(7, 3, score, limit=comb(7, 3))
    assert sorted(score.asked) == list(combinations(range(7), 3))
    assert spread(found) == max(map(spread, combinations(range(7), 3)))


def test_among_equals_the_first_stays():
    assert best_subset(5, 2, lambda subset: 0, limit=10) == (0, 1)


@pytest.mark.parametrize(("total", "count"), [(8, 3), (12, 6), (24, 12), (24, 1)])
@pytest.mark.parametrize("limit", [300, 500, 923])
def test_a_beam_scores_no_more_than_the_limit_and_no_subset_twice(total, count, limit):
    score = Score(spread)
    found = best_subset(total, count, score, limit)
    assert len(found) == count and list(found) == sorted(set(found))
    assert len(score.asked) == len(set(score.asked)) <= search_cost(total, count, limit) <= limit


def test_a_beam_is_as_wide_as_the_limit_allows():
    width = beam_width(12, 6, 500)
    assert width > 1
    assert beam_cost(12, 6, width) <= 500 < beam_cost(12, 6, width + 1)


def test_a_greedy_search_takes_away_the_part_whose_loss_costs_least():
    worth = {0: 5, 1: 1, 2: 4, 3: 2, 4: 3, 5: 6}
    score = Score(lambda subset: sum(worth[i] for i in subset))
    assert best_subset(6, 3, score, limit=6 + 5 + 4) == (0, 2, 5)
    assert len(score.asked) == 15


def test_a_limit_below_the_greedy_search_is_refused():
    with pytest.raises(InputError, match="limit = 14 is below the 15 subsets that a greedy search from 6 to 3 scores"):
        best_subset(6, 3, lambda subset: 0, limit=14)


def test_all_parts_are_one_subset():
    assert best_subset(6, 6, lambda subset: 0, limit=1) == (0, 1, 2, 3, 4, 5)
