"""The served model of question answering: ONNX and a tokenizer behind MLflow's pyfunc interface, stored as this code.

MLflow copies this file next to the artifacts and runs it where the model is served: it imports nothing of the project,
so windows and the choice of the best span are written here again. A test compares its answers with the pipeline's own.

Input: a table with the columns `question` and `context`. A row that is not text, or has none, or a context without
a single token, is refused by its number, with the HTTP status 400.
Output: one record a row, {"answer": text, "score": number}: "" for no answer. The score is the best span's
logit sum minus that of no answer; an answer is given where it is at least −null_threshold.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from tokenizers import Encoding, Tokenizer

BATCH = 32  # windows
OUTPUTS = ["start_logits", "end_logits"]
MOST_ROWS, MOST_CHARACTERS = 10_000, 10_000_000  # of a request


class OnnxReader(PythonModel):
    """Finds the answer to a question in its context, or says that it is not there."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check the files' digests, read config, tokenizer and numbers, and start the ONNX session."""
        _refuse_changed(context.artifacts, context.model_config["sha256"])
        checkpoint = Path(context.artifacts["checkpoint"])
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        numbers = context.model_config
        self.question_length, self.longest = numbers["question_length"], numbers["max_answer_length"]
        self.threshold = numbers["null_threshold"]
        self.padding = config.get("pad_token_id") or 0
        self.plain, self.windows = (Tokenizer.from_file(str(checkpoint / "tokenizer.json")) for _ in range(2))
        for tokenizer in (self.plain, self.windows):
            # The file may hold the settings that the tokenizer was last used with.
            tokenizer.no_padding()
            tokenizer.no_truncation()
        self.windows.enable_truncation(numbers["max_length"], stride=numbers["overlap"], strategy="only_second")
        model = Path(context.artifacts["onnx"]) / "model.onnx"
        options = onnxruntime.SessionOptions()
        # Without VNNI, pairs of int8 products are summed in 16 bits, which overflow: this widens them, at some speed.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self.session.get_inputs()]

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> list[dict[str, Any]]:
        """Answer every row."""
        questions, contexts = _texts(model_input, ["question", "context"])
        pairs = list(zip(map(self._shortened, questions), contexts, strict=True))
        read = [[first, *first.overflowing] for first in self.windows.encode_batch(pairs)]
        for number, windows in enumerate(read, start=1):
            # Its score would be −∞, which JSON has no word for.
            if not any(1 in window.sequence_ids for window in windows):
                raise _refused(f"row {number}: column 'context' has nothing that the model reads: give text")
        logits = self._logits([window for windows in read for window in windows])
        return [
            self._record(text, [(window, *next(logits)) for window in windows])
            for text, windows in zip(contexts, read, strict=True)
        ]

    def _shortened(self, question: str) -> str:
        offsets = self.plain.encode(question, add_special_tokens=False).offsets
        return question if len(offsets) <= self.question_length else question[: offsets[self.question_length - 1][1]]

    def _logits(self, windows: list[Encoding]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Start and end logits (L,) of each window, in order."""
        for begin in range(0, len(windows), BATCH):
            batch = windows[begin : begin + BATCH]
            longest = max(len(window.ids) for window in batch)
            tensors = {
                "input_ids": _padded([window.ids for window in batch], longest, self.padding),
                "attention_mask": _padded([window.attention_mask for window in batch], longest, 0),
                "token_type_ids": _padded([window.type_ids for window in batch], longest, 0),
            }
            start, end = self.session.run(OUTPUTS, {name: tensors[name] for name in self.inputs})
            for row, window in enumerate(batch):
                yield start[row, : len(window.ids)], end[row, : len(window.ids)]

    def _record(self, context: str, windows: list[tuple[Encoding, np.ndarray, np.ndarray]]) -> dict[str, Any]:
        none = min(float(start[0]) + float(end[0]) for _, start, end in windows)
        found = [best for window in windows if (best := _best_span(*window, self.longest))]
        # Of equal scores the first, as in the pipeline.
        score, begin, stop = max(found, key=lambda each: (each[0], -each[1], -each[2]))
        given = none - score <= self.threshold
        return {"answer": context[begin:stop] if given else "", "score": score - none}


def _best_span(window: Encoding, start: np.ndarray, end: np.ndarray, longest: int) -> tuple[float, int, int] | None:
    """Score and characters of the best span of a window; None where it holds nothing of the context."""
    places = [i for i, part in enumerate(window.sequence_ids) if part == 1]
    if not places:
        return None
    first = start[places].astype(np.float64)  # (C,) the context's tokens, which are one stretch
    ends = np.full(len(places) + longest - 1, -np.inf)
    ends[: len(places)] = end[places]
    scores = first[:, None] + np.lib.stride_tricks.sliding_window_view(ends, longest)  # (C, longest)
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    begin, stop = window.offsets[places[int(i)]][0], window.offsets[places[int(i + j)]][1]
    return float(scores[i, j]), begin, stop


def _texts(table: pd.DataFrame, columns: list[str]) -> list[list[str]]:
    """The texts of each column.

    Raises:
        MlflowException: a column is missing, a row has no text, or there is too much: answered with HTTP 400.
    """
    for name in columns:
        if name not in table.columns:
            raise _refused(f"column '{name}' is missing: the input has {list(table.columns)}"[:300])
    if len(table) > MOST_ROWS:
        raise _refused(f"{len(table):,} rows: send {MOST_ROWS:,} at a time")
    found = [table[name].tolist() for name in columns]
    for name, values in zip(columns, found, strict=True):
        for number, value in enumerate(values, start=1):
            if not isinstance(value, str) or not value.strip():
                missing = pd.api.types.is_scalar(value) and pd.isna(value)
                given = "has no text" if missing else f"is {value!r:.80}: give text"
                raise _refused(f"row {number}: column '{name}' {given}")
    if sum(len(value) for values in found for value in values) > MOST_CHARACTERS:
        raise _refused(f"more than {MOST_CHARACTERS:,} characters: send fewer rows at a time")
    return found


def _refused(why: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(why)


def _padded(rows: list[list[int]], longest: int, fill: int) -> np.ndarray:
    return np.asarray([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=np.int64)


def _refuse_changed(artifacts: dict[str, str], digests: dict[str, str]) -> None:
    """Raise for a file that is not what was registered, before anything of it is read."""
    for name, wanted in digests.items():
        part, _, file = name.partition("/")
        path = Path(artifacts[part]) / file
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != wanted:
            raise ValueError(f"'{path}' has sha256 {found[:16]}…, registered was {wanted[:16]}…: do not use it")


set_model(OnnxReader())
