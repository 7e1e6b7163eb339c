"""What a checkpoint and its ONNX file are worth on a task: scores, predictions, and whether the two agree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import stillhouse.models.compact
import stillhouse.models.modeling_bilstm
import stillhouse.models.modeling_bilstm_answers
import stillhouse.models.modeling_bilstm_tokens  # noqa: F401 - what the model may be, so that DVC knows of it
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.onnx.sessions import open_session
from stillhouse.surgery.quantizing import dequantize, quantized
from stillhouse.training.threads import usable_cores
from tasks.evaluation.costs import sample
from tasks.evaluation.rows import Rows
from tasks.kinds.contract import Examples, Kind, Metrics, Predictions, Task, check_head
from tasks.kinds.find import load_task
from tasks.stage.params import PARAMS, TrainParams, load


@dataclass(frozen=True)
class Judged:
    """A model and what it is worth on one split, or on two.

    Args:
        kind: with what it chose on validation for this model.
        model: in eval mode.
        vocabulary: of its tokenizer.
        split: what the rest speaks of: test where the task has one, else validation.
        metrics: all of them by name.
        validation: metrics and rows of validation, what is chosen by, where `split` is another.
        onnx: `onnx_bytes`, `onnx_max_difference` and `onnx_rounding` of the exported file.
    """

    kind: Kind
    model: PreTrainedModel
    vocabulary: int
    split: str
    examples: Examples
    predictions: Predictions
    metrics: Metrics
    validation: tuple[Metrics, Rows] | None
    onnx: dict[str, float]

    @property
    def rows(self) -> Rows:
        """What the paired bootstrap reads of each row of the split."""
        return self.kind.bootstrap_rows(self.predictions, self.examples)

    @property
    def served(self) -> dict[str, Any]:
        """What registering and serving the model need to know."""
        return {
            "kind": self.kind.name,
            "split": self.split,
            "columns": self.kind.served_columns(),
            "numbers": self.kind.served_numbers(),
            "judged_by": self.kind.judged_by(),
        }


def judge(task: Task, checkpoint: Path, onnx: Path, batch_size: int) -> Judged:
    """Score a model on the task's test split, or on validation where it has none.

    Args:
        onnx: folder of its model.onnx.
        batch_size: rows a forward pass.

    Raises:
        InputError: model, ONNX file and task do not fit together.
    """
    kind = task.kind
    check_head(type(kind), checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    model = load_model(checkpoint, kind.auto, whole=True)
    kind.check_model(model, checkpoint)

    def predicted(rows: Dataset) -> tuple[Predictions, Examples]:
        examples = kind.examples(rows, tokenizer)
        return kind.ordered(kind.predict(model, examples.encoded, tokenizer, batch_size), model), examples

    test, validation = task.test, predicted(task.validation)
    settled = kind.settled(*validation)
    predictions, examples = validation if test is None else predicted(test)
    metrics = settled.metrics(predictions, examples)
    agreement = onnx_figures(onnx / "model.onnx", kind, model, examples.encoded, tokenizer)
    other = None if test is None else (settled.metrics(*validation), settled.bootstrap_rows(*validation))
    split = "validation" if test is None else "test"
    return Judged(settled, model, len(tokenizer), split, examples, predictions, metrics, other, agreement)


def judge_checkpoint(data: Path, checkpoint: Path, onnx: Path, params: Path = PARAMS) -> Judged:
    """`judge`, with task and numbers read from their files."""
    return judge(load_task(data, params), checkpoint, onnx, load("train", TrainParams, params).eval_batch_size)


def onnx_figures(
    file: Path, kind: Kind, model: PreTrainedModel, encoded: Dataset, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Size of the exported file, and how far its logits are from torch's, on rows spread over the split.

    One row at a time: where activations are rounded by the range of their batch, its neighbours move a row's logits.
    `onnx_rounding` is how far rounding activations moves torch's own logits at most, 0 where none are rounded: two
    runtimes add in another order, which can turn a rounding, and may differ by that much and both be right.
    """
    rows = encoded.select(sample(len(encoded)))
    session = open_session(file, usable_cores())
    outputs = [output.name for output in session.get_outputs()]
    if outputs != list(kind.outputs):
        raise InputError(f"'{file}' has the outputs {outputs}, not {list(kind.outputs)}: export it again")
    given = kind.predict_onnx(session, rows, tokenizer, 1)
    ours = kind.predict(model, rows, tokenizer, 1)
    if given[0].shape != ours[0].shape:
        raise InputError(f"'{file}' gives {given[0].shape} numbers a row, the model {ours[0].shape}: export it again")
    rounding = 0.0
    if quantized(model) is not None:
        rounding = difference(ours, kind.predict(dequantize(model), rows, tokenizer, 1))
    return {
        "onnx_bytes": file.stat().st_size,
        "onnx_max_difference": difference(given, ours),
        "onnx_rounding": rounding,
    }


def difference(one: Predictions, other: Predictions) -> float:
    """How far two models' logits of the same rows are apart at most."""
    return max(float(np.abs(ours - theirs).max()) for ours, theirs in zip(one, other, strict=True))


class Scorer:
    """Scores one model after the other on the same rows, which are made ready once.

    Args:
        rows: with their labels, not encoded.
        tokenizer: the models'.
        metric: its name in params.yaml.
    """

    def __init__(
        self, kind: Kind, rows: Dataset, tokenizer: PreTrainedTokenizerBase, metric: str, batch_size: int
    ) -> None:
        kind.check_metric(metric)
        self.kind = kind
        self.examples = kind.examples(rows, tokenizer)
        self.tokenizer = tokenizer
        self.metric = metric
        self.batch_size = batch_size

    def __call__(self, model: PreTrainedModel) -> tuple[float, float]:
        """`metric`, and minus the mean loss, which tells apart what the metric does not; both the higher the better.

        The model stays in its mode and on its device.
        """
        predictions = self.kind.predict(model, self.examples.encoded, self.tokenizer, self.batch_size)
        value = self.kind.settled(predictions, self.examples).metrics(predictions, self.examples)[self.metric]
        return value, -self.kind.loss(predictions, self.examples)
