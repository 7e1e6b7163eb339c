"""layerdrop: layers are skipped at random in training, on a corpus and on the task; then the model is cut.

When to use it: the depth is not settled: one training gives models of every depth, none of which is trained again. For
one depth that is known, the recipes that train the student at it keep more.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from datasets import Dataset
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder, encoder_layers
from stillhouse.errors import InputError
from stillhouse.methods import layerdrop as method
from stillhouse.surgery import drop_layers
from stillhouse.surgery.subset_search import Subset, best_subset, search_cost
from stillhouse.training.batches import Batch, collate, model_inputs
from stillhouse.training.losses import task_loss
from stillhouse.training.masking import hide_tokens, masked_lm_loss
from stillhouse.training.predict import TokenRows
from tasks.phases.held_out import held_out, of_rows, same_steps
from tasks.phases.plan import Plan, left_out
from tasks.phases.run import Given
from tasks.phases.task_loss import TaskLoss, task_plan
from tasks.stage.params import Block, Phase

if TYPE_CHECKING:
    from tasks.phases.pruning import Bench


class LearntChoice(Block):
    """`data_driven` of layerdrop: how the layers' scores are learnt."""

    width: int = Field(gt=0, description="k, hidden width of the function of a layer's activations")
    phase: Phase


class HeldOut(Block):
    """`held_out` of layerdrop: the rows that layers are chosen on, the same where it trains and where it is cut."""

    share: float = Field(ge=0, lt=1, description="Of the training rows; 0: layers are chosen on validation")
    seed: int = Field(ge=0, description="Which rows")


class Skipping(Block):
    """How often the layers are skipped."""

    rate: float | None = Field(ge=0, le=1, description="p; null: p* = 1 − target/N")
    target: int = Field(gt=0, description="r of p*, the depth that the training aims at")


class General(Skipping):
    """`layerdrop.general` in params.yaml."""

    mask: float = Field(gt=0, lt=1, description="Share of the tokens that are masked")
    phase: Phase | None = Field(description="null leaves it out, as an ablation")


class Finetune(Skipping):
    """`layerdrop.finetune` in params.yaml."""

    task: TaskLoss
    held_out: HeldOut
    phase: Phase


class Prune(Block):
    """`layerdrop.prune` in params.yaml."""

    held_out: HeldOut
    keep: int = Field(gt=0, description="Layers that stay")
    choose: Literal["every-other", "search", "data-driven"] | list[int] = Field(
        description="Which ones, or a list of them, counted from 1"
    )
    search_limit: int = Field(gt=0, description="The most subsets that a search scores")
    data_driven: LearntChoice


class Params(Block):
    """`layerdrop` in params.yaml."""

    general: General
    finetune: Finetune
    prune: Prune

    @model_validator(mode="after")
    def _same_rows(self) -> "Params":
        if self.finetune.held_out != self.prune.held_out:
            raise ValueError("finetune.held_out and prune.held_out differ: layers would be chosen on trained rows")
        return self


def general(params: General, given: Given) -> Plan:
    """Masked language modelling on the corpus with layers skipped; the encoder is what is kept."""
    model, tokenizer = given.teacher, given.tokenizer
    if model.get_output_embeddings() is None:
        raise InputError(f"layerdrop's model is a {type(model).__name__}: give a masked LM (--mlm models/mlm)")
    if params.phase is None:
        return left_out(encoder(model))
    method.LayerDrop(model, rate(params, model))

    def step(model: nn.Module, batch: Batch) -> dict:
        inputs, ids, chosen = hide_tokens(
            model_inputs(batch),
            probability=params.mask,
            mask_id=tokenizer.mask_token_id,
            special_ids=tokenizer.all_special_ids,
            vocabulary=len(tokenizer),
        )
        return {"mlm": masked_lm_loss(model, inputs, ids, chosen)}

    return Plan(encoder(model), model, step, params.phase)


