"""tinybert: general distillation on the corpus, then the intermediate and the prediction phase on the task.

When to use it: there are a corpus and time for three phases, and states and attention are to be learnt too; a student
of any width. With the default numbers it is above `hinton` on one task and below on another, for more steps.
"""

from typing import Literal

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods import tinybert as method
from stillhouse.training.batches import Batch, model_inputs
from tasks.phases.plan import Plan, StudentParams, left_out
from tasks.phases.run import Given
from tasks.phases.student import start_student
from tasks.stage.params import Block, Phase


class Weights(Block):
    """Weights of the transformer losses; 0 leaves one out."""

    attention: float = Field(ge=0, description="Attention scores")
    hidden: float = Field(ge=0, description="Hidden states")
    embeddings: float = Field(ge=0, description="Embeddings")


class Transformer(Block):
    """What both phases of the transformer losses read."""

    layer_map: Literal["uniform", "top", "bottom"] | list[int] = Field(description="g(m): the teacher's layers")
    weights: Weights
    phase: Phase | None = Field(description="null leaves it out, as in the paper's ablations")


class General(Transformer):
    """`tinybert.general` in params.yaml."""

    student: StudentParams


class Intermediate(Transformer):
    """`tinybert.intermediate` in params.yaml."""

    rows: str = Field(description="What it trains on; dvc.yaml reads it")


class Prediction(Block):
    """`tinybert.prediction` in params.yaml."""

    temperature: float = Field(gt=0, description="t")
    rows: str = Field(description="What it trains on; dvc.yaml reads it")
    phase: Phase | None = Field(description="null leaves it out, as in the paper's ablations")


class Params(Block):
    """`tinybert` in params.yaml."""

    general: General
    intermediate: Intermediate
    prediction: Prediction


def general(params: General, given: Given) -> Plan:
    """The student of the un-fine-tuned teacher, on the corpus."""
    ours = start_student(given, params.student, params.phase.seed if params.phase else 0)
    return _transformer_plan(params, given.teacher, ours)


def intermediate(params: Intermediate, given: Given) -> Plan:
    """The same losses with the fine-tuned teacher, on the task."""
    assert given.student is not None
    return _transformer_plan(params, given.teacher, given.student)


def prediction(params: Prediction, given: Given) -> Plan:
    """The teacher's logits, on the task."""
    assert given.student is not None

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = given.kind.predicted(model(**model_inputs(batch)), batch)
        return {"prediction": method.prediction_loss(logits, given.kind.taught(batch), params.temperature)}

    return Plan(given.student, given.student, step, params.phase, teacher_logits=True, seen_words=True)


def _transformer_plan(params: Transformer, teacher: PreTrainedModel, student: PreTrainedModel) -> Plan:
    weights, phase = params.weights.model_dump(), params.phase
    mapping = method.layer_map(params.layer_map, student.config.num_hidden_layers, teacher.config.num_hidden_layers)
    if phase is None or not any(weights.values()):
        return left_out(student)
    scores = bool(weights["attention"])
    frozen = FrozenTeacher(teacher, max(mapping), [n - 1 for n in mapping] if scores else [])
    model = method.TransformerDistillation(
        student, teacher.config.hidden_size, range(len(mapping)) if scores else [], phase.seed
    )
    return Plan(student, model, method.transformer_step(frozen, mapping, weights), phase, seen_words=True)
