"""What a kind of task is to everything else: a recipe, an evaluation, a served model ask it, and never which one it is.

A kind is a file here with a class `KIND`. Its part of the mathematics, how outputs become distributions, it has from
`stillhouse.training.outcomes`. What it needs of params.yaml stands there in `kinds.NAME`.

N rows, C outcomes, L tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import architecture, head_in, load_model
from stillhouse.errors import InputError
from stillhouse.training.outcomes import Outcomes
from tasks.data.dataset import load_split
from tasks.evaluation.rows import Rows
from tasks.sources.blocks import DataParams
from tasks.sources.split import Source
from tasks.stage.json_files import read_json
from tasks.stage.params import Block, TrainParams

# The logits of a data set: (N, C), or of each row an array whose shape is the row's own, such as (2, L).
Predictions = NDArray[np.float32] | Sequence[NDArray[np.float32]]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Examples:
    """Some rows as models are scored on them."""

    rows: Dataset  # with their labels
    encoded: Dataset  # what a model reads; several of a row where a kind cuts windows


@dataclass(frozen=True)
class Teachers:
    """Rows as a teacher reads them whose tokenizer is not the student's.

    Args:
        encoded: what it reads.
        aligned: what it says of them, at the student's tokens.
    """

    encoded: Dataset
    aligned: Callable[[Predictions], Predictions]


class Kind(Outcomes, ABC):
    """A kind of task, with one task's labels and numbers.

    Args:
        rows: training rows, whose features say what labels there are.
        train: `train` of params.yaml.
        numbers: `kinds.NAME` of params.yaml.
    """

    name: ClassVar[str]
    Numbers: ClassVar[type[Block]] = Block
    auto: ClassVar[type]  # transformers' Auto class of its models
    head: ClassVar[str]  # how the class that a fine-tuned checkpoint was saved from ends
    outputs: ClassVar[tuple[str, ...]] = ("logits",)  # of a model, and of its ONNX file
    per_token: ClassVar[bool] = False  # whether it predicts something of each token
    word_labels: ClassVar[bool] = False  # whether each word of a row has a label: a copy of a row has as many words
    in_windows: ClassVar[bool] = False  # whether a row that is too long is read in several
    does: ClassVar[str]  # what a model does, in words
    pipeline: ClassVar[str]  # what hubs call that
    run: ClassVar[str]  # how its exported folder is run, in Markdown
    texts: ClassVar[tuple[str, ...]]  # columns of text, of which a task may lack the later ones
    augmented: ClassVar[tuple[str, ...]]  # those of them whose words may change with no harm to the label

    def __init__(self, rows: Dataset, train: TrainParams, numbers: Any) -> None:
        self.train = train
        self.numbers = numbers
        self.present = tuple(name for name in self.texts if name in rows.column_names)

    @property
    def pair(self) -> bool:
        """Whether a model reads two texts at a time."""
        return len(self.present) > 1

    # ------------------------------------------------------------------------------------------- what stands in data

    @classmethod
    @abstractmethod
    def source(cls, params: DataParams) -> Source:
        """The task's rows where they come from, not read yet.

        Raises:
            InputError: the block `data` names none of this kind.
        """

    @classmethod
    @abstractmethod
    def prepare(cls, params: DataParams, out: Path) -> dict[str, float]:
        """Write data/task from the block `data`; give the counts of rows."""

    def labelled(self, rows: Dataset) -> bool:
        """Whether rows say what is right."""
        return "label" in rows.column_names

    # -------------------------------------------------------------------------------------------------------- models

    @abstractmethod
    def start(self, source: str | Path, seed: int | None) -> PreTrainedModel:
        """A model as fine-tuning finds it, with its own head if it has one for this task, else a new one.

        Args:
            source: a checkpoint folder, or a hub id.
            seed: of a new head; None: it must have its own, for it is not to be fine-tuned.

        Raises:
            InputError: its head is of another kind of task, or it has none and is not to be fine-tuned.
        """

    def load(self, folder: Path) -> PreTrainedModel:
        """A fine-tuned checkpoint, its outputs in the data's order.

        Raises:
            InputError: it is of another kind of task, or of other labels.
        """
        check_head(type(self), folder)
        return self.fitted(load_model(folder, self.auto, whole=True), folder)

    def check_start(self, source: str | Path) -> None:
        """Raise for a checkpoint that was fine-tuned to another kind of task: its encoder alone is a start."""
        if not isinstance(source, Path):
            return
        names = read_json(source / "config.json", "give a checkpoint folder").get("architectures") or [""]
        head = head_in(names[0])
        if head and f"For{head}" not in (self.head, "ForMaskedLM", "ForPreTraining"):
            raise InputError(
                f"'{source}' is a {names[0]}, {self.name} want a model …{self.head}: "
                "give one of this task, or one that is not fine-tuned"
            )

    @abstractmethod
    def check_model(self, model: PreTrainedModel, source: str | Path) -> None:
        """Raise for a model whose outputs, or whose longest input, are not this task's."""

    def fitted(self, model: PreTrainedModel, source: str | Path) -> PreTrainedModel:
        """The model with its outputs in the data's order, changed in place. Raises as `load` does."""
        self.check_model(model, source)
        return model

    @abstractmethod
    def describe(self, config: Any) -> None:
        """Write into a new model's config what this task has, such as the names of the labels."""

    # ------------------------------------------------------------------------------------------------- rows to batches

    @abstractmethod
    def encode(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
        """What a model is trained on: `input_ids`, maybe `token_type_ids`, `length`, and what `labels` reads.

        Where rows and encoded rows are not the same, `row` says which row each is of.

        Args:
            rows: with their text; labels may be missing.
            max_length: tokens of a row at most; None: as params.yaml says.
        """

    def for_teacher(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase
    ) -> Teachers:
        """The same rows for a teacher that cuts words otherwise.

        Args:
            tokenizer: the student's, for which `encode` made what it is trained on.
            theirs: the teacher's.
        """
        return Teachers(self.encode(rows, theirs), lambda predictions: predictions)

    def stated(self, rows: Dataset) -> Predictions:
        """Logits of each row whose probabilities are those that the rows state themselves.

        Raises:
            InputError: such rows state none.
        """
        raise InputError(f"rows of {self.name} state no probabilities: set data.columns.probabilities to null")

    # -------------------------------------------------------------------------------------------------------- scoring

    @abstractmethod
    def examples(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Examples:
        """Rows as a model is scored on them."""

    @abstractmethod
    def predict(
        self, model: PreTrainedModel, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        """A model's logits of each encoded row, in order; it stays in its mode and on its device."""

    @abstractmethod
    def predict_onnx(
        self, session: Any, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        """`predict` of an exported model."""

    def ordered(self, predictions: Predictions, model: PreTrainedModel) -> Predictions:
        """Predictions in the data's order of labels, of a model that has its own."""
        return predictions

    def settled(self, predictions: Predictions, examples: Examples) -> "Kind":
        """This kind with what it chooses for one model, by the model's predictions of validation rows.

        It may have numbers that decide from a model's outputs what is predicted, such as thresholds.
        """
        return self

    @abstractmethod
    def metrics(self, predictions: Predictions, examples: Examples) -> Metrics:
        """Every metric of this kind.

        Raises:
            InputError: the model gives a value that is not a number.
        """

    @abstractmethod
    def loss(self, predictions: Predictions, examples: Examples) -> float:
        """The mean loss under the labels, which tells apart what a metric does not."""

    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """What `evaluate.metric` may be."""

    def check_metric(self, name: str) -> None:
        """Raise, before anything is trained, unless this kind has the metric that params.yaml names."""
        if name not in self.metric_names():
            raise InputError(
                f"evaluate.metric = '{name}' does not fit this task ({self.name}): "
                f"choose {', '.join(self.metric_names())}"
            )

    @abstractmethod
    def bootstrap_rows(self, predictions: Predictions, examples: Examples) -> Rows:
        """What the gate's paired bootstrap reads of each row."""

    @abstractmethod
    def pairs(self, predictions: Predictions, examples: Examples) -> Sequence[tuple[str, str]]:
        """What is right and what was predicted, of each row: names (a confusion matrix to DVC), or scores."""

    def write_details(self, folder: Path, predictions: Predictions, examples: Examples) -> None:
        """Write what else this kind keeps of an evaluation."""
        return

    # -------------------------------------------------------------------------------------------------------- serving

    @abstractmethod
    def served_columns(self) -> list[str]:
        """What a served model takes of each row."""

    def served_numbers(self) -> dict[str, Any]:
        """What a served model is configured with."""
        return {}

    @abstractmethod
    def judged_by(self) -> dict[str, Any]:
        """The numbers of params.yaml that decide a model's score, besides the metric."""

    @classmethod
    @abstractmethod
    def longest(cls, params: Mapping[str, Any]) -> tuple[Any, str]:
        """How many tokens a model reads at most, of the tree of params.yaml, and the key that says so."""


def check_head(kind: type[Kind], folder: Path) -> None:
    """Raise for a checkpoint with a head of another kind: it would be loaded with a random one of this.

    Raises:
        InputError: it has one, or there is no such checkpoint.
    """
    name = architecture(folder)
    if not name.endswith(kind.head):
        raise InputError(f"'{folder}' is a {name}, {kind.name} want a model …{kind.head}: give a model of this task")


@dataclass(frozen=True)
class Task:
    """The splits of data/task, and their kind."""

    kind: Kind
    train: Dataset
    validation: Dataset
    folder: Path

    @property
    def test(self) -> Dataset | None:
        """The test split, if there is one. Only an evaluation reads it."""
        file = self.folder / "test.parquet"
        return load_split(file) if file.is_file() else None
