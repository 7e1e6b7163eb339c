"""rco: one stage, along the checkpoints of the teacher's own training, with a learning-rate schedule for each.

When to use it: the teacher is trained here, so that its route is kept (`teacher.route`), and is far above its student.
Of students with half of its layers it gives what `hinton` gives.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from datasets import Dataset
from pydantic import Field
from transformers import PreTrainedModel

from stillhouse.methods import rco as method
from tasks.phases.held_out import held_out, of_rows, same_steps
from tasks.phases.plan import Plan, StudentParams
from tasks.phases.run import Given
from tasks.phases.student import start_any_student
from tasks.stage.params import Block, Phase

Rows = Callable[[Dataset], Dataset]


class Distill(Block):
    """`rco.distill` in params.yaml."""

    student: StudentParams
    anchors: Literal["equal", "greedy"] = Field(description="Evenly spaced, or by what the student finds hard")
    count: int = Field(gt=0, description="Parts of the training, each with its schedule; equal: an anchor a part")
    delta: float = Field(gt=0, description="δ of greedy: how much harder the next anchor is, relative to this one")
    held_out: float = Field(gt=0, lt=1, description="Share of the training rows that greedy measures on instead")
    weight: float = Field(ge=0, description="λ, weight of the anchor; the labels have 1")
    temperature: float = Field(gt=0, description="T")
    phase: Phase


class Params(Block):
    """`rco` in params.yaml."""

    distill: Distill


def distill(params: Distill, given: Given) -> Plan:
    """The only phase.

    Raises:
        InputError: fewer checkpoints than anchors, or too few rows to hold some out.
    """
    ours, tokenizer = start_any_student(given, params.student, params.phase.seed)
    route = len(given.teachers)
    if params.anchors == "equal":
        plan = _along(params, given, ours, method.Equal(params.count, route), params.phase, None)
        return replace(plan, tokenizer=tokenizer)
    greedy = method.Greedy(
        ours,
        tokenizer or given.tokenizer,
        parts=params.count,
        route=route,
        delta=params.delta,
        temperature=params.temperature,
        batch_size=params.phase.batch_size,
        outcomes=given.kind,
    )
    count = len(given.rows)
    measured = held_out(count, params.held_out, params.phase.seed, "rco.distill.held_out")

    def trained_on(data: Dataset) -> Dataset:
        greedy.hold_out(of_rows(data, measured))
        return of_rows(data, np.setdiff1d(np.arange(count), measured))

    phase = same_steps(params.phase, count, count - len(measured))
    return replace(_along(params, given, ours, greedy, phase, trained_on), tokenizer=tokenizer)


def _along(
    params: Distill, given: Given, student: PreTrainedModel, choose: method.Choose, phase: Phase, rows: Rows | None
) -> Plan:
    model = method.OnRoute(student)
    return Plan(
        student,
        model,
        method.route_step(model, params.weight, params.temperature, given.kind),
        phase,
        teacher_logits=True,
        combine=lambda logits: logits.swapaxes(0, 1),  # (N, K, C)
        route=True,
        keep=rows,
        callbacks=[method.Route(model, params.count, choose)],
        parts=params.count,
    )
