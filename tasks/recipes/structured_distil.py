"""structured-distil: what `structured` slices, retrained with the teacher's logits too; its `KIND` as there."""

from pydantic import Field

from tasks.kinds.contract import Kind
from tasks.kinds.labels import labels
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.recipes.structured import retrain_plan
from tasks.stage.params import Block, Phase

KIND = labels


class Retrain(Block):
    """`structured-distil.retrain`; which model, and what goes, stands in the block without `distil`."""

    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T")
    phase: Phase | None = Field(description="null leaves it out")


class Params(Block):
    """`structured-distil` and `structured-qa-distil` in params.yaml."""

    retrain: Retrain


def retrain(params: Retrain, given: Given, kind: Kind) -> Plan:
    """The sliced model, on the teacher's logits and the labels."""
    return retrain_plan(given, params.phase, kind.distil(params.alpha, params.temperature), teacher_logits=True)
