"""fitnets: a student deeper and thinner than the teacher; its lower half by a hint, then all of it by the logits.

When to use it: the student is to be narrower than its teacher, and rows are many. It starts from random weights, so of
a few thousand rows it learns little.
"""

from pydantic import Field
from torch import nn

from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods import fitnets as method
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.schedules import Scheduled, linear
from tasks.phases.plan import Plan, StudentParams
from tasks.phases.run import Given
from tasks.phases.student import start_student
from tasks.stage.params import Block, Phase


class Hint(Block):
    """`fitnets.hint` in params.yaml: stage 1."""

    student: StudentParams
    seed: int = Field(ge=0, description="Of the student's and the regressor's random weights, with a hint or without")
    hint_layer: int | None = Field(description="The teacher's layer that is the hint, from 1; null for the middle")
    guided_layer: int | None = Field(description="The student's layer that learns it, from 1; null for the middle")
    phase: Phase | None = Field(description="null leaves it out: plain distillation")


class Distill(Block):
    """`fitnets.distill` in params.yaml: stage 2."""

    temperature: float = Field(gt=0, description="τ")
    weight_start: float = Field(ge=0, description="λ at the start of the second stage")
    weight_end: float = Field(ge=0, description="λ at its end; it falls linearly")
    phase: Phase


class Params(Block):
    """`fitnets` in params.yaml."""

    hint: Hint
    distill: Distill


def hint(params: Hint, given: Given) -> Plan:
    """Stage 1: the student up to its guided layer."""
    ours = start_student(given, params.student, params.seed)
    depths = given.teacher.config.num_hidden_layers, ours.config.num_hidden_layers
    hint_layer = method.middle_layer("hint_layer", params.hint_layer, depths[0])
    guided_layer = method.middle_layer("guided_layer", params.guided_layer, depths[1])
    model = method.GuidedStudent(ours, guided_layer, given.teacher.config.hidden_size, params.seed)
    step = method.hint_step(FrozenTeacher(given.teacher, hint_layer, []))
    return Plan(ours, model, step, params.phase, seen_words=True)


def distill(params: Distill, given: Given) -> Plan:
    """Stage 2: the whole student."""
    assert given.student is not None
    weight = Scheduled(linear(params.weight_start, params.weight_end))  # λ

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = given.kind.predicted(model(**model_inputs(batch)), batch)
        return method.distillation_loss(
            logits, given.kind.taught(batch), given.kind.labels(batch), weight.value, params.temperature
        )

    ours = given.student
    return Plan(ours, ours, step, params.phase, teacher_logits=True, seen_words=True, callbacks=[weight])
