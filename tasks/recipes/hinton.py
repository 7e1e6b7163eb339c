"""hinton: one stage, the softened logits of one teacher or of several, and the labels.

When to use it: first. One stage, no corpus, a student of any shape and of any vocabulary: only logits are compared.
Where it falls short, more passes are the first thing to try.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from stillhouse.errors import InputError
from stillhouse.methods import hinton as method
from stillhouse.training.batches import Batch, model_inputs
from tasks.phases.plan import Plan, StudentParams
from tasks.phases.run import Given, Untrained
from tasks.phases.student import start_any_student
from tasks.stage.params import Block, Phase, load


class Distill(Block):
    """`hinton.distill` in params.yaml."""

    teacher: str = Field(description="One checkpoint, or a folder of several; dvc.yaml reads it")
    mean: Literal["arithmetic", "geometric"] = Field(description="Of the softmaxes of several teachers")
    rows: str = Field(description="The transfer set; dvc.yaml reads it")
    student: StudentParams
    loss: Literal["soft", "logits"] = Field(
        description="Soft cross-entropy at T, or its limit, ½·squared error of centred logits"
    )
    alpha: float = Field(ge=0, le=1, description="α, weight of the teacher; the labels have 1 − α")
    temperature: float = Field(gt=0, description="T")
    phase: Phase


class Params(Block):
    """`hinton` in params.yaml."""

    distill: Distill


def distill(params: Distill, given: Given) -> Plan:
    """The only phase.

    Raises:
        InputError: rows without labels that α wants, or single sentences for a task of pairs.
    """
    check_rows(params, given)
    ours, tokenizer = start_any_student(given, params.student, params.phase.seed)
    labelled = given.kind.labelled(given.rows)

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = given.kind.predicted(model(**model_inputs(batch)), batch)
        theirs, labels = given.kind.taught(batch), given.kind.labels(batch) if labelled else None
        if params.loss == "logits":
            return method.logit_loss(logits, theirs, labels, params.alpha)
        return method.distillation_loss(logits, theirs, labels, params.alpha, params.temperature)

    def combine(logits: np.ndarray) -> np.ndarray:
        return method.combine(torch.from_numpy(logits), params.temperature, params.mean).numpy()

    return Plan(
        ours, ours, step, params.phase, teacher_logits=True, seen_words=True, combine=combine, tokenizer=tokenizer
    )


def untrained(file: Path, given: Given, tokens: int) -> Untrained:
    """The student at its start, which has the shape of the trained one."""
    params = load("hinton.distill", Distill, file)
    student, own = start_any_student(given, params.student, params.phase.seed)
    return student, own or given.tokenizer


def check_rows(params: Distill, given: Given) -> None:
    """Whether the transfer set has what the loss reads."""
    if not given.kind.labelled(given.rows) and params.alpha != 1:
        raise InputError(
            f"hinton.distill.alpha = {params.alpha}, but '{params.rows}' has no labels: set it to 1.0, "
            "or hinton.distill.rows to rows that have them"
        )
    missing = [name for name in given.kind.present if name not in given.rows.column_names]
    if missing:
        raise InputError(f"hinton.distill.rows = '{params.rows}' has no column '{missing[0]}', which the task has")
