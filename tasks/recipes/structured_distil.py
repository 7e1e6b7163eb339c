"""structured-distil: what `structured` slices, retrained with the teacher's logits too."""

from pydantic import Field

from tasks.params import Block, Phase
from tasks.phases import Given
from tasks.recipes.structured import retrain_plan
from tasks.task_loss import soft_and_hard
from tasks.training import Plan


class Params(Block):
    """`structured-distil` in params.yaml; which model, and what goes, stands in `structured`."""

    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T")
    retrain: Phase | None = Field(description="The sliced model; null leaves it out")


def retrain(params: Params, given: Given) -> Plan:
    """The sliced model, on the teacher's logits and the labels."""
    return retrain_plan(given, params.retrain, soft_and_hard(params.alpha, params.temperature), teacher_logits=True)
