"""pkd: one stage, the teacher's logits, the labels, and the [CLS] states of layers in between.

When to use it: layers are to go, the width stays, and rows are few: of the recipes that drop half of the layers it kept
the most on most tasks that were measured. A narrower student is refused: `tinybert` projects states.
"""

from typing import Literal

from pydantic import Field

from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.methods import pkd as method
from tasks.phases.plan import Plan, StudentParams
from tasks.phases.run import Given
from tasks.phases.student import start_student
from tasks.stage.params import Block, Phase


class Distill(Block):
    """`pkd.distill` in params.yaml."""

    student: StudentParams
    layers: Literal["skip", "last"] | list[int] = Field(
        description="The teacher's layers that all of the student's but its last learn from"
    )
    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher's logits; the labels have 1 − α")
    beta: float = Field(ge=0, description="β, weight of the states")
    temperature: float = Field(gt=0, description="T")
    phase: Phase


class Params(Block):
    """`pkd` in params.yaml."""

    distill: Distill


def distill(params: Distill, given: Given) -> Plan:
    """The only phase.

    Raises:
        InputError: student and teacher differ in width, or the layers do not fit their depths.
    """
    teacher = given.teacher
    ours = start_student(given, params.student, params.phase.seed)
    width, theirs = ours.config.hidden_size, teacher.config.hidden_size
    if width != theirs:
        raise InputError(
            f"pkd.distill.student.hidden_size ({width}) must be the teacher's {theirs}, for states are compared "
            "as they are: set it to null, or use tinybert, which projects them"
        )
    mapping = method.layer_map(params.layers, ours.config.num_hidden_layers, teacher.config.num_hidden_layers)
    frozen = FrozenTeacher(teacher, max(mapping), [])
    step = method.patient_step(frozen, mapping, params.alpha, params.beta, params.temperature, given.kind)
    return Plan(ours, ours, step, params.phase, teacher_logits=True, seen_words=True)
