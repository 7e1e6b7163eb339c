"""What the hint gives grows with the student's depth (Romero 2015, section 4).

Of each judged row: right after hint → KD (1 or 0) less right after KD alone, of a student of 8 layers and of one
of 4.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.claims.fitnets import LAYERS, run
from benchmarks.lab import Lab


def variant(layers: int) -> Callable[[Lab, int], list[float]]:
    return partial(gap, layers)


def gap(layers: int, lab: Lab, seed: int) -> list[float]:
    right = []
    for name, hint in (("hint → KD", True), ("KD", False)):
        # Those of the check of the hint itself are not made again.
        kept = f"fitnets/{name}-{seed}" if layers == LAYERS else f"fitnets-depth/{name}, {layers} layers-{seed}"
        given = lab.outcome(kept, partial(run, hint, True, lab, seed, layers))
        right.append((given == lab.truth).astype(float))
    return np.subtract(*right).tolist()


CLAIM = Claim(
    "fitnets-depth",
    "what the hint gives grows with the student's depth",
    {"gain of the hint, 8 layers": variant(8), "gain of the hint, 4 layers": variant(4)},
    [Relation("gain of the hint, 8 layers", "gain of the hint, 4 layers")],
    score=as_given,
    measure="difference of accuracy",
)
