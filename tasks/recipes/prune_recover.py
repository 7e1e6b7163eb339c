"""prune-recover: prune the teacher by magnitude, a little more at a time, and recover with its logits in between."""

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from stillhouse.classify import classify
from stillhouse.methods import magnitude
from tasks.params import Block, Phase
from tasks.phases import Given
from tasks.task_loss import soft_and_hard
from tasks.training import Plan


class Params(Block):
    """`prune-recover` in params.yaml."""

    scope: Literal["local", "global"] = Field(description="That share of each matrix, or of all weights together")
    shares: list[float] = Field(description="Rising shares of weights pruned, each in [0, 1)")
    distill: bool = Field(description="Recover with the teacher's logits; false: with the labels alone")
    alpha: float = Field(ge=0, le=1, description="α of the distillation loss")
    temperature: float = Field(gt=0, description="T of the distillation loss")
    recover: Phase


def prune(params: Params, given: Given, report: Callable[[float, str], None]) -> Plan:
    """The whole schedule in one run of the loop; the teacher's weights are what is pruned."""
    teacher = given.teacher
    callback = magnitude.GradualPruning(teacher, params.shares, params.scope, report)

    step = soft_and_hard(params.alpha, params.temperature) if params.distill else classify
    return Plan(teacher, teacher, step, params.recover, teacher_logits=params.distill, callbacks=[callback])
