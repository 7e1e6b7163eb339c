"""structured-distil: what `structured` slices, retrained with the teacher's logits too; its `KIND` as there."""

from pydantic import Field

from tasks.kinds.contract import Kind
from tasks.kinds.labels import labels
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.recipes.structured import retrain_plan
from tasks.stage.params import Block, Phase

KIND = labels


class Params(Block):
    """`structured-distil`, `structured-qa-distil`; which model, and what goes, stands in the block without `distil`."""

    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T")
    retrain: Phase | None = Field(description="The sliced model; null leaves it out")


def retrain(params: Params, given: Given, kind: Kind) -> Plan:
    """The sliced model, on the teacher's logits and the labels."""
    return retrain_plan(given, params.retrain, kind.distil(params.alpha, params.temperature), teacher_logits=True)
