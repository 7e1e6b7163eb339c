"""rocket: one stage, a light net with its booster, the teacher's model before fine-tuning.

When to use it: there is no fine-tuned teacher, and none is wanted: the student's booster trains beside it, in one
stage. What it reaches is near what `hinton` reaches, now above it and now below.
"""

from typing import Literal

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from stillhouse.encoders.student import build_student
from stillhouse.errors import InputError
from stillhouse.methods import rocket as method
from stillhouse.training.batches import Batch, model_inputs
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.stage.params import Block, Phase


class Launch(Block):
    """`rocket.launch` in params.yaml."""

    shared: int = Field(ge=0, description="Lowest layers that both nets share, and the embeddings")
    light_layers: int = Field(gt=0, description="Layers of the light net's own, above the shared ones")
    init: Literal["last", "next", "random"] = Field(
        description="Those start as the booster's last layers, as the ones after the shared, or at random"
    )
    booster: bool = Field(description="false: the light net alone, on the labels (an ablation)")
    gradient_block: bool = Field(description="The hint gives the booster no gradient")
    hint: Literal["logits", "softmax", "soft"] = Field(description="What of the two nets is compared")
    weight: float = Field(ge=0, description="λ, of the hint")
    temperature: float = Field(gt=0, description="T, of the hint 'soft'")
    phase: Phase


class Params(Block):
    """`rocket` in params.yaml."""

    launch: Launch


def launch(params: Launch, given: Given) -> Plan:
    """The only phase: both nets together, from the labels."""
    booster, layers = given.teacher, params.shared + params.light_layers
    if layers > booster.config.num_hidden_layers:
        raise InputError(
            f"rocket.launch.shared + rocket.launch.light_layers = {layers} is more than the booster's "
            f"{booster.config.num_hidden_layers} layers: lower one of them"
        )
    light = build_student(booster, layers=layers, source_layers=_source(params, booster), seed=params.phase.seed)
    # Without a booster too, so that the ablation starts from the same weights.
    method.share_lowest(light, booster, params.shared)
    if not params.booster:
        return Plan(light, light, given.kind.hard, params.phase, seen_words=True)

    def step(model: nn.Module, batch: Batch) -> dict:
        ours, theirs = model(model_inputs(batch))
        return method.launch_loss(
            given.kind.predicted(ours, batch),
            given.kind.predicted(theirs, batch),
            given.kind.labels(batch),
            params.hint,
            params.weight,
            params.temperature,
            gradient_block=params.gradient_block,
        )

    return Plan(light, method.Rocket(light, booster, params.shared), step, params.phase)


def _source(params: Launch, booster: PreTrainedModel) -> list[int] | None:
    """The booster's layers that the light net starts from, counted from 1."""
    shared = list(range(1, params.shared + 1))
    if params.init == "random":
        return None
    first = params.shared if params.init == "next" else booster.config.num_hidden_layers - params.light_layers
    return [*shared, *range(first + 1, first + params.light_layers + 1)]
