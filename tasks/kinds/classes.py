"""Classes: one label of a text, or of a pair of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import ClassLabel, Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from stillhouse.encoders.label_names import label_order, names_in
from stillhouse.encoders.labels import align_labels
from stillhouse.errors import InputError
from tasks.evaluation.metrics import OF_CLASSES, OF_TWO_CLASSES
from tasks.evaluation.rows import Rows
from tasks.kinds.contract import Examples, Predictions
from tasks.kinds.sentences import Problem, Sentences
from tasks.sources.blocks import DataParams
from tasks.sources.make_task import prepare_task
from tasks.stage.params import TrainParams

LEAST = np.float32(1e-6)


class Classes(Sentences):
    """One of several labels."""

    name = "classes"
    does = "gives a text one of several labels"
    problem: ClassVar[Problem] = "single_label_classification"

    def __init__(self, rows: Dataset, train: TrainParams, numbers: Any) -> None:
        super().__init__(rows, train, numbers)
        feature = rows.features["label"]
        assert isinstance(feature, ClassLabel)
        self.names = tuple(feature.names)
        self.width = len(self.names)

    @classmethod
    def prepare(cls, params: DataParams, out: Path) -> dict[str, float]:
        return prepare_task(params, out, scores=False)

    def describe(self, config: Any) -> None:
        config.problem_type = self.problem
        config.id2label = dict(enumerate(self.names))
        config.label2id = {name: i for i, name in enumerate(self.names)}

    def fitted(self, model: PreTrainedModel, source: str | Path) -> PreTrainedModel:
        if model.config.num_labels == 1:
            self.check_model(model, source)
        return align_labels(self.of_this_problem(model, source), self.names)

    def check_model(self, model: PreTrainedModel, source: str | Path) -> None:
        outputs = model.config.num_labels
        if outputs != self.width:
            raise InputError(
                f"'{source}' has {outputs} outputs, the data has {self.width} labels: use a model of this task"
            )

    def ordered(self, predictions: Predictions, model: PreTrainedModel) -> Predictions:
        order = label_order(self.names, names_in(model.config.id2label))
        return np.take(np.asarray(predictions), order, axis=1)

    def stated(self, rows: Dataset) -> Predictions:
        return np.log(probabilities(rows))

    def metric_names(self) -> tuple[str, ...]:
        return tuple(OF_CLASSES | OF_TWO_CLASSES if self.width == 2 else OF_CLASSES)

    def bootstrap_rows(self, predictions: Predictions, examples: Examples) -> Rows:
        """A class is its place among the data's labels."""
        actual = np.array(examples.rows["label"][:], dtype=float)
        return {"actual": actual, "predicted": np.asarray(predictions).argmax(axis=1).astype(float)}

    def pairs(self, predictions: Predictions, examples: Examples) -> Sequence[tuple[str, str]]:
        rows = self.bootstrap_rows(predictions, examples)
        return [
            (self.names[int(actual)], self.names[int(given)])
            for actual, given in zip(rows["actual"], rows["predicted"], strict=True)
        ]


def probabilities(rows: Dataset) -> NDArray[np.float32]:
    """(N, C) that rows state, a little off 0 and 1, whose logits would be infinite.

    Raises:
        InputError: a row states none.
    """
    found = rows["probabilities"][:]
    if None in found:
        raise InputError(
            f"training row {found.index(None) + 1} states no probabilities, and others do: give all theirs"
        )
    return np.clip(np.array(found, dtype=np.float32), LEAST, 1 - LEAST)


KIND = Classes
