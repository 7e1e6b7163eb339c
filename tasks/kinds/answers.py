"""Answers: a span of a context that answers a question, or none (extractive question answering, SQuAD 2.0's task).

A row is `id`, `question`, `context` and `answers` {text, answer_start}, with empty lists where there is no answer. What
a model reads is a window on one: see `stillhouse.answers.windows`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from pydantic import Field, model_validator
from torch.nn import functional as F
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.answers.align import align
from stillhouse.answers.outcomes import SpanOutcomes
from stillhouse.answers.spans import OUTPUTS, Answer, find_answers, span_logits, span_logits_onnx
from stillhouse.answers.windows import CLS, OUTSIDE, answer_place, cut_windows
from stillhouse.encoders.checkpoint import load_model
from stillhouse.encoders.measure import longest_input
from stillhouse.errors import InputError
from tasks.data.dataset import cut_rows
from tasks.evaluation import squad_metrics
from tasks.evaluation.costs import rounded
from tasks.evaluation.rows import Rows
from tasks.kinds.contract import Examples, Kind, Metrics, Predictions, Teachers
from tasks.sources.blocks import DataParams
from tasks.sources.make_questions import prepare_questions, questions
from tasks.sources.split import Source
from tasks.stage.json_files import write_json
from tasks.stage.params import Block

RUN = """\
`tokenizer.json` neither cuts nor pads. Cut the question to `question_length` tokens, and encode it with its context,
which is read in windows (`enable_truncation(max_length, stride=overlap, strategy="only_second")`, then `overflowing`).
The answer is the span of at most `max_answer_length` tokens of the context, in any window, with the greatest
`start_logits + end_logits`; there is none where the sum of the first token's, the smallest of all windows, exceeds that
by more than `null_threshold` (all numbers are in `inference.json`). Rows of a batch are filled up with `padding`."""


class Numbers(Block):
    """`kinds.answers`: the windows that are read of a question and its context, and how an answer is chosen."""

    max_length: int = Field(gt=0, description="Tokens of a window, the question and special tokens included")
    overlap: int = Field(ge=0, description="Tokens of a long context that two windows in a row share")
    question_length: int = Field(gt=0, description="Tokens; longer questions are cut")
    null_threshold: float = Field(description="No answer must score so much above the best answer to be given")
    n_best: int = Field(gt=0, description="Answers kept of each question")
    max_answer_length: int = Field(gt=0, description="Tokens of an answer at most")

    @model_validator(mode="after")
    def _room(self) -> "Numbers":
        if self.max_length <= self.question_length + self.overlap:
            raise ValueError(
                f"max_length ({self.max_length}) has no room for question_length ({self.question_length}) and more of "
                f"the context than overlap ({self.overlap}): raise it"
            )
        return self


class Answers(SpanOutcomes, Kind):
    """A span of the context, or none."""

    name = "answers"
    does = "finds the answer to a question in its context, or says that it is not there"
    pipeline = "question-answering"
    run = RUN
    in_windows = True
    Numbers = Numbers
    auto = AutoModelForQuestionAnswering
    head = "ForQuestionAnswering"
    outputs = OUTPUTS
    per_token = True
    texts = ("question", "context")
    found: tuple[Predictions, Examples, list[Answer]] | None = None  # the last ones: four things are made of them
    augmented = ("question",)  # an answer is a place in the context, whose words stay

    @classmethod
    def source(cls, params: DataParams) -> Source:
        return questions(params)

    @classmethod
    def prepare(cls, params: DataParams, out: Path) -> dict[str, float]:
        return prepare_questions(params, out)

    def labelled(self, rows: Dataset) -> bool:
        return "answers" in rows.column_names

    def start(self, source: str | Path, seed: int | None) -> PreTrainedModel:
        self.check_start(source)
        torch.manual_seed(seed or 0)
        model = load_model(source, self.auto)
        saved_from = model.config.architectures or []
        if seed is None and not any(name.endswith(self.head) for name in saved_from):
            raise InputError(
                f"teacher.phase = null, but '{source}' is not fine-tuned to answer questions: give a phase, "
                "or a model that is"
            )
        return self.fitted(model, source)

    def check_model(self, model: PreTrainedModel, source: str | Path) -> None:
        longest = longest_input(model)
        if longest is not None and self.numbers.max_length > longest:
            raise InputError(
                f"kinds.answers.max_length = {self.numbers.max_length}: '{source}' takes {longest}: lower it"
            )

    def describe(self, config: Any) -> None:
        config.num_labels = len(OUTPUTS)

    # ------------------------------------------------------------------------------------------------- rows to batches

    def encode(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
        """A row a window, with the places `start` and `end` of the answer; of several right answers the first."""
        windows = self.windows(rows, tokenizer, max_length)
        return windows.remove_columns(["starts", "ends"])

    def windows(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
        """A row a window, with the characters of the context that its tokens cover, `starts` and `ends`, too."""
        numbers = self.numbers
        least = numbers.question_length + numbers.overlap + tokenizer.num_special_tokens_to_add(pair=True) + 1
        room = numbers.max_length if max_length is None else min(numbers.max_length, max(max_length, least))
        labelled = self.labelled(rows)

        def encode(batch: dict[str, list], places: list[int]) -> dict[str, list]:
            columns = cut_windows(
                batch["question"],
                batch["context"],
                tokenizer,
                max_length=room,
                overlap=numbers.overlap,
                question_length=numbers.question_length,
            )
            examples = columns.pop("example")
            if labelled:
                windows = zip(examples, columns["starts"], columns["ends"], strict=True)
                found = [_first_answer(batch["answers"][example], *characters) for example, *characters in windows]
                columns["start"], columns["end"] = (list(part) for part in zip(*found, strict=True))
            columns["row"] = [places[example] for example in examples]
            return columns | {"length": [len(ids) for ids in columns["input_ids"]]}

        return cut_rows(rows, encode)

    def for_teacher(
        self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase
    ) -> Teachers:
        """Each of the student's windows for the teacher: the same characters of the context, in its own tokens."""
        ours = self.windows(rows, tokenizer)
        questions, contexts = rows["question"][:], rows["context"][:]
        inputs: list[dict[str, Any]] = []
        covered = []
        for row, starts, ends in zip(ours["row"][:], ours["starts"][:], ours["ends"][:], strict=True):
            inside = [i for i, start in enumerate(starts) if start != OUTSIDE]
            first, last = (starts[inside[0]], ends[inside[-1]]) if inside else (0, 0)
            read = cut_windows(
                [questions[row]],
                [contexts[row][first:last]],
                theirs,
                max_length=self.numbers.max_length,
                overlap=self.numbers.overlap,
                question_length=self.numbers.question_length,
            )
            # A second window there is only where the teacher needs more tokens than the student: its end goes unread.
            starts, ends = ([OUTSIDE if at == OUTSIDE else at + first for at in read[side][0]] for side in ENDS)
            covered.append((starts, ends))
            inputs.append({name: read[name][0] for name in ("input_ids", "token_type_ids") if name in read})

        def aligned(predictions: Predictions) -> Predictions:
            places = zip(ours["starts"][:], ours["ends"][:], strict=True)
            return [
                align(logits, here, there) for logits, here, there in zip(predictions, covered, places, strict=True)
            ]

        return Teachers(Dataset.from_list(inputs), aligned)

    # -------------------------------------------------------------------------------------------------------- scoring

    def examples(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> Examples:
        return Examples(rows, self.windows(rows, tokenizer))

    def predict(
        self, model: PreTrainedModel, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        return span_logits(model, encoded, tokenizer, batch_size=batch_size)

    def predict_onnx(
        self, session: Any, encoded: Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int
    ) -> Predictions:
        return span_logits_onnx(session, encoded, tokenizer, batch_size=batch_size)

    def answers(self, predictions: Predictions, examples: Examples) -> list[Answer]:
        """What a model finds for each question.

        Raises:
            InputError: it gives a value that is not a number.
        """
        if self.found and self.found[0] is predictions and self.found[1] is examples:
            return self.found[2]
        bad = sum(not np.isfinite(each).all() for each in predictions)
        if bad:
            raise InputError(f"{bad} of {len(predictions)} predictions are not numbers")
        columns = {name: examples.encoded[name][:] for name in ("row", *ENDS)}
        numbers = self.numbers
        found = find_answers(
            {"example": columns["row"], **{name: columns[name] for name in ENDS}},
            list(predictions),
            len(examples.rows),
            n_best=numbers.n_best,
            max_answer_length=numbers.max_answer_length,
        )
        self.found = predictions, examples, found
        return found

    def metrics(self, predictions: Predictions, examples: Examples) -> Metrics:
        found = list(zip(self.answers(predictions, examples), examples.rows["context"][:], strict=True))
        return squad_metrics.compute(
            [right["text"] for right in examples.rows["answers"][:]],
            [answer.text(context, self.numbers.null_threshold) for answer, context in found],
            [answer.best(context) for answer, context in found],
            [answer.null_odds for answer, _ in found],
        )

    def loss(self, predictions: Predictions, examples: Examples) -> float:
        places = zip(examples.encoded["start"][:], examples.encoded["end"][:], strict=True)
        losses = [
            F.cross_entropy(torch.from_numpy(logits), torch.tensor(place)).item()
            for logits, place in zip(predictions, places, strict=True)
        ]
        return float(np.mean(losses))

    def metric_names(self) -> tuple[str, ...]:
        return squad_metrics.NAMES

    def bootstrap_rows(self, predictions: Predictions, examples: Examples) -> Rows:
        """`answerable`, `exact` and `f1` of what is answered, `best_…` of the best answer there is, `null_odds`."""
        contexts, rights = examples.rows["context"][:], examples.rows["answers"][:]
        lines = [
            squad_metrics.row(
                right["text"], answer.text(context, self.numbers.null_threshold), answer.best(context), answer.null_odds
            )
            for answer, context, right in zip(self.answers(predictions, examples), contexts, rights, strict=True)
        ]
        return {key: np.array([line[key] for line in lines]) for key in lines[0]}

    def pairs(self, predictions: Predictions, examples: Examples) -> Sequence[tuple[str, str]]:
        """Whether there is an answer, and whether one was given."""
        said = {False: "no answer", True: "answer"}
        found = zip(
            self.answers(predictions, examples), examples.rows["context"][:], examples.rows["answers"][:], strict=True
        )
        return [
            (said[bool(right["text"])], said[bool(answer.text(context, self.numbers.null_threshold))])
            for answer, context, right in found
        ]

    def write_details(self, folder: Path, predictions: Predictions, examples: Examples) -> None:
        """answers.json and null_odds.json, which SQuAD 2.0's official script reads, and n_best.json."""
        ids, contexts = examples.rows["id"][:], examples.rows["context"][:]
        found = list(zip(ids, self.answers(predictions, examples), contexts, strict=True))
        threshold = self.numbers.null_threshold
        write_json(folder / "answers.json", {name: answer.text(context, threshold) for name, answer, context in found})
        write_json(folder / "null_odds.json", rounded({name: answer.null_odds for name, answer, _ in found}))
        write_json(folder / "n_best.json", {name: _n_best(answer, context) for name, answer, context in found})

    # -------------------------------------------------------------------------------------------------------- serving

    def served_columns(self) -> list[str]:
        return list(self.texts)

    def served_numbers(self) -> dict[str, Any]:
        """Windows and threshold as they were evaluated: other ones would be another model."""
        return self.numbers.model_dump(exclude={"n_best"})

    def judged_by(self) -> dict[str, Any]:
        return self.served_numbers()

    @classmethod
    def longest(cls, params: Mapping[str, Any]) -> tuple[Any, str]:
        numbers = (params.get("kinds") or {}).get("answers") or {}
        return numbers.get("max_length"), "kinds.answers.max_length"


ENDS = ("starts", "ends")


def _first_answer(answers: Mapping[str, list], starts: list[int], ends: list[int]) -> tuple[int, int]:
    if not answers["text"]:
        return CLS, CLS
    return answer_place(starts, ends, answers["text"][0], answers["answer_start"][0])


def _n_best(answer: Answer, context: str) -> list[dict[str, Any]]:
    """The best spans of a question, with their scores."""
    return [{"text": context[span.start : span.end], "score": rounded(span.score)} for span in answer.spans]


KIND = Answers
