"""Recovery regains most of what the low rank lost: more than is still missing after it (Hsu 2022, table 2).

Of each judged row: right after recovery (1 or 0) less right before it, and right with the whole teacher less right
after recovery.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.claims import Claim, Relation, as_given, lowrank
from benchmarks.lab import Lab

CUT, RECOVERED, WHOLE = "r = 128", lowrank.RECOVERED, "teacher"


def variant(more: str, less: str) -> Callable[[Lab, int], list[float]]:
    return partial(gap, more, less)


def gap(more: str, less: str, lab: Lab, seed: int) -> list[float]:
    right = []
    for name in (more, less):
        # Those of the check of the method itself are not made again.
        given = lab.outcome(f"lowrank/{name}-{seed}", partial(lowrank.CLAIM.variants[name], lab, seed))
        right.append((given == lab.truth).astype(float))
    return np.subtract(*right).tolist()


CLAIM = Claim(
    "lowrank-recovery",
    "recovery regains most of what was lost",
    {"regained": variant(RECOVERED, CUT), "still missing": variant(WHOLE, RECOVERED)},
    [Relation("regained", "still missing")],
    score=as_given,
    measure="difference of accuracy",
)
