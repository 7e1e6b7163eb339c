"""Multi-label: any number of labels of a text, or of a pair of texts, none included."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional as F

from stillhouse.training.outcomes import SeveralLabels
from tasks.evaluation.label_sets import OF_GIVEN, best_thresholds, mean_average_precision
from tasks.evaluation.metrics import refuse_non_numbers
from tasks.evaluation.rows import Rows
from tasks.kinds.classes import Classes, probabilities
from tasks.kinds.contract import Examples, Metrics, Predictions
from tasks.kinds.sentences import Problem, Sentences
from tasks.sources.blocks import DataParams
from tasks.sources.make_label_sets import label_sets, prepare_label_sets
from tasks.sources.split import Source
from tasks.stage.params import Block, TrainParams


class Numbers(Block):
    """`kinds.multi-label`."""

    threshold: Literal["one", "each"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        description="Probability from which a label is given; chosen on validation: one for all labels, or each its own"
    )


class MultiLabel(SeveralLabels, Classes):
    """Several yes or no."""

    name = "multi-label"
    does = "gives a text any number of labels, none included"
    Numbers = Numbers
    problem: ClassVar[Problem] = "multi_label_classification"

    def __init__(self, rows: Dataset, train: TrainParams, numbers: Any) -> None:
        Sentences.__init__(self, rows, train, numbers)
        self.names = tuple(rows.features["label"].feature.names)
        self.width = len(self.names)
        given = numbers.threshold
        self.thresholds = np.full(self.width, 0.5 if isinstance(given, str) else given)  # (W,)

    @classmethod
    def source(cls, params: DataParams) -> Source:
        return label_sets(params)

    @classmethod
    def prepare(cls, params: DataParams, out: Path) -> dict[str, float]:
        return prepare_label_sets(params, out)

    def stated(self, rows: Dataset) -> Predictions:
        given = probabilities(rows)
        return np.log(given) - np.log1p(-given)

    def settled(self, predictions: Predictions, examples: Examples) -> "MultiLabel":
        how = self.numbers.threshold
        if not isinstance(how, str):
            return self
        chosen = copy.copy(self)
        chosen.thresholds = best_thresholds(self._truth(examples), shares(predictions), each=how == "each")
        return chosen

    def metric_names(self) -> tuple[str, ...]:
        return (*OF_GIVEN, "mean_average_precision")

    def metrics(self, predictions: Predictions, examples: Examples) -> Metrics:
        refuse_non_numbers(np.asarray(predictions))
        truth, given = self._truth(examples), self._given(predictions)
        found = {name: float(metric(truth, given)) for name, metric in OF_GIVEN.items()}
        return found | {"mean_average_precision": mean_average_precision(truth, shares(predictions))}

    def loss(self, predictions: Predictions, examples: Examples) -> float:
        truth = torch.from_numpy(self._truth(examples)).float()
        return F.binary_cross_entropy_with_logits(torch.from_numpy(np.asarray(predictions)), truth).item()

    def bootstrap_rows(self, predictions: Predictions, examples: Examples) -> Rows:
        """Of each label, by its place among the data's: whether it is right, whether it was given, its probability."""
        columns = {
            "label": self._truth(examples).astype(float),
            "given": self._given(predictions).astype(float),
            # Beyond six digits the order of a sum shows, which differs from machine to machine.
            "share": np.array([float(f"{share:.6g}") for share in shares(predictions).flat]).reshape(-1, self.width),
        }
        return {f"{name}_{place}": values[:, place] for name, values in columns.items() for place in range(self.width)}

    def pairs(self, predictions: Predictions, examples: Examples) -> Sequence[tuple[str, str]]:
        both = zip(self._truth(examples), self._given(predictions), strict=True)
        return [(self._named(actual), self._named(given)) for actual, given in both]

    def served_numbers(self) -> dict[str, Any]:
        return {"thresholds": self.thresholds.tolist()}

    def judged_by(self) -> dict[str, Any]:
        return {**super().judged_by(), "threshold": self.numbers.threshold}

    def _truth(self, examples: Examples) -> NDArray[np.bool_]:
        truth = np.zeros((len(examples.rows), self.width), dtype=bool)
        for row, places in enumerate(examples.rows["label"][:]):
            truth[row, places] = True
        return truth

    def _given(self, predictions: Predictions) -> NDArray[np.bool_]:
        return shares(predictions) >= self.thresholds

    def _named(self, marks: NDArray[np.bool_]) -> str:
        return ", ".join(name for name, mark in zip(self.names, marks, strict=True) if mark) or "none"


def shares(predictions: Predictions) -> NDArray[np.float64]:
    """(N, W) probabilities of W logits a row."""
    return 1 / (1 + np.exp(-np.asarray(predictions, dtype=np.float64)))


KIND = MultiLabel
