"""What a page shows of each model by itself: its classes, what it confuses, and rows that it gets wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.reports.by_class import Confusion, Score, confusion
from tasks.reports.by_kind import BY_KIND
from tasks.reports.comparison import Comparison
from tasks.reports.mistakes import Mistakes, mistakes
from tasks.reports.params import ReportParams
from tasks.reports.said import Reader, label_names, read_pairs, read_said, read_split


@dataclass(frozen=True)
class Details:
    """One model's.

    Args:
        name: as it stands in the table.
        each: what one of its classes is called.
        scores: of each class; {} where there are none.
        confusion: None where there are no classes.
        mistakes: None of the teacher itself, and where no text is to be quoted.
    """

    name: str
    each: str
    scores: Mapping[str, Score]
    confusion: Confusion | None
    mistakes: Mistakes | None


@dataclass(frozen=True)
class Quoted:
    """Where texts come from, and how much of them is shown."""

    task: Path
    params: ReportParams


def read_details(comparison: Comparison, quoted: Quoted | None) -> list[Details]:
    """Of each model that has predictions, in the table's order, what its folder holds.

    Args:
        quoted: None: no text is shown, nor the names of several labels of a row.

    Raises:
        InputError: a file is damaged, or of other rows than the task's.
    """
    figures = comparison.teacher.figures
    shown = BY_KIND.get(figures["kind"])
    if shown is None:
        return []
    rows = read_split(quoted.task, figures["split"], figures["examples"]) if quoted else None
    labels = label_names(rows) if rows is not None else []
    lost = _all_mistakes(comparison, shown.said, rows, quoted.params) if quoted and rows is not None else {}
    found = []
    for model in comparison.models:
        pairs = read_pairs(model.folder)
        if pairs is not None:
            scores = shown.scores(model.folder, pairs, labels) if shown.scores else {}
            confused = confusion(pairs) if shown.confused else None
            found.append(Details(model.name, shown.each, scores, confused, lost.get(model.name)))
    return found


def _all_mistakes(
    comparison: Comparison, reader: Reader, rows: pa.Table, params: ReportParams
) -> Mapping[str, Mistakes]:
    """Of each student that has predictions, by its name; {} where nothing is to be quoted."""
    teacher = read_said(reader, comparison.teacher.folder, rows) if params.rows else None
    if teacher is None:
        return {}
    students = [model for model in comparison.models if model is not comparison.teacher]
    said = {model.name: read_said(reader, model.folder, rows) for model in students}
    sizes = {"shown": params.rows, "characters": params.characters}
    return {name: mistakes(each, teacher, rows, **sizes) for name, each in said.items() if each}
