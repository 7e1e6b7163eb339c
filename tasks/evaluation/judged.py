"""What is left for `tasks.evaluate` to know of a model once the module for its kind of task has judged it."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from tasks.stage.outputs import fresh_file


@dataclass(frozen=True)
class Judged:
    """A model and what it is worth on its validation split.

    Args:
        model: in eval mode.
        vocabulary: of its tokenizer.
        pair: whether its input is two texts.
        examples: rows of the validation split.
        scores: all metrics by name.
        value: the headline among them.
        onnx: `onnx_bytes`, `onnx_max_difference` and `onnx_rounding` of the exported file.
        write: writes the predictions into a folder, and gives the files' names.
    """

    model: PreTrainedModel
    vocabulary: int
    pair: bool
    examples: int
    scores: dict[str, float]
    value: float
    onnx: dict[str, float]
    write: Callable[[Path], list[str]]


def write_pairs(file: Path, rows: Iterable[tuple[str, str]]) -> None:
    """`actual,predicted` of each row: names (a confusion matrix to DVC), or scores (a scatter)."""
    with fresh_file(file) as out, out.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(("actual", "predicted"))
        lines.writerows(rows)
