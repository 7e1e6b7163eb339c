"""The last phase of the recipes that distil on a corpus first: the task, with or without the teacher's logits."""

from typing import Literal

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.methods import hinton
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.outcomes import Outcomes
from stillhouse.training.step import Step
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.stage.params import Block, Phase


class TaskLoss(Block):
    """`task` of a recipe: what its student learns on the task."""

    loss: Literal["distill", "finetune"] = Field(description="The teacher's logits and the labels, or the labels alone")
    alpha: float = Field(ge=0, le=1, description="α of distill, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T of distill")


class TaskParams(Block):
    """`distill` of the recipes whose last phase is the task."""

    task: TaskLoss
    phase: Phase


def task_plan(
    given: Given,
    student: PreTrainedModel,
    loss: TaskLoss,
    phase: Phase,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Plan:
    """The plan of this phase; the teacher's logits are computed only if the loss reads them."""

    distill = loss.loss == "distill"
    step = soft_and_hard(given.kind, loss.alpha, loss.temperature) if distill else given.kind.hard
    return Plan(student, student, step, phase, teacher_logits=distill, seen_words=True, tokenizer=tokenizer)


def soft_and_hard(outcomes: Outcomes, alpha: float, temperature: float) -> Step:
    """The step of Hinton's loss: the teacher's logits and the labels."""

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = outcomes.predicted(model(**model_inputs(batch)), batch)
        return hinton.distillation_loss(logits, outcomes.taught(batch), outcomes.labels(batch), alpha, temperature)

    return step
