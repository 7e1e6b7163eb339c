"""The served model: ONNX and a tokenizer behind MLflow's pyfunc interface, stored as this code and never as a pickle.

MLflow copies this file next to the artifacts and runs it where the model is served: it imports nothing of the project.

Input: a table with the column `text`, and `text_pair` for pairs. A row that is not text, or has none, is refused by its
number, with the HTTP status 400, as the training data refused it.
Output: one record a row, {"label": name, "scores": {name: probability}}; where a row may have several labels
{"labels": [name, …], "scores": {name: probability}}; or {"score": number} for regression.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from tokenizers import Tokenizer

BATCH = 64
UNLIMITED = 1_000_000  # where a model has no limit, its tokenizer states a number like 1e30
# Families that number positions from their padding token's on: so many fewer tokens have one.
OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet")
MOST_ROWS, MOST_CHARACTERS = 10_000, 10_000_000  # of a request


class OnnxClassifier(PythonModel):
    """A sentence (or pair) classifier or regressor."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check the files' digests, read config and tokenizer, and start the ONNX session."""
        _refuse_changed(context.artifacts, context.model_config["sha256"])
        checkpoint = Path(context.artifacts["checkpoint"])
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        self.labels = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        self.kind = context.model_config["kind"]
        self.thresholds = context.model_config.get("thresholds")  # of each label, where a row may have several
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
        # The file may hold the settings that the tokenizer was last used with.
        self.tokenizer.enable_truncation(_max_length(checkpoint, config))
        self.tokenizer.enable_padding(pad_id=config.get("pad_token_id") or 0)
        model = Path(context.artifacts["onnx"]) / "model.onnx"
        options = onnxruntime.SessionOptions()
        # Without VNNI, pairs of int8 products are summed in 16 bits, which overflow: this widens them, at some speed.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self.session.get_inputs()]

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> list[dict[str, Any]]:
        """Classify or score every row."""
        columns = [name for name in ("text", "text_pair") if name == "text" or name in model_input.columns]
        texts = _texts(model_input, columns)
        rows = list(zip(*texts, strict=True)) if len(texts) > 1 else texts[0]
        records: list[dict[str, Any]] = []
        for start in range(0, len(rows), BATCH):
            records += [self._record(logits) for logits in self._logits(rows[start : start + BATCH])]
        return records

    def _logits(self, rows: list[str] | list[tuple[str, str]]) -> np.ndarray:
        encoded = self.tokenizer.encode_batch(rows)
        tensors = {
            "input_ids": [row.ids for row in encoded],
            "attention_mask": [row.attention_mask for row in encoded],
            "token_type_ids": [row.type_ids for row in encoded],
        }
        feed = {name: np.asarray(tensors[name], dtype=np.int64) for name in self.inputs}
        return self.session.run(None, feed)[0]  # (N, C)

    def _record(self, logits: np.ndarray) -> dict[str, Any]:
        if self.kind == "scores":
            return {"score": float(logits[0])}
        if self.thresholds is not None:
            shares = 1 / (1 + np.exp(-logits.astype(np.float64)))
            given = [name for name, mark in zip(self.labels, shares >= np.array(self.thresholds), strict=True) if mark]
            return {"labels": given, "scores": dict(zip(self.labels, shares.tolist(), strict=True))}
        shares = np.exp(logits.astype(np.float64) - logits.max())
        shares /= shares.sum()
        best = self.labels[int(shares.argmax())]
        return {"label": best, "scores": dict(zip(self.labels, shares.tolist(), strict=True))}


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


def _max_length(checkpoint: Path, config: dict[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings") or 512)
    family = config["model_type"].removeprefix("compact-")
    limits = [positions - (config.get("pad_token_id") or 0) - 1 if family in OFFSET else positions]
    settings = checkpoint / "tokenizer_config.json"
    if settings.is_file():
        stated = json.loads(settings.read_text(encoding="utf-8")).get("model_max_length")
        if stated and stated < UNLIMITED:
            limits.append(int(stated))
    return min(limits)


def _refuse_changed(artifacts: dict[str, str], digests: dict[str, str]) -> None:
    """Raise for a file that is not what was registered, before anything of it is read."""
    for name, wanted in digests.items():
        part, _, file = name.partition("/")
        path = Path(artifacts[part]) / file
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != wanted:
            raise ValueError(f"'{path}' has sha256 {found[:16]}…, registered was {wanted[:16]}…: do not use it")


set_model(OnnxClassifier())
