"""Successive halving (Jamieson and Talwalkar 2016): few passes for all, all passes for the few that do best.

Rung k of K trains on η^(k − K + 1) of the passes; one in η goes on to the next.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def share_of(rung: int, rungs: int, reduction: int) -> float:
    """The share of the passes on a rung, counted from 0; the last has all of them."""
    return float(reduction) ** (rung - rungs + 1)


def promoted(values: Mapping[int, tuple[float, float]], reduction: int) -> list[int]:
    """The trials that go on, in the order of their numbers.

    Args:
        values: by trial, its score on validation and its bytes; of equal scores the smaller one goes first.
    """
    best = sorted(values, key=lambda number: (-values[number][0], values[number][1], number))
    return sorted(best[: math.ceil(len(best) / reduction)])


def fewer_passes(tree: dict[str, Any], blocks: Sequence[str], share: float) -> dict[str, float]:
    """The dotted names of the passes of these blocks' phases, and so many of them; nothing where all are asked for."""
    if share == 1:
        return {}
    found: dict[str, float] = {}

    def look(part: Any, path: str) -> None:
        if isinstance(part, dict):
            if path.endswith(".phase") and "epochs" in part:
                found[f"{path}.epochs"] = round(part["epochs"] * share, 6)
            for key, inner in part.items():
                look(inner, f"{path}.{key}")

    for block in blocks:
        look(tree[block], block)
    return found
