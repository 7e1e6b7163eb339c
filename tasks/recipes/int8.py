"""int8: a checkpoint's weights in eight bits, with what goes into each layer rounded too, by training if asked for.

When to use it: always, and last, of any checkpoint: a quarter of the bytes, about twice the speed on sentences in ONNX
Runtime, and on no task that was measured was a loss told from noise. In eight bits without training, every recipe's
finished form has it already.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

from pydantic import Field, model_validator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.methods import int8 as method
from stillhouse.surgery import quantize as quantize_weights
from tasks.links.params import Calibration
from tasks.links.rounding import ranges_of
from tasks.phases.plan import Plan, left_out
from tasks.phases.run import Given
from tasks.phases.task_loss import TaskLoss, task_plan
from tasks.stage.params import Block, Phase


class Quantize(Block):
    """`int8.quantize` in params.yaml."""

    source: str = Field(description="The checkpoint that is quantized")
    weights: Literal["int8", "float8"] = Field(description="float8 on devices that compute in it")
    activations: Literal["dynamic", "static", "trained", "whole"] = Field(description="How activations are rounded")
    embeddings: bool = Field(description="The word vectors in eight bits too")
    reduce_range: bool = Field(description="Integers of -63 to 63, for processors with AVX2 and no VNNI")
    calibration: Calibration
    momentum: float = Field(ge=0, lt=1, description="Of the ranges that training moves")
    task: TaskLoss
    phase: Phase

    @model_validator(mode="after")
    def _fits(self) -> "Quantize":
        if (self.weights == "float8") != (self.activations == "whole"):
            raise ValueError(
                f"weights = '{self.weights}' with activations = '{self.activations}': "
                "float8 goes with 'whole' (activations are not rounded), int8 with the other three"
            )
        return self


class Params(Block):
    """`int8` in params.yaml."""

    quantize: Quantize


def quantize(params: Quantize, given: Given) -> Plan:
    """Training with rounded numbers where `activations` says so; then, or at once, the eight-bit checkpoint."""
    assert given.student is not None
    student = given.student
    tokenizer = given.student_tokenizer or given.tokenizer  # a student may have a vocabulary of its own
    if params.activations == "trained":
        fake = method.fake_quantize(
            student, embeddings=params.embeddings, momentum=params.momentum, reduce_range=params.reduce_range
        )
        return replace(task_plan(given, fake, params.task, params.phase, tokenizer), finish=method.convert)
    finish = partial(_quantized, params=params, given=given, tokenizer=tokenizer)
    return replace(left_out(student, tokenizer), finish=finish)


def _quantized(
    model: PreTrainedModel, params: Quantize, given: Given, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    ranges = None
    if params.activations == "static":
        ranges = ranges_of(model, params.calibration, given.kind, given.rows, tokenizer)
    return quantize_weights(
        model, weights=params.weights, embeddings=params.embeddings, ranges=ranges, reduce_range=params.reduce_range
    )


def untrained_bytes(
    params: Quantize, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, given: Given
) -> PreTrainedModel:
    """The model in eight bits with no training: trained ranges have the shape of those that are watched."""
    if params.activations == "trained":
        params = params.model_copy(update={"activations": "static"})
    return _quantized(model, params, given, tokenizer)
