"""What registering and serving a model need to know of its kind of task: `evaluate` wrote it beside the scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.registry.reports import again, evaluated
from stillhouse.errors import InputError
from tasks.evaluation.rows import FILE, VALIDATION, Rows, read_rows
from tasks.stage.json_files import read_json

DATA = Path("data/task")


@dataclass(frozen=True)
class Served:
    """Of one model.

    Args:
        kind: of task.
        split: that it was judged on.
        columns: what a row of its input has.
        numbers: what it is configured with.
        judged_by: what of params.yaml decides its score, in addition to the metric.
    """

    kind: str
    split: str
    columns: list[str]
    numbers: dict[str, Any]
    judged_by: Mapping[str, Any]


def served(recipe: str, finished: bool = False) -> Served:
    """Of a form of a recipe's model.

    Raises:
        InputError: it was not evaluated, or its report is damaged.
    """
    file = evaluated(recipe, finished) / "details" / "served.json"
    try:
        return Served(**read_json(file, again(recipe)))
    except TypeError as error:  # a key too many or too few
        raise InputError(f"'{file}' is damaged ({error}): {again(recipe)}") from None


def rows_here(recipe: str, finished: bool = False) -> Rows:
    """What a form of a recipe's model did on each row that its score is of. Raises as `served` does."""
    return read_rows(evaluated(recipe, finished) / "details" / FILE, again(recipe))


def validation_rows(recipe: str, finished: bool) -> Rows:
    """The same of validation, by which models are chosen. Raises as `served` does."""
    if served(recipe, finished).split == "validation":
        return rows_here(recipe, finished)
    return read_rows(evaluated(recipe, finished) / "details" / VALIDATION, again(recipe))
