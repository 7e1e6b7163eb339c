"""theseus: the teacher's layers are replaced at random while it works, then what replaced them works alone.

When to use it: the task's loss alone is to teach: no teacher's logits, no corpus, nothing to weigh against each other.
The student's layers must divide the teacher's. What it reaches is near what `hinton` reaches.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from stillhouse.encoders.student import build_student
from stillhouse.methods import theseus as method
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import task_loss
from stillhouse.training.schedules import Scheduled
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.stage.params import Block, Phase


class Replace(Block):
    """`theseus.replace` in params.yaml."""

    layers: int = Field(gt=0, description="Layers of the successor; they must divide the teacher's")
    init: Literal["group", "first"] = Field(
        description="Each starts as the last layer of its group, or they start as the teacher's first layers"
    )
    schedule: Literal["constant", "linear", "reversed"] = Field(description="Of the replacement rate p")
    replace_rate: float = Field(ge=0, le=1, description="p where it is constant, else b, where the linear p starts")
    ramp: float = Field(gt=0, le=1, description="Share of the steps over which the linear p rises to 1")
    phase: Phase


class Finetune(Block):
    """`theseus.finetune` in params.yaml."""

    phase: Phase | None = Field(description="null leaves it out")


class Params(Block):
    """`theseus` in params.yaml."""

    replace: Replace
    finetune: Finetune


def replace(params: Replace, given: Given) -> Plan:
    """The successor's layers, inside the frozen teacher."""
    depth = given.teacher.config.num_hidden_layers
    size = method.group_size(depth, params.layers) if params.init == "group" else 1
    source = [size * (i + 1) for i in range(params.layers)]
    ours = build_student(given.teacher, layers=params.layers, source_layers=source, seed=params.phase.seed)
    rate = Scheduled(method.replacement_schedule(params.schedule, params.replace_rate, params.ramp))

    def step(model: nn.Module, batch: Batch) -> dict:
        outputs = model(model_inputs(batch), rate.value)
        return {"task": task_loss(given.kind.predicted(outputs, batch), given.kind.labels(batch))}

    return Plan(ours, method.Theseus(given.teacher, ours), step, params.phase, callbacks=[rate])


def finetune(params: Finetune, given: Given) -> Plan:
    """The successor by itself, on the labels."""
    assert given.student is not None
    return Plan(given.student, given.student, given.kind.hard, params.phase, seen_words=True)
