"""The served model: ONNX and a tokenizer behind MLflow's pyfunc interface, stored as this code and never as a pickle.

MLflow copies this file next to the artifacts and runs it where the model is served: it imports nothing of the project.

Input: a table with the column `text`, and `text_pair` for pairs; or a plain list of texts.
Output: one record a row, {"label": name, "scores": {name: probability}}, or {"score": number} for regression.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from tokenizers import Tokenizer

BATCH = 64
UNLIMITED = 1_000_000  # where a model has no limit, its tokenizer states a number like 1e30


class OnnxClassifier(PythonModel):
    """A sentence (or pair) classifier or regressor."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check the files' digests, read config and tokenizer, and start the ONNX session."""
        _refuse_changed(context.artifacts, context.model_config["sha256"])
        checkpoint = Path(context.artifacts["checkpoint"])
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        self.labels = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        self.regression = config.get("problem_type") == "regression"
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
        rows = _rows(model_input)
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
        if self.regression:
            return {"score": float(logits[0])}
        shares = np.exp(logits.astype(np.float64) - logits.max())
        shares /= shares.sum()
        best = self.labels[int(shares.argmax())]
        return {"label": best, "scores": dict(zip(self.labels, shares.tolist(), strict=True))}


def _rows(given: Any) -> list[str] | list[tuple[str, str]]:
    if not isinstance(given, pd.DataFrame):
        given = pd.DataFrame(given if isinstance(given, dict) else {"text": list(given)})
    if "text" not in given.columns:
        raise ValueError(f"column 'text' is missing: the input has {list(given.columns)}")
    texts = [str(text) for text in given["text"]]
    if "text_pair" in given.columns:
        return list(zip(texts, (str(text) for text in given["text_pair"]), strict=True))
    return texts


def _max_length(checkpoint: Path, config: dict[str, Any]) -> int:
    limits = [int(config.get("max_position_embeddings") or 512)]
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
