"""At equal student steps, the route ≥ distillation from the final teacher (Jin 2019, tables 1 and 2)."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student
from stillhouse.methods.rco import Equal, OnRoute, Route, route_step

LAYERS = [3, 6]


def variant(count: int) -> Callable[[Lab, int], list[int]]:
    return partial(run, count)


def run(count: int, lab: Lab, seed: int) -> list[int]:
    """`count` anchors of the route; 1 is the final teacher alone."""
    student = build_student(lab.bare(), layers=len(LAYERS), source_layers=LAYERS, seed=seed)
    route = lab.route()
    rows = lab.rows.with_column("teacher_logits", np.stack([lab.logits(stop, lab.rows) for stop in route], 1))
    model = OnRoute(student)
    lab.fit(
        model, route_step(model, 2.0, 4.0), rows, seed=seed, callbacks=[Route(model, count, Equal(count, len(route)))]
    )
    return lab.predictions(student)


CLAIM = Claim(
    "rco",
    "the route ≥ the final teacher, at equal steps",
    {"route of 4": variant(4), "final teacher": variant(1)},
    [Relation("route of 4", "final teacher")],
)
