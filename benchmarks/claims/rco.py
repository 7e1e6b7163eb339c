"""At equal student steps, the route ≥ distillation from the final teacher (Jin 2019, tables 1 and 2).

And a learning-rate schedule for each anchor, as the paper has it, ≥ one over the whole route.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from benchmarks.set_up import CONVERGED
from stillhouse.encoders.student import build_student
from stillhouse.methods.rco import Equal, OnRoute, Route, route_step

LAYERS = [3, 6]


def variant(count: int, schedules: int) -> Callable[[Lab, int], list[int]]:
    return partial(run, count, schedules)


def run(count: int, schedules: int, lab: Lab, seed: int) -> list[int]:
    """`count` anchors of the route, 1 is the final teacher alone; and how often the learning rate rises and falls."""
    student = build_student(lab.bare(), layers=len(LAYERS), source_layers=LAYERS, seed=seed)
    said = lab.outcome("rco/said by the route-1", partial(of_route, lab))  # (N, K, C)
    rows = lab.rows.with_column("teacher_logits", said)
    model = OnRoute(student)
    along = Route(model, count, Equal(count, said.shape[1]))
    lab.fit(model, route_step(model, 2.0, 4.0), rows, seed=seed, callbacks=[along], parts=schedules)
    return lab.predictions(student)


def of_route(lab: Lab) -> list:
    """The logits of every stop of the route on the training rows, which all variants and seeds share."""
    return np.stack([lab.logits(stop, lab.rows) for stop in lab.route()], 1).tolist()


CLAIM = Claim(
    "rco",
    "the route ≥ the final teacher, at equal steps; a schedule for each anchor ≥ one for all",
    {"route of 4": variant(4, 4), "route of 4, one schedule": variant(4, 1), "final teacher": variant(1, 1)},
    [
        Relation("route of 4", "final teacher", paper=0.0214, source="CIFAR-100, top 1"),
        Relation("route of 4", "route of 4, one schedule"),
    ],
    set_up=CONVERGED,
)
