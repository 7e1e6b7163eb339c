"""structured: gates say which heads, FFN units and dimensions of the teacher stay; then it is sliced and retrained.

When to use it: the score must stay and the model must become faster: it cuts inside of all layers, and of the recipes
that make a model faster by its shape it and `structured-distil` kept the most on most tasks that were measured. The
same FLOPs in fewer layers are a little faster, and word vectors stay as they are.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.methods import structured as method
from stillhouse.models.shape import Shape
from stillhouse.surgery.cost import layer_flops
from stillhouse.surgery.gates import GATE_KINDS, gate_sizes
from stillhouse.training.batches import Batch
from stillhouse.training.step import Step
from tasks.phases.plan import Plan
from tasks.phases.run import Given, Untrained
from tasks.stage.params import Block, Phase, load


class Remove(Block):
    """`remove`: the share of each kind, of all layers together, that goes."""

    heads: float = Field(ge=0, lt=1, description="Attention heads")
    units: float = Field(ge=0, lt=1, description="FFN units")
    dimensions: float = Field(ge=0, lt=1, description="Dimensions of the width between the layers")


class L0(Block):
    """`l0`: how hard concrete gates are learned."""

    weights: Literal["frozen", "trained"] = Field(description="The model's, while the gates learn")
    penalty: float | None = Field(gt=0, description="λ of each open gate; null: multipliers that reach the shares")
    ascent: float = Field(gt=0, description="How fast the multipliers rise")
    damping: float = Field(ge=0, description="κ, what keeps the open shares from swinging about their targets")
    start: float = Field(description="log α before the first step")
    learning_rate: float = Field(gt=0, description="Of log α; the phase's is that of the weights")


class Gates(Block):
    """`structured.gates` in params.yaml: what is pruned, and what of it stays."""

    teacher: str = Field(description="The fine-tuned model that is pruned; dvc.yaml reads it")
    choose: Literal["l0", "gain", "random"] = Field(description="Who decides what stays")
    remove: Remove
    latency: float | None = Field(
        gt=0, lt=1, description="Share of the layers' FLOPs that is left: `remove` times what it takes; null: `remove`"
    )
    multiple: int = Field(gt=0, description="A layer's units, and the dimensions, are rounded up to a multiple of it")
    l0: L0
    phase: Phase = Field(description="l0 learns, gain measures over these passes; random takes the seed alone")


class Retrain(Block):
    """`structured.retrain` in params.yaml: the sliced model, on the labels."""

    phase: Phase | None = Field(description="null leaves it out")


class Params(Block):
    """`structured` in params.yaml."""

    gates: Gates
    retrain: Retrain


def gates(params: Gates, given: Given, tokens: int) -> Plan:
    """What stays, written with the teacher's weights as gates.json.

    Args:
        tokens: length of the inputs that FLOPs are counted on.

    Raises:
        InputError: nothing is to go, or more than can.
    """
    teacher, hard = given.teacher, given.kind.hard
    shape, sizes, remove = Shape.of(teacher.config), gate_sizes(teacher), removed(params)
    noise = method.random_scores(sizes, params.phase.seed)
    _, goes = choose(params, teacher, noise, tokens)  # whether the target can be reached is known before any training

    def write(folder: Path, scores: dict[str, Tensor]) -> None:
        keep, _ = choose(params, teacher, scores, tokens)
        share = layer_flops(method.sliced_shape(shape, keep), tokens) / layer_flops(shape, tokens)
        print(summary(keep, share), flush=True)
        (folder / "gates.json").write_text(json.dumps({**keep, "flops_share": round(share, 6)}) + "\n")

    if params.choose == "random":
        return Plan(teacher, teacher, hard, None, extras=lambda folder: write(folder, noise))
    if params.choose == "gain":
        gain = method.Gain(teacher, list(remove))

        def measure(model: nn.Module, batch: Batch) -> Tensor:
            return gain.measure(len(batch["input_ids"]), lambda gated: hard(gated, batch))

        return Plan(teacher, gain, measure, params.phase, extras=lambda folder: write(folder, gain.gains()))
    learned = method.HardConcreteGates(
        teacher,
        {part: 1 - share for part, share in goes.items()},
        start=params.l0.start,
        rate=params.l0.learning_rate / params.phase.learning_rate,
        weights=params.l0.weights == "trained",
    )

    def learn(model: nn.Module, batch: Batch) -> dict:
        penalty = params.l0.penalty
        term = learned.constraint(params.l0.ascent, params.l0.damping) if penalty is None else learned.penalty(penalty)
        return {"task": hard(model, batch), "l0": term}

    return Plan(teacher, learned, learn, params.phase, extras=lambda folder: write(folder, learned.log_alpha()))


def removed(params: Gates) -> dict[str, float]:
    """The share of each kind that goes, of those of which any goes.

    Raises:
        InputError: nothing is to go.
    """
    remove = {part: share for part, share in params.remove.model_dump().items() if share > 0}
    if not remove:
        raise InputError("remove takes nothing away: give a share of heads, units or dimensions")
    return remove


def choose(
    params: Gates, model: PreTrainedModel, scores: dict[str, Tensor], tokens: int
) -> tuple[method.Keep, dict[str, float]]:
    """What stays of a model by these scores, and the share of each kind that goes. Raises as `gates` does."""
    sizes, remove = gate_sizes(model), removed(params)
    if params.latency is None:
        return method.choose(scores, sizes, remove, params.multiple), remove
    return method.choose_for_cost(
        scores, Shape.of(model.config), sizes, remove, params.multiple, share=params.latency, tokens=tokens
    )


def untrained_slices(params: Gates, model: PreTrainedModel, tokens: int) -> PreTrainedModel:
    """The model cut to the shares that go, whichever heads, units and dimensions these are. Raises as `gates` does."""
    scores = method.random_scores(gate_sizes(model), params.phase.seed)
    return method.slice_model(model, choose(params, model, scores, tokens)[0])


def untrained(file: Path, given: Given, tokens: int) -> Untrained:
    """The slices before anything is learnt: which ones they are changes neither size nor time."""
    params = load("structured.gates", Gates, file)
    return untrained_slices(params, given.teacher, tokens), given.tokenizer


def retrain(params: Retrain, given: Given) -> Plan:
    """The sliced model, on the labels."""
    return retrain_plan(given, params.phase, given.kind.hard)


def retrain_plan(given: Given, phase: Phase | None, step: Step, teacher_logits: bool = False) -> Plan:
    """The plan of the sliced model, with this loss and the pieces that it was sliced with."""
    student, tokenizer = given.student, given.student_tokenizer
    assert student is not None
    return Plan(student, student, step, phase, teacher_logits=teacher_logits, tokenizer=tokenizer)


def summary(keep: method.Keep, share: float) -> str:
    """What stays, in a line."""
    parts = [f"{part} {' '.join(str(len(layer)) for layer in keep[part])}" for part in GATE_KINDS]
    return f"stays: {', '.join(parts)}; {share:.1%} of the layers' FLOPs"
