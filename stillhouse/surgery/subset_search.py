"""The best k of n parts by a score: every subset where that is within a bound, else parts are taken away one by one.

Taking away keeps a beam: of all subsets that lack one more part than those of the beam, the best go on. The beam is as
wide as the bound allows, and a beam of one is the greedy search.
"""

from bisect import bisect_right
from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import Any

from stillhouse.errors import InputError

Subset = tuple[int, ...]  # indices from 0, rising


def best_subset(total: int, count: int, score: Callable[[Subset], Any], limit: int) -> Subset:
    """The best subset that was seen; among equals the first in lexicographic order.

    Args:
        total: n.
        count: k, from 1 to n.
        score: the higher the better; asked at most `limit` times, never twice for one subset.
        limit: of the number of subsets that are scored.

    Raises:
        InputError: the limit is below what a greedy search needs.
    """
    width = beam_width(total, count, limit)
    if width is None:
        return max(combinations(range(total), count), key=score)
    beam: list[Subset] = [tuple(range(total))]
    for _ in range(total - count):
        smaller = sorted({tuple(i for i in subset if i != gone) for subset in beam for gone in subset})
        beam = sorted(smaller, key=score, reverse=True)[:width]
    return beam[0]


def beam_width(total: int, count: int, limit: int) -> int | None:
    """How many subsets go on at each size; None where all subsets of the wanted size are scored instead.

    Raises:
        InputError: not even one can.
    """
    if comb(total, count) <= limit:
        return None
    if beam_cost(total, count, 1) > limit:
        raise InputError(
            f"limit = {limit} is below the {beam_cost(total, count, 1)} subsets that a greedy search from {total} to "
            f"{count} scores: raise it"
        )
    return bisect_right(range(1, limit + 1), limit, key=lambda width: beam_cost(total, count, width))


def beam_cost(total: int, count: int, width: int) -> int:
    """The most subsets that a beam of this width scores."""
    cost, beam = 0, 1
    for size in range(total, count, -1):
        fresh = min(beam * size, comb(total, size - 1))
        cost += fresh
        beam = min(width, fresh)
    return cost


def search_cost(total: int, count: int, limit: int) -> int:
    """The most subsets that `best_subset` scores.

    Raises:
        InputError: as `beam_width`.
    """
    width = beam_width(total, count, limit)
    return comb(total, count) if width is None else beam_cost(total, count, width)