def finetune(params: Finetune, given: Given) -> Plan:
    """The task with layers skipped, on the rows that are not held out."""
    assert given.student is not None
    model = given.student
    method.LayerDrop(model, rate(params, model))
    phase, keep = without_held_out(params.held_out, given, params.phase)
    return replace(task_plan(given, model, params.task, phase), keep=keep)


def prune(params: Prune, given: Given, bench: "Bench") -> Plan:
    """Cut the model to its depth, with no training of it afterwards."""
    model = given.teacher
    keep = chosen_layers(params, given, bench)
    print(f"layers {', '.join(str(i + 1) for i in keep)} of {len(encoder_layers(model))} stay", flush=True)
    return left_out(drop_layers(model, keep))


def chosen_layers(params: Prune, given: Given, bench: "Bench") -> list[int]:
    """Indices from 0 of the layers that stay.

    Raises:
        InputError: a depth, a list or a search that does not fit the model.
    """
    depth = len(encoder_layers(given.teacher))
    method.check_count(params.keep, depth)
    if isinstance(params.choose, list):
        layers = method.check_layers(params.choose, depth)
        if len(layers) != params.keep:
            raise InputError(
                f"layerdrop.prune.choose names {len(layers)} layers, and layerdrop.prune.keep = {params.keep}: set it"
            )
        return layers
    if params.choose == "every-other":
        return method.every_other(depth, params.keep)
    return (searched if params.choose == "search" else learnt)(params, given, bench)


def searched(params: Prune, given: Given, bench: "Bench") -> list[int]:
    """Those that score best by themselves on the rows that the choice is made on."""
    model, scorer = bench.on_device(given.teacher), bench.scorer(choice_rows(params.held_out, given))
    depth = len(encoder_layers(model))

    def score(layers: Subset) -> tuple[float, float]:
        with method.only_layers(model, layers):
            return scorer(model)

    cost = search_cost(depth, params.keep, params.search_limit)
    best = best_subset(depth, params.keep, bench.remembering(score, cost), params.search_limit)
    model.cpu()
    return list(best)


def learnt(params: Prune, given: Given, bench: "Bench") -> list[int]:
    """Those of the highest mean share on the rows that the choice is made on, learnt on the others."""
    model, tokenizer, numbers = given.teacher, given.tokenizer, params.data_driven
    rates = method.LearntRates(model, params.keep, numbers.width, numbers.phase.seed)

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return task_loss(given.kind.predicted(model(model_inputs(batch)), batch), given.kind.labels(batch))

    phase, keep = without_held_out(params.held_out, given, numbers.phase)
    bench.run_plan(Plan(model, rates, step, phase, keep=keep))
    rows = TokenRows(bench.scorer(choice_rows(params.held_out, given)).examples.encoded)
    batches = (collate(each, tokenizer.pad_token_id) for each in rows.in_order(numbers.phase.batch_size))
    best = method.likeliest_layers(rates.cpu(), batches)
    rates.release()
    return best


def rate(params: Skipping, model: PreTrainedModel) -> float:
    """p, as it is given or for the depth that is aimed at."""
    return method.drop_rate(params.target, len(encoder_layers(model))) if params.rate is None else params.rate


def measured_rows(part: HeldOut, given: Given) -> np.ndarray:
    """Which training rows a choice is made on; the same ones in every phase. None if it is made on validation."""
    if not part.share:
        return np.array([], dtype=int)
    return held_out(len(given.rows), part.share, part.seed, "layerdrop.finetune.held_out.share")


def choice_rows(part: HeldOut, given: Given) -> Dataset:
    """The rows themselves, not tokenized."""
    assert given.task is not None
    return given.rows.select(measured_rows(part, given)) if part.share else given.task.validation


def without_held_out(part: HeldOut, given: Given, phase: Phase) -> tuple[Phase, Callable[[Dataset], Dataset]]:
    """A phase on the other rows, with as many steps, and what leaves just these."""
    count, measured = len(given.rows), measured_rows(part, given)
    rest = np.setdiff1d(np.arange(count), measured)
    return same_steps(phase, count, len(rest)), lambda data: of_rows(data, rest)
