"""hinton: one stage, the teacher's softened logits and the labels."""

from typing import Literal

from pydantic import Field
from torch import nn

from stillhouse.batches import Batch, model_inputs
from stillhouse.methods import hinton as method
from tasks.params import Block, Phase
from tasks.phases import Given
from tasks.training import Plan, StudentParams, make_student


class Params(Block):
    """`hinton` in params.yaml."""

    student: StudentParams
    loss: Literal["soft", "logits"] = Field(
        description="Soft cross-entropy at T, or its limit, squared error of logits"
    )
    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T")
    distill: Phase


def distill(params: Params, given: Given) -> Plan:
    """The only phase."""
    ours = make_student(given.teacher, params.student, params.distill.seed)

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = model(**model_inputs(batch)).logits
        if params.loss == "logits":
            return method.logit_loss(logits, batch["teacher_logits"], batch["labels"], params.alpha)
        return method.distillation_loss(
            logits, batch["teacher_logits"], batch["labels"], params.alpha, params.temperature
        )

    return Plan(ours, ours, step, params.distill, teacher_logits=True)
