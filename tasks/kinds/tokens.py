"""Tokens: a label of each word of a sentence, such as the entity that it is part of, or its part of speech.

A row is `text`, words with a space between each two, and `label`, one for each word. What a model reads is a window on
a sentence: see `stillhouse.tagging.windows`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, model_validator
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_model
from stillhouse.encoders.label_names import label_order, names_in
from stillhouse.encoders.labels import align_labels
from stillhouse.encoders.measure import longest_input
from stillhouse.errors import InputError
from stillhouse.tagging.logits import regrouped, word_logits, word_logits_onnx
from stillhouse.tagging.outcomes import WordOutcomes
from stillhouse.tagging.schemes import OUTSIDE, scheme_of
from stillhouse.tagging.windows import NO_WORD, cut_windows
from stillhouse.tagging.words import word_spans
from tasks.data.dataset import cut_rows
from tasks.evaluation.costs import rounded
from tasks.evaluation.rows import Rows
from tasks.evaluation.word_labels import OF_COUNTS, by_type, count
from tasks.kinds.contract import Examples, Kind, Metrics, Predictions, Teachers
from tasks.kinds.sentences import has_classifier
from tasks.sources.blocks import DataParams
from tasks.sources.make_tokens import prepare_tokens, tokens
from tasks.sources.split import Source
from tasks.stage.json_files import write_json
from tasks.stage.params import Block, TrainParams

RUN = """\
`tokenizer.json` neither cuts nor pads. Put one space between the words of a sentence and encode it. A word has the
likeliest label (`labels` of `inference.json`, in the order of the logits) at its first piece: at the first token whose
offsets begin inside the word. A sentence of more than `max_length` tokens, special ones included, is read in windows
that begin and end between words and share at least `overlap` tokens; a word counts in the window that shows the most
around it. Rows of a batch are filled up with `padding`."""


class Numbers(Block):
    """`kinds.tokens`: the windows that are read of a sentence."""

    max_length: int = Field(gt=2, description="Tokens of a window, special ones included")
    overlap: int = Field(ge=0, description="Tokens that two windows of a long sentence share, at least")

    @model_validator(mode="after")
    def _room(self) -> "Numbers":
        if self.overlap >= self.max_length - 2:
            raise ValueError(f"max_length ({self.max_length}) has no room for more than overlap ({self.overlap})")
        return self


class Tokens(WordOutcomes, Kind):
    """A label of each word."""

    name = "tokens"
    does = "gives each word of a sentence a label"
    pipeline = "token-classification"
    run = RUN
    in_windows = True
    Numbers: ClassVar[type[Block]] = Numbers
    auto = AutoModelForTokenClassification
    head = "ForTokenClassification"
    per_token = True
    texts = ("text",)
    augmented = texts
    word_labels = True

    def __init__(self, rows: Dataset, train: TrainParams, numbers: Any) -> None:
        super().__init__(rows, train, numbers)
        self.names = tuple(rows.features["label"].feature.names)
        self.width = len(self.names)
        self.scheme = scheme_of(self.names)

    @classmethod
    def source(cls, params: DataParams) -> Source:
        return tokens(params)

    @classmethod
    def prepare(cls, params: DataParams, out: Path) -> dict[str, float]:
        return prepare_tokens(params, out)

    def start(self, source: str | Path, seed: int | None) -> PreTrainedModel:
        self.check_start(source)
        torch.manual_seed(seed or 0)
        if has_classifier(source, self.auto):
            return self.fitted(load_model(source, self.auto), source)
        if seed is None:
            raise InputError(
                f"teacher.phase = null, but '{source}' has no classifier of words: give a phase, or a fine-tuned model"
            )
        model = load_model(source, self.auto, num_labels=self.width)
        self.describe(model.config)
        return model

    def describe(self, config: Any) -> None:
        config.id2label = dict(enumerate(self.names))
        config.label2id = {name: place for place, name in enumerate(self.names)}

    def fitted(self, model: PreTrainedModel, source: str | Path) -> PreTrainedModel:
        self.check_model(model, source)
        return align_labels(model, self.names)

    def check_model(self, model: PreTrainedModel, source: str | Path) -> None:
        outputs = model.config.num_labels
        if outputs != self.width:
            raise InputError(
                f"'{source}' has {outputs} outputs, the data has {self.width} labels: use a model of this task"
            )
        longest = longest_input(model)
        if longest is not None and self.numbers.max_length > longest:
            raise InputError(
                f"kinds.tokens.max_length = {self.numbers.max_length}: '{source}' takes {longest}: lower it"
            )

    # ------------------------------------------------------------------------------------------------- rows to batches

    def encode(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
        """A row a window, with `words`, those that count at its tokens, and their labels."""
        room = self.numbers.max_length if max_length is None else min(self.numbers.max_length, max_length)
        labelled = self.labelled(rows)

        def windows(batch: dict[str, list], places: list[int]) -> dict[str, list]:
            spans = [word_spans(text) for text in batch["text"]]
            columns = cut_windows(batch["text"], spans, tokenizer, max_length=room, overlap=self.numbers.overlap)
            examples = columns.pop("example")
            if labelled:
                columns["label"] = [
                    [batch["label"][example][word] for word in words if word != NO_WORD]
                    for example, words in zip(examples, columns["words"], strict=True)
                ]
            columns["row"] = [places[example] for example in examples]
            return columns | {"length": [len(ids) for ids in columns["input_ids"]]}

        return cut_rows(rows, windows)

    def for_teacher(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase
    ) -> Teachers:
        """The teacher's own windows; what it says of a word goes to the student's window in which the word counts."""
        ours, read = (self.encode(rows, each) for each in (tokenizer, theirs))
        places = [(each["row"][:], each["words"][:]) for each in (read, ours)]
        return Teachers(read, lambda predictions: regrouped(list(predictions), *places))

    # -------------------------------------------------------------------------------------------------------- scoring

    def examples(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Examples:
        return Examples(rows, self.encode(rows, tokenizer))

    def predict(
        self, model: PreTrainedModel, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        return word_logits(model, encoded, tokenizer, batch_size=batch_size)

    def predict_onnx(
        self, session: Any, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        return word_logits_onnx(session, encoded, tokenizer, batch_size=batch_size)

    def ordered(self, predictions: Predictions, model: PreTrainedModel) -> Predictions:
        order = label_order(self.names, names_in(model.config.id2label))
        return [np.take(each, order, axis=1) for each in predictions]

    def metrics(self, predictions: Predictions, examples: Examples) -> Metrics:
        counts = count(self._truth(examples), self._given(predictions, examples), self.scheme)
        return {name: metric(counts) for name, metric in OF_COUNTS.items()}

    def loss(self, predictions: Predictions, examples: Examples) -> float:
        logits = torch.from_numpy(np.concatenate([np.asarray(each) for each in predictions]))  # (words, C)
        labels = torch.tensor([label for labels in examples.encoded["label"][:] for label in labels])
        return F.cross_entropy(logits, labels).item()

    def metric_names(self) -> tuple[str, ...]:
        return tuple(OF_COUNTS)

    def bootstrap_rows(self, predictions: Predictions, examples: Examples) -> Rows:
        """Of each type, by its place: entities there, given and right; words, and those with the right label."""
        counts = count(self._truth(examples), self._given(predictions, examples), self.scheme)
        tables = {"there": counts.there, "given": counts.given, "hit": counts.hit}
        columns = {
            f"{name}_{place}": table[:, place]
            for name, table in tables.items()
            for place in range(len(self.scheme.types))
        }
        columns |= {"words": counts.words, "right": counts.right}
        return {name: column.astype(float) for name, column in columns.items()}

    def pairs(self, predictions: Predictions, examples: Examples) -> Sequence[tuple[str, str]]:
        """Of each word."""
        both = zip(self._truth(examples), self._given(predictions, examples), strict=True)
        return [pair for truth, given in both for pair in zip(truth, given, strict=True)]

    def write_details(self, folder: Path, predictions: Predictions, examples: Examples) -> None:
        """types.json: precision, recall, F1 and the number of each type's entities."""
        counts = count(self._truth(examples), self._given(predictions, examples), self.scheme)
        figures = {name: values.tolist() for name, values in by_type(counts).items()}
        figures["there"] = counts.there.sum(axis=0).tolist()
        types = {
            kind: {name: values[place] for name, values in figures.items()}
            for place, kind in enumerate(self.scheme.types)
        }
        write_json(folder / "types.json", rounded(types))

    # -------------------------------------------------------------------------------------------------------- serving

    def served_columns(self) -> list[str]:
        return ["text", "words"]

    def served_numbers(self) -> dict[str, Any]:
        return self.numbers.model_dump()

    def judged_by(self) -> dict[str, Any]:
        return self.served_numbers()

    @classmethod
    def longest(cls, params: Mapping[str, Any]) -> tuple[Any, str]:
        numbers = (params.get("kinds") or {}).get("tokens") or {}
        return numbers.get("max_length"), "kinds.tokens.max_length"

    def _truth(self, examples: Examples) -> list[list[str]]:
        return [[self.names[label] for label in labels] for labels in examples.rows["label"][:]]

    def _given(self, predictions: Predictions, examples: Examples) -> list[list[str]]:
        """The likeliest label of each word; of a word of which the tokenizer makes no piece O, or the first label.

        Raises:
            InputError: the model gives a value that is not a number.
        """
        bad = sum(not np.isfinite(each).all() for each in predictions)
        if bad:
            raise InputError(f"{bad} of {len(predictions)} predictions are not numbers")
        nothing = OUTSIDE if OUTSIDE in self.names else self.names[0]
        given = [[nothing] * len(labels) for labels in examples.rows["label"][:]]
        windows = zip(examples.encoded["row"][:], examples.encoded["words"][:], predictions, strict=True)
        for row, words, logits in windows:
            counting = [word for word in words if word != NO_WORD]
            for word, label in zip(counting, np.asarray(logits).argmax(axis=1), strict=True):
                given[row][word] = self.names[label]
        return given


KIND = Tokens
