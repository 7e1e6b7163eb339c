"""prune-recover: prune the teacher by magnitude, a little more at a time, and recover with its logits in between.

When to use it: one share of zeros is aimed at, for a runtime that makes use of them: here zeros save neither bytes nor
time. `structured` removes what it prunes.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stillhouse.methods import magnitude
from stillhouse.training.step import Step
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.phases.task_loss import soft_and_hard
from tasks.stage.params import Block, Phase

if TYPE_CHECKING:
    from tasks.phases.pruning import Bench

Share = Annotated[float, Field(ge=0, lt=1)]


class Prune(Block):
    """`prune-recover.prune` in params.yaml."""

    scope: Literal["local", "global"] = Field(description="That share of each matrix, or of all weights together")
    shares: list[Share] = Field(description="Rising shares of weights pruned")
    distill: bool = Field(description="Recover with the teacher's logits; false: with the labels alone")
    alpha: float = Field(ge=0, le=1, description="α of the distillation loss")
    temperature: float = Field(gt=0, description="T of the distillation loss")
    phase: Phase


class Params(Block):
    """`prune-recover` in params.yaml."""

    prune: Prune


def recovery_step(params: Prune, given: Given) -> Step:
    """The loss of recovery."""
    return soft_and_hard(given.kind, params.alpha, params.temperature) if params.distill else given.kind.hard


def prune(params: Prune, given: Given, bench: "Bench") -> Plan:
    """The whole schedule in one run of the loop; the teacher's weights are what is pruned."""
    teacher = given.teacher
    callback = magnitude.GradualPruning(
        teacher, params.shares, params.scope, lambda share, moment: bench.report(teacher, share, moment)
    )
    step = recovery_step(params, given)
    return Plan(teacher, teacher, step, params.phase, teacher_logits=params.distill, callbacks=[callback])
