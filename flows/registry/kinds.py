"""The kinds of served model: classes and scores, or question answering. A checkpoint says which it is."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.registry.rows import Rows, answer_rows, label_rows
from stillhouse.errors import InputError
from tasks.stage.params import EvaluateQaParams, TrainParams, WindowParams, load

MODELS = Path("models")


@dataclass(frozen=True)
class ServedKind:
    """What registering and serving need to know.

    Args:
        block: of params.yaml, that names the task.
        data: the task's folder, as DVC knows it.
        evaluated: the folder of what `evaluate` wrote about its models, a folder each.
        teacher: its teacher's folder in there.
        code: the served model's file in `flows/serving`.
        columns: what the model takes.
        numbers: what of params.yaml it is served with.
        judged_by: what of params.yaml decides its score, in addition to the metric.
        rows: what a report says of each row of the data: (report, data).
    """

    block: str
    data: str
    evaluated: Path
    teacher: str
    code: str
    columns: Callable[[], list[str]]
    numbers: Callable[[], dict[str, Any]]
    judged_by: Callable[[], dict[str, Any]]
    rows: Callable[[Path, Path], Rows]


def kind_of(recipe: str) -> ServedKind:
    """The kind of a recipe's model.

    Raises:
        InputError: there is none.
    """
    return kind_of_checkpoint(MODELS / recipe)


def kind_of_checkpoint(folder: Path) -> ServedKind:
    """The kind of the model in a checkpoint, which is named after its recipe. Raises as `kind_of` does."""
    # Not by `stillhouse.encoders.checkpoint`, which imports transformers: that takes seconds.
    file = folder / "config.json"
    try:
        names = json.loads(file.read_text(encoding="utf-8")).get("architectures") or [""]
    except FileNotFoundError:
        raise InputError(f"'{file}' is missing: run python -m flows.compress {folder.name}") from None
    except (json.JSONDecodeError, AttributeError) as error:
        raise InputError(f"'{file}' is damaged ({error}): run python -m flows.compress {folder.name}") from None
    return ANSWERS if names[0].endswith("ForQuestionAnswering") else LABELS


def _text_columns() -> list[str]:
    """`text`, and `text_pair` where the task is about pairs."""
    from pyarrow import parquet

    file = Path(LABELS.data) / "validation.parquet"
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run dvc repro prepare")
    return [name for name in ("text", "text_pair") if name in parquet.read_schema(file).names]


def _window_numbers() -> dict[str, Any]:
    """Windows and threshold as they were evaluated: other ones would be another model."""
    answers = load("evaluate-qa", EvaluateQaParams)
    kept = {"null_threshold": answers.null_threshold, "max_answer_length": answers.max_answer_length}
    return load("windows", WindowParams).model_dump() | kept


def _longest() -> dict[str, Any]:
    return {"max_length": load("train", TrainParams).max_length}


LABELS = ServedKind(
    *("data", "data/task", Path("reports/evaluated"), "teacher", "labels.py"),
    _text_columns,
    dict,
    _longest,
    label_rows,
)
ANSWERS = ServedKind(
    *("qa", "data/qa", Path("reports/evaluated-qa"), "teacher-qa", "answers.py"),
    lambda: ["question", "context"],
    _window_numbers,
    _window_numbers,
    answer_rows,
)
