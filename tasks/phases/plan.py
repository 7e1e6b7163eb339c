"""What all training stages share: a plan, and running it through the one loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from pydantic import Field
from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from stillhouse.encoders.student import build_student, spread_layers
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, collator
from stillhouse.training.loop import FitResult, fit
from stillhouse.training.seen_words import words_of
from stillhouse.training.step import Step
from tasks.stage.params import Block, Phase, TrainParams
from tasks.tracking.journal import StageRun


class StudentParams(Block):
    """`student` of a recipe: its shape and where its weights come from."""

    layers: int = Field(gt=0, description="Transformer layers")
    hidden_size: int | None = Field(gt=0, description="Width; null for the teacher's")
    heads: int | None = Field(gt=0, description="Attention heads; null for the teacher's")
    intermediate_size: int | None = Field(gt=0, description="Feed-forward width; null for the teacher's")
    init: Literal["teacher", "random"] = Field(description="Start from layers of the teacher, or from random weights")
    source_layers: list[int] | None = Field(description="Which, counted from 1; null for evenly spaced")
    origin: str | None = Field(alias="from", description="What stands for the teacher here: a hub id or a folder")


@dataclass(frozen=True)
class Plan:
    """One phase of a recipe, ready to run.

    Args:
        student: what is saved at the end.
        model: what is trained: the student, or the student with what its loss needs around it.
        step: the loss of a batch.
        phase: its numbers; None leaves the student as it is (an ablation).
        teacher_logits: whether the step reads what the teacher says, `kind.taught`, of the batch.
        seen_words: whether the step reads only tokens of its rows and the tokenizer's special ones: word vectors of
            others are then left out of training. Not where anything saves or changes the model between steps.
        combine: makes one of the logits of several teachers, (K, N, C) to (N, …); None: there is but one.
        route: whether several teachers are one on its way, so that nobody else's word can stand among theirs.
        tokenizer: the student's, where it has its own.
        encode: makes encoded rows of a corpus and `train.max_length`; None: as the task's kind, or `tokenize`, does.
        keep: gives those of the encoded rows that are trained on; a method that measures on others takes them here.
        callbacks: what the method does between steps.
        parts: equal parts of the steps, in each of which the learning rate rises and falls anew.
        finish: makes what is saved of the trained student; of the student as it is where there is no phase.
        extras: writes what else belongs to the checkpoint into its folder, once the student is trained.
    """

    student: PreTrainedModel
    model: nn.Module
    step: Step
    phase: Phase | None
    teacher_logits: bool = False
    seen_words: bool = False
    combine: Callable[[np.ndarray], np.ndarray] | None = None
    route: bool = False
    tokenizer: PreTrainedTokenizerBase | None = None
    encode: Callable[[Dataset, int], Dataset] | None = None
    keep: Callable[[Dataset], Dataset] | None = None
    callbacks: Sequence[TrainerCallback] = ()
    parts: int = 1
    finish: Callable[[PreTrainedModel], PreTrainedModel] | None = None
    extras: Callable[[Path], None] | None = None


def left_out(student: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None) -> Plan:
    """The plan of a phase that is switched off, or that has no loss: the student is passed on as it is."""

    def step(model: nn.Module, batch: Batch) -> dict:
        raise AssertionError("a phase that is left out takes no step")

    return Plan(student, student, step, None, tokenizer=tokenizer)


def make_student(teacher: PreTrainedModel, params: StudentParams, seed: int) -> PreTrainedModel:
    """The recipe's student at its start, of the teacher's class.

    Raises:
        InputError: a shape that does not fit the teacher.
    """
    source = None
    if params.init == "teacher":
        source = params.source_layers or spread_layers(params.layers, teacher.config.num_hidden_layers)
    elif params.source_layers is not None:
        raise InputError("student.source_layers needs student.init = 'teacher': set it to null")
    return build_student(
        teacher,
        layers=params.layers,
        hidden_size=params.hidden_size,
        heads=params.heads,
        intermediate_size=params.intermediate_size,
        source_layers=source,
        seed=seed,
    )


def run_phase(
    plan: Plan, data: Any, tokenizer: PreTrainedTokenizerBase, train: TrainParams, work: Path, run: StageRun
) -> FitResult | None:
    """Train one phase; the student is changed in place.

    Args:
        data: tokenized rows.
        work: the stage's workspace, which keeps the checkpoints.
    """
    if plan.phase is None:
        if plan.finish is None:
            print("this phase is switched off: the student is passed on as it is", flush=True)
        return None
    assert tokenizer.pad_token_id is not None
    result = fit(
        plan.model,
        plan.step,
        data,
        collator(tokenizer.pad_token_id),
        epochs=plan.phase.epochs,
        batch_size=plan.phase.batch_size,
        learning_rate=plan.phase.learning_rate,
        seed=plan.phase.seed,
        checkpoints=work / "checkpoints",
        checkpoint_steps=train.checkpoint_steps,
        precision=train.precision,
        warmup=train.warmup,
        parts=plan.parts,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        words=words_of(data, tokenizer.all_special_ids) if plan.seen_words else None,
        callbacks=plan.callbacks,
        log=lambda step, metrics: run.log_metrics(metrics, step=step),
    )
    plan.student.cpu().eval()
    return result
