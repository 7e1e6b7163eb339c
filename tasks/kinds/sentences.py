"""What classes and scores have in common: a text or a pair of texts, and one prediction of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from datasets import Dataset
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model, weight_files
from stillhouse.encoders.labels import model_labels
from stillhouse.errors import InputError
from stillhouse.onnx.sessions import predict_onnx
from stillhouse.training.losses import task_loss
from stillhouse.training.predict import predict
from tasks.data.dataset import tokenize
from tasks.evaluation.metrics import compute
from tasks.kinds.contract import Examples, Kind, Metrics, Predictions
from tasks.sources.blocks import DataParams
from tasks.sources.make_task import sentences
from tasks.sources.split import Source
from tasks.stage.params import Block

# README.md has these lines too, and a test runs them.
RUN = """\
```python
import json
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = "."
rows = ["Compute the eigenvalues of a matrix.", "Plot a histogram."]  # a text each, or a pair of texts
with open(f"{folder}/inference.json", encoding="utf-8") as file:
    told = json.load(file)
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.x64quantprecision", "1")  # int8 without VNNI; nothing to other models
session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options)
read = Tokenizer.from_file(f"{folder}/tokenizer.json").encode_batch(rows)
tensors = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
feed = {put.name: np.array([getattr(row, tensors[put.name]) for row in read]) for put in session.get_inputs()}
(logits,) = session.run(None, feed)
if "thresholds" in told:  # of multi-label
    marks = 1 / (1 + np.exp(-logits.astype(float))) >= told["thresholds"]
    given = [[label for label, mark in zip(told["labels"], row) if mark] for row in marks]
elif "labels" in told:  # of classes
    given = [told["labels"][place] for place in logits.argmax(axis=1)]
else:  # of scores
    given = logits[:, 0].tolist()
```"""
Problem = Literal["regression", "single_label_classification", "multi_label_classification"]


class NoNumbers(Block):
    """`kinds.classes` and `kinds.scores`: they have none of their own."""


class Sentences(Kind):
    """One prediction of a text, or of a pair."""

    Numbers: ClassVar[type[Block]] = NoNumbers
    auto = AutoModelForSequenceClassification
    head = "ForSequenceClassification"
    pipeline = "text-classification"
    run = RUN
    texts = ("text", "text_pair")
    augmented = texts
    problem: ClassVar[Problem]  # transformers' problem_type
    width: int  # C, outputs of a model

    @classmethod
    def source(cls, params: DataParams) -> Source:
        return sentences(params)

    def start(self, source: str | Path, seed: int | None) -> PreTrainedModel:
        self.check_start(source)
        torch.manual_seed(seed or 0)
        if has_classifier(source, self.auto):
            return self.fitted(load_model(source, self.auto), source)
        if seed is None:
            raise InputError(
                f"teacher.phase = null, but '{source}' has no classifier: give a phase, or a fine-tuned model"
            )
        model = load_model(source, self.auto, num_labels=self.width, problem_type=self.problem)
        self.describe(model.config)
        return model

    def fitted(self, model: PreTrainedModel, source: str | Path) -> PreTrainedModel:
        return super().fitted(self.of_this_problem(model, source), source)

    def of_this_problem(self, model: PreTrainedModel, source: str | Path) -> PreTrainedModel:
        """The model, whose config says from now on what its outputs are; many a checkpoint leaves it out.

        Raises:
            InputError: its config says something else.
        """
        given = model.config.problem_type
        if given not in (None, self.problem):
            raise InputError(
                f"'{source}' is a model of {given} (problem_type in its config.json), {self.name} want one of "
                f"{self.problem}: use a model of this task"
            )
        model.config.problem_type = self.problem
        return model

    def encode(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
        if "probabilities" in rows.column_names:
            rows = rows.remove_columns("probabilities")  # `stated` gives them to those who learn from them
        return tokenize(rows, tokenizer, max_length or self.train.max_length)

    def examples(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Examples:
        return Examples(rows, self.encode(rows, tokenizer))

    def predict(
        self, model: PreTrainedModel, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        return predict(model, encoded, tokenizer, batch_size=batch_size)

    def predict_onnx(
        self, session: Any, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        return predict_onnx(session, encoded, tokenizer, batch_size=batch_size)

    def metrics(self, predictions: Predictions, examples: Examples) -> Metrics:
        scores = self.problem == "regression"
        return compute(np.asarray(predictions), examples.rows["label"][:], regression=scores)

    def loss(self, predictions: Predictions, examples: Examples) -> float:
        return task_loss(torch.from_numpy(np.asarray(predictions)), torch.tensor(examples.rows["label"][:])).item()

    def served_columns(self) -> list[str]:
        return list(self.present)

    def judged_by(self) -> dict[str, Any]:
        return {"max_length": self.train.max_length}

    @classmethod
    def longest(cls, params: Mapping[str, Any]) -> tuple[Any, str]:
        return (params.get("train") or {}).get("max_length"), "train.max_length"


def has_classifier(source: str | Path, auto: type) -> bool:
    """Whether a checkpoint comes with a trained classifier. A hub id has one if its config names real labels.

    Args:
        auto: transformers' Auto class of such classifiers.
    """
    if isinstance(source, str):
        return model_labels(load_model(source, auto)) is not None
    for file in weight_files(source):
        with safe_open(file, framework="pt") as weights:
            if any(name.startswith("classifier.") for name in weights.keys()):  # noqa: SIM118 - not a dict
                return True
    return False
