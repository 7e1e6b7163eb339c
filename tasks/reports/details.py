"""What a page shows of each model by itself: its classes, what it confuses, and rows that it gets wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.reports.by_class import Confusion, Score, confusion, scores_by_class
from tasks.reports.comparison import Comparison, Evaluated
from tasks.reports.mistakes import Mistakes, mistakes
from tasks.reports.params import ReportParams
from tasks.reports.said import Said, label_names, read_pairs, read_said, read_split


@dataclass(frozen=True)
class Details:
    """One model's.

    Args:
        name: as it stands in the table.
        scores: of each class; {} where there are none.
        confusion: None where there are no classes.
        mistakes: None of the teacher itself, and where no text is to be quoted.
    """

    name: str
    scores: Mapping[str, Score]
    confusion: Confusion | None
    mistakes: Mistakes | None


@dataclass(frozen=True)
class Quoted:
    """Where texts come from, and how much of them is shown."""

    task: Path
    params: ReportParams


def read_details(comparison: Comparison, quoted: Quoted | None) -> list[Details]:
    """Of each model, in the table's order, what its folder holds.

    Args:
        quoted: None: no text is shown, nor the names of several labels of a row.

    Raises:
        InputError: a file is damaged, or of other rows than the task's.
    """
    kind, figures = comparison.teacher.figures["kind"], comparison.teacher.figures
    rows = read_split(quoted.task, figures["split"], figures["examples"]) if quoted else None
    labels = label_names(rows) if rows is not None else []
    shown = quoted.params if quoted and quoted.params.rows else None
    teacher = read_said(kind, comparison.teacher.folder, rows) if rows is not None and shown else None
    found = []
    for model in comparison.models:
        pairs = read_pairs(model.folder)
        lost = None
        if rows is not None and shown and teacher and model is not comparison.teacher:
            lost = _mistakes(kind, model, teacher, rows, shown)
        scores = scores_by_class(kind, model.folder, pairs, labels)
        found.append(Details(model.name, scores, confusion(kind, pairs), lost))
    return found


def _mistakes(kind: str, model: Evaluated, teacher: Said, rows: pa.Table, shown: ReportParams) -> Mistakes | None:
    said = read_said(kind, model.folder, rows)
    if said is None:
        return None
    return mistakes(said, teacher, rows, shown=shown.rows, characters=shown.characters)
