"""minilm: how the tokens of one teacher layer relate to each other, on the corpus, then the task.

When to use it: there is a corpus, and the student differs from its teacher in depth, width and heads: only relations
within one layer are compared. With the small default corpus it does not reach `hinton`.
"""

from pydantic import Field

from stillhouse.encoders.families import encoder
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods import minilm as method
from tasks.phases.plan import Plan, StudentParams, left_out
from tasks.phases.run import Given
from tasks.phases.student import start_student
from tasks.phases.task_loss import TaskParams, task_plan
from tasks.stage.params import Block, Phase


class Weights(Block):
    """α of each relation; 0 leaves one out."""

    attention: float = Field(ge=0, description="Of queries with keys; of MiniLM's first version")
    queries: float = Field(ge=0, description="Among queries")
    keys: float = Field(ge=0, description="Among keys")
    values: float = Field(ge=0, description="Among values")


class General(Block):
    """`minilm.general` in params.yaml."""

    student: StudentParams
    layer: int | None = Field(description="The teacher's layer that is learned from, counted from 1; null for the last")
    relation_heads: int | None = Field(gt=0, description="A_r; null for the attention heads that both models have")
    weights: Weights
    phase: Phase | None = Field(description="null leaves it out, as an ablation")


class Params(Block):
    """`minilm` in params.yaml."""

    general: General
    distill: TaskParams


def general(params: General, given: Given) -> Plan:
    """The student of the un-fine-tuned teacher, on the corpus."""
    teacher = encoder(given.teacher)
    ours = start_student(given, params.student, params.phase.seed if params.phase else 0)
    shapes = [(model.config.hidden_size, model.config.num_attention_heads) for model in (ours, teacher)]
    heads = method.relation_heads(params.relation_heads, *shapes)
    layer = method.teacher_layer(params.layer, teacher.config.num_hidden_layers)
    weights = params.weights.model_dump()
    if params.phase is None or not any(weights.values()):
        return left_out(ours)
    frozen = FrozenTeacher(teacher, layer, [], [layer - 1])
    step = method.relation_step(frozen, layer, heads, weights)
    return Plan(ours, method.LastProjections(ours), step, params.phase, seen_words=True)


def distill(params: TaskParams, given: Given) -> Plan:
    """The task, from the general student."""
    assert given.student is not None
    return task_plan(given, given.student, params.task, params.phase)
