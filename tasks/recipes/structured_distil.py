"""structured-distil: what `structured` slices, retrained with the teacher's logits too.

When to use it: as `structured`, where the teacher's logits are at hand for the retraining. Which of the two is above
the other has not been told apart by one seed a task.
"""

from pydantic import Field

from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.phases.task_loss import soft_and_hard
from tasks.recipes.structured import retrain_plan, untrained
from tasks.stage.params import Block, Phase

__all__ = ["Params", "retrain", "untrained"]  # the shape is that of the slices


class Retrain(Block):
    """`structured-distil.retrain`; which model, and what goes, stands in `structured.gates`."""

    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T")
    phase: Phase | None = Field(description="null leaves it out")


class Params(Block):
    """`structured-distil` in params.yaml."""

    retrain: Retrain


def retrain(params: Retrain, given: Given) -> Plan:
    """The sliced model, on the teacher's logits and the labels."""
    step = soft_and_hard(given.kind, params.alpha, params.temperature)
    return retrain_plan(given, params.phase, step, teacher_logits=True)
