"""A split of a task as its source gives it: rows one at a time, as often as asked, never all of them in memory.

A row is a plain mapping: `text`, `text_pair` for pairs and a raw `label`; or `id`, `question`, `context`, `answers`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stillhouse.errors import InputError

Row = Mapping[str, Any]
Rows = Callable[[], Iterator[tuple[int, Row]]]

QUESTIONS = ("id", "question", "context", "answers")


@dataclass(frozen=True)
class Split:
    """One split of a source."""

    where: str  # for messages: a file, or a hub id and its split
    unit: str  # what the rows' numbers count: line, row
    rows: Rows


@dataclass(frozen=True)
class Source:
    """Both splits of a task, and what the source itself says of its labels."""

    train: Split
    validation: Split
    columns: tuple[str, ...]  # of every row
    labels: tuple[str, ...] | None  # their names in order; None: not stated; () for scores


def pick(raw: Split, columns: Mapping[str, str]) -> Split:
    """A split with our columns (`text`, perhaps `text_pair`, `label`) from one with the source's own.

    Text is kept as it is, but for white space around it.

    Args:
        raw: the source's rows.
        columns: our name of a column → the source's.

    The rows raise `InputError` for a column that is missing and for one that has no text.
    """

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in raw.rows():
            picked = {}
            for name, column in columns.items():
                if column not in row:
                    raise wrong_column(f"{raw.where}, {raw.unit} {number}", column, row)
                value = row[column]
                if name == "label":
                    picked[name] = value
                elif isinstance(value, str) and (text := value.strip()):
                    picked[name] = text
                else:
                    found = f"is {value!r}, not text" if _present(value) else "has no text"
                    raise InputError(f"{raw.where}, {raw.unit} {number}: column '{column}' {found}")
            yield number, picked

    return Split(raw.where, raw.unit, rows)


def wrong_column(where: str, name: str, existing: Mapping[str, Any] | list[str]) -> InputError:
    """The error for a column that is not there."""
    return InputError(f"{where}: no column '{name}': it has {', '.join(map(str, existing))}")


def _present(value: object) -> bool:
    missing = (
        value is None or value != value or (isinstance(value, str) and not value.strip())
    )  # NaN differs from itself
    return not missing
