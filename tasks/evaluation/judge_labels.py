"""The part of `tasks.evaluate` that knows classes and scores: sentences, pairs, regression."""

from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

import stillhouse.models.compact
import stillhouse.models.modeling_bilstm  # noqa: F401 - what the model may be, so that DVC knows of it
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.encoders.labels import label_order, model_labels
from stillhouse.errors import InputError
from stillhouse.onnx import latency
from stillhouse.onnx.sessions import open_session, predict_onnx
from stillhouse.surgery.quantizing import dequantize, quantized
from stillhouse.training.predict import predict
from tasks.data.dataset import TaskData, load_task, tokenize
from tasks.evaluation.costs import sample
from tasks.evaluation.judged import Judged, write_pairs
from tasks.evaluation.metrics import compute, headline
from tasks.stage.params import EvaluateParams, TrainParams


def judge_labels(data: Path, checkpoint: Path, onnx: Path, params: EvaluateParams, train: TrainParams) -> Judged:
    """Score a classifier or regressor on the task in `data`.

    Raises:
        InputError: model, ONNX file and task do not fit together.
    """
    task = load_task(data)
    tokenizer = load_tokenizer(checkpoint)
    model = load_model(checkpoint, AutoModelForSequenceClassification)
    columns = label_columns(model, task, checkpoint)
    rows = tokenize(task.validation, tokenizer, train.max_length)
    logits = predict(model, rows, tokenizer, batch_size=train.eval_batch_size)  # (N, C), C in the model's order
    agreement = onnx_figures(onnx / "model.onnx", model, rows, tokenizer)
    scores = compute(logits[:, columns], task.validation["label"][:], task.regression)

    def write(folder: Path) -> list[str]:
        write_predictions(folder / "predictions.csv", logits[:, columns], task)
        return ["predictions.csv"]

    return Judged(
        model, len(tokenizer), task.pair, len(rows), scores, headline(scores, params.metric), agreement, write
    )


def label_columns(model: PreTrainedModel, task: TaskData, folder: Path) -> list[int]:
    """For each label of the data, in order, the model's output that stands for it; [0] for regression.

    Placeholder names (LABEL_0, …) are taken to be in the data's order.

    Raises:
        InputError: the model's labels are not the data's, or it is for another kind of task.
    """
    outputs = model.config.num_labels
    if outputs != (len(task.labels) or 1):
        wanted = f"the data has {len(task.labels)} labels" if task.labels else "a regression task wants 1"
        raise InputError(f"'{folder}' has {outputs} outputs, {wanted}: use a model of this task")
    names = None if task.regression else model_labels(model)
    return list(range(outputs)) if names is None else label_order(task.labels, names)


def onnx_figures(
    file: Path, model: PreTrainedModel, data: Dataset, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """Size of the exported file, and how far its logits are from torch's, on sentences spread over the split.

    One sentence at a time: where activations are rounded by the range of their batch, its neighbours move a sentence's
    logits. `onnx_rounding` is how far rounding activations moves torch's own logits at most, 0 where none are rounded:
    two runtimes add in another order, which can turn a rounding, and may differ by that much and both be right.
    """
    rows = data.select(sample(len(data)))
    given = predict_onnx(open_session(file, latency.usable_cores()), rows, tokenizer, batch_size=1)
    ours = predict(model, rows, tokenizer, batch_size=1)
    if given.shape[1] != ours.shape[1]:
        raise InputError(f"'{file}' has {given.shape[1]} outputs, the model {ours.shape[1]}: export it again")
    rounding = 0.0
    if quantized(model) is not None:
        rounding = float(np.abs(ours - predict(dequantize(model), rows, tokenizer, batch_size=1)).max())
    difference = float(np.abs(given - ours).max())
    return {"onnx_bytes": file.stat().st_size, "onnx_max_difference": difference, "onnx_rounding": rounding}


def write_predictions(file: Path, logits: np.ndarray, task: TaskData) -> None:
    """`actual,predicted` of each validation row: label names, or scores."""
    truth = task.validation["label"][:]
    if task.regression:
        rows = [(f"{actual:.4f}", f"{given:.4f}") for actual, given in zip(truth, logits[:, 0], strict=True)]
    else:
        names = task.labels
        rows = [(names[actual], names[given]) for actual, given in zip(truth, logits.argmax(axis=1), strict=True)]
    write_pairs(file, rows)
