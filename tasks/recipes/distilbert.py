"""distilbert: the masked LM's predictions and hidden states on the corpus, then the task.

When to use it: one student is to serve several tasks, or there is a large corpus of the language of the task: its first
stage reads the corpus alone. With the small default corpus it does not reach `hinton`.
"""

from pydantic import Field

from stillhouse.encoders.families import encoder
from stillhouse.errors import InputError
from stillhouse.methods import distilbert as method
from tasks.phases.plan import Plan, StudentParams, left_out
from tasks.phases.run import Given
from tasks.phases.student import start_student
from tasks.phases.task_loss import TaskParams, task_plan
from tasks.stage.params import Block, Phase


class Weights(Block):
    """Weights of the general losses; 0 leaves one out, and what it alone needs is not computed."""

    kl: float = Field(ge=0, description="The teacher's predictions at T, on all real tokens")
    mlm: float = Field(ge=0, description="The masked tokens")
    cosine: float = Field(ge=0, description="Directions of the last hidden states")


class General(Block):
    """`distilbert.general` in params.yaml."""

    student: StudentParams
    weights: Weights
    temperature: float = Field(gt=0, description="T")
    mask: float = Field(gt=0, lt=1, description="Share of the tokens that are masked")
    phase: Phase | None = Field(description="null leaves it out, as an ablation")


class Params(Block):
    """`distilbert` in params.yaml."""

    general: General
    distill: TaskParams


def general(params: General, given: Given) -> Plan:
    """The student of the masked LM, on the corpus; its encoder is what is kept."""
    teacher, tokenizer = given.teacher, given.tokenizer
    if teacher.get_output_embeddings() is None:
        raise InputError(f"distilbert's teacher is a {type(teacher).__name__}: give a masked LM (--mlm models/mlm)")
    ours = start_student(given, params.student, params.phase.seed if params.phase else 0)
    weights = params.weights.model_dump()
    if params.phase is None or not any(weights.values()):
        return left_out(encoder(ours))
    model = method.GeneralDistillation(ours, teacher, weights, params.temperature)
    step = method.general_step(params.mask, tokenizer.mask_token_id, tokenizer.all_special_ids, len(tokenizer))
    return Plan(encoder(ours), model, step, params.phase)


def distill(params: TaskParams, given: Given) -> Plan:
    """The task, from the general student."""
    assert given.student is not None
    return task_plan(given, given.student, params.task, params.phase)
