"""lowrank: the teacher's matrices as products of thinner ones, then recovery with its logits.

When to use it: bytes are short, and every layer and head is to stay: two fifths fewer bytes for little of the score,
more of it where rows are few. It is no faster, for two thin products take as long as one.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from transformers import PreTrainedModel

from stillhouse.encoders.measure import parameters
from stillhouse.methods import lowrank as method
from stillhouse.surgery import factorize as factorize_layers
from stillhouse.surgery import factorize_embedding
from stillhouse.training.batches import Row, collate
from tasks.phases.plan import Plan, left_out
from tasks.phases.run import Given
from tasks.phases.task_loss import TaskLoss, task_plan
from tasks.stage.params import Block, Phase


class Fisher(Block):
    """`fisher` of lowrank: what weighs the rows of a matrix."""

    rows: int = Field(gt=0, description="Training rows that it is computed on")
    floor: float = Field(gt=0, le=1, description="Least value of a row, as a share of its matrix's mean")
    seed: int = Field(ge=0, description="Which rows")


class Ranks(Block):
    """`ranks` of lowrank, for the rule `rank`."""

    layers: int = Field(gt=0, description="Of every matrix of the layers")
    embedding: int = Field(gt=0, description="Of the word vectors")


class Factorize(Block):
    """`lowrank.factorize` in params.yaml: what is factorized, and how far."""

    layers: bool = Field(description="Factorize the layers' matrices")
    embedding: bool = Field(description="Factorize the word vectors")
    fisher: Fisher | None = Field(description="null: plain SVD")
    rule: Literal["rank", "energy", "budget"] = Field(description="Which of the next three gives the ranks")
    ranks: Ranks
    energy: float = Field(gt=0, le=1, description="Share of its squared singular values that each matrix keeps")
    budget: float = Field(gt=0, lt=1, description="Share of the parameters that stays")
    budget_of: Literal["matrices", "model"] = Field(description="Parameters of the chosen matrices, or of the teacher")

    @model_validator(mode="after")
    def _something(self) -> "Factorize":
        if not (self.layers or self.embedding):
            raise ValueError("layers and embedding are both false: nothing would be factorized")
        return self


class Recover(Block):
    """`lowrank.recover` in params.yaml."""

    task: TaskLoss
    phase: Phase | None = Field(description="null: no recovery")


class Params(Block):
    """`lowrank` in params.yaml."""

    factorize: Factorize
    recover: Recover


def factorize(params: Factorize, given: Given) -> PreTrainedModel:
    """The teacher with products of thinner matrices in the place of its own; says what they are."""
    teacher = given.teacher
    matrices = method.factorizable(teacher, layers=params.layers, embedding=params.embedding)
    information = None
    if params.fisher is not None:
        padding = given.tokenizer.pad_token_id
        assert padding is not None
        rows = (collate([row], padding) for row in _drawn(given, params.fisher))
        information = method.fisher_information(teacher, rows, matrices, params.fisher.floor, given.kind.hard)
    ranks = _ranks(params, matrices, information, parameters(teacher))
    importance = None if information is None else {name: values.sqrt() for name, values in information.items()}
    inside = {name: rank for name, rank in ranks.items() if name != method.EMBEDDING}
    model = factorize_layers(teacher, inside, importance) if inside else teacher
    if method.EMBEDDING in ranks:
        weights = None if importance is None else importance[method.EMBEDDING]
        model = factorize_embedding(model, ranks[method.EMBEDDING], weights)
    return model


def untrained_factors(params: Factorize, model: PreTrainedModel, given: Given) -> PreTrainedModel:
    """The factors by plain SVD: with given ranks, their sizes are those that Fisher information would give."""
    return factorize(params.model_copy(update={"fisher": None}), replace(given, teacher=model))


def recover(params: Recover, given: Given) -> Plan:
    """The teacher's logits and the labels."""
    assert given.student is not None
    if params.phase is None:
        return left_out(given.student)
    return task_plan(given, given.student, params.task, params.phase)


def _drawn(given: Given, fisher: Fisher) -> list[Row]:
    chosen = np.random.default_rng(fisher.seed).permutation(len(given.rows))[: fisher.rows]
    return list(given.kind.encode(given.rows.select(chosen), given.tokenizer))


def _ranks(
    params: Factorize, matrices: dict[str, torch.Tensor], information: dict[str, torch.Tensor] | None, parameters: int
) -> dict[str, int]:
    sizes = {name: (int(matrix.shape[0]), int(matrix.shape[1])) for name, matrix in matrices.items()}
    if params.rule == "rank":
        asked = params.ranks.model_dump()
        ranks = {name: asked["embedding" if name == method.EMBEDDING else "layers"] for name in sizes}
    else:
        spectra = {
            name: method.energies(matrix, None if information is None else information[name])
            for name, matrix in matrices.items()
        }
        if params.rule == "energy":
            ranks = method.ranks_of_energy(spectra, sizes, params.energy)
        else:
            whole = method.weights({}, sizes)
            of = {"matrices": whole, "model": parameters}[params.budget_of]
            ranks = method.ranks_of_budget(spectra, sizes, int(params.budget * of) - (of - whole))
    method.check_ranks(ranks, sizes)
    for name, (m, n) in sizes.items():
        print(f"{name} {m}×{n}: " + (f"rank {ranks[name]}" if name in ranks else "whole"), flush=True)
    whole, left = method.weights({}, sizes), method.weights(ranks, sizes)
    print(
        f"matrices: {left:,} of {whole:,} weights; model: {parameters - whole + left:,} of {parameters:,}", flush=True
    )
    return ranks
