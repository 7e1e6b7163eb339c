"""Scores: a number of a text, or of a pair of texts (regression)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from tasks.evaluation.metrics import OF_SCORES
from tasks.evaluation.rows import Rows
from tasks.kinds.contract import Examples, Predictions
from tasks.kinds.sentences import Sentences
from tasks.sources.blocks import DataParams
from tasks.sources.make_task import prepare_task


class Scores(Sentences):
    """A number."""

    name = "scores"
    does = "gives a text a number"
    problem = "regression"
    width = 1

    @classmethod
    def prepare(cls, params: DataParams, out: Path) -> dict[str, float]:
        return prepare_task(params, out, scores=True)

    def describe(self, config: Any) -> None:
        config.problem_type = self.problem
        config.num_labels = 1

    def check_model(self, model: PreTrainedModel, source: str | Path) -> None:
        outputs = model.config.num_labels
        if outputs != 1:
            raise InputError(f"'{source}' has {outputs} outputs, scores want 1: use a model of this task")

    def metric_names(self) -> tuple[str, ...]:
        return tuple(OF_SCORES)

    def bootstrap_rows(self, predictions: Predictions, examples: Examples) -> Rows:
        columns = {"actual": examples.rows["label"][:], "predicted": np.asarray(predictions)[:, 0]}
        # Beyond six digits the order of a sum shows, which differs from machine to machine.
        return {name: np.array([float(f"{value:.6g}") for value in values]) for name, values in columns.items()}

    def pairs(self, predictions: Predictions, examples: Examples) -> Sequence[tuple[str, str]]:
        rows = self.bootstrap_rows(predictions, examples)
        return [
            (f"{actual:.4f}", f"{given:.4f}") for actual, given in zip(rows["actual"], rows["predicted"], strict=True)
        ]


KIND = Scores
