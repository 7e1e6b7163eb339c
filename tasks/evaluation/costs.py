"""What evaluation measures whatever the task is: size, cost and time."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from stillhouse.encoders import measure
from stillhouse.onnx import latency
from stillhouse.onnx.sessions import feed, open_session
from stillhouse.training.threads import usable_cores
from tasks.stage.params import EvaluateParams

DIGITS = 6  # kept of floating-point results: beyond them, the order of a sum shows
COMPARED = 64  # sentences whose ONNX logits are compared with torch's


def size_figures(model: PreTrainedModel, folder: Path, tokens: int, pair: bool) -> dict[str, float]:
    """What the model is, whatever it runs on."""
    return {
        "parameters": measure.parameters(model),
        "nonzero_parameters": measure.nonzero_parameters(model),
        "sparsity": measure.sparsity(model),
        "flops": measure.flops(model, tokens, pair),
        "tokens": tokens,
        "checkpoint_bytes": measure.checkpoint_bytes(folder),
    }


def sample(rows: int) -> list[int]:
    """The rows whose ONNX logits are compared with torch's, spread over all of them."""
    return np.unique(np.linspace(0, rows - 1, COMPARED).round().astype(int)).tolist()


def latency_figures(folders: Mapping[str, Path], params: EvaluateParams, vocabulary: int, pair: bool) -> dict[str, Any]:
    """Times of the exported models on sentences (or pairs) of `params.tokens` tokens, student and teacher in turns.

    `speedup` is the ratio of the two medians of this run; 1 for the teacher alone.
    """
    import onnxruntime

    threads = params.threads or usable_cores()
    sessions = {name: open_session(folder / "model.onnx", threads) for name, folder in folders.items()}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": latency.hardware(),
        "threads": threads,
        "runtime": f"ONNX Runtime {onnxruntime.__version__}, CPU",
        "tokens": params.tokens,
        **times_of(sessions, params, vocabulary, pair),
    }


def times_of(sessions: Mapping[str, Any], params: EvaluateParams, vocabulary: int, pair: bool) -> dict[str, Any]:
    """`batches`, `teacher` and `speedup` of open sessions, the student's and maybe the teacher's, timed in turns."""
    rows: dict[str, dict[str, Any]] = {name: {} for name in sessions}
    for batch_size in params.batch_sizes:
        batch = latency.token_batch(batch_size, params.tokens, vocabulary, pair)
        calls = {name: caller(session, batch) for name, session in sessions.items()}
        repeats = params.repeats if batch_size == 1 else max(1, params.repeats // 10)
        for name, seconds in latency.time_in_turns(calls, repeats).items():
            rows[name][str(batch_size)] = latency.summary(seconds, batch_size)
    student, teacher = rows["student"], rows.get("teacher", rows["student"])
    return {
        "batches": student,
        "teacher": teacher,
        "speedup": {size: round(teacher[size]["p50_ms"] / row["p50_ms"], 3) for size, row in student.items()},
    }


def caller(session: Any, batch: dict[str, np.ndarray]) -> Callable[[], Any]:
    """One timed call: a forward pass of the batch."""
    inputs = feed(session, batch)
    return lambda: session.run(None, inputs)


def rounded(value: Any) -> Any:
    """Floats of a tree to `DIGITS` places."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value
