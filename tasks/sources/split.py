"""A split of a task as its source gives it: rows one at a time, as often as asked, never all of them in memory.

A row is a plain mapping: `text`, `text_pair` for pairs and a raw `label`; or `id`, `question`, `context`, `answers`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stillhouse.errors import InputError

Row = Mapping[Any, Any]  # by column: its name, or its place in a file without a header
Rows = Callable[[], Iterator[tuple[int, Row]]]

Column = str | int | tuple[str, ...] | list[str]  # a tuple: one of them; a list: all of them
QUESTIONS = ("id", "question", "context", "answers")
PROBABILITIES = "probabilities"  # of each label, in a row of classes or of several labels
NO_TEXT = ("label", PROBABILITIES)


@dataclass(frozen=True)
class Split:
    """One split of a source."""

    where: str  # for messages: a file, or a hub id and its split
    unit: str  # what the rows' numbers count: line, row
    rows: Rows


@dataclass(frozen=True)
class Source:
    """A task's splits, and what the source itself says of its labels."""

    splits: Mapping[str, Split]  # train, and of validation and test what there is, in this order
    columns: tuple[str, ...]  # of every row
    labels: tuple[str, ...] | None  # their names in order; None: not stated; () for scores
    texts: tuple[str, ...]  # the columns that make a row what it is
    together: tuple[str, ...]  # rows that have these in common are never cut apart
    cut: frozenset[str] = frozenset()  # splits that were cut from train
    # Of what a row's label is a tuple, in place of one label: a set of any size, or a label for each word.
    several: Literal["set", "each word"] | None = None


def sources(splits: Mapping[str, Split | None]) -> dict[str, Split]:
    """The splits that there are.

    Raises:
        InputError: two of them are the same.
    """
    found: dict[str, Split] = {}
    for name, split in splits.items():
        if split is None:
            continue
        for other, known in found.items():
            if known.where == split.where:
                raise InputError(f"{split.where} is both {other} and {name}: name another, or none (null)")
        found[name] = split
    return found


def columns_of_split(name: str, columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns that a split needs: probabilities are trained on, so where rows have labels only train needs them."""
    wanted = name == "train" or "label" not in columns
    return {ours: theirs for ours, theirs in columns.items() if wanted or ours != PROBABILITIES}


def pick(raw: Split, columns: Mapping[str, Column]) -> Split:
    """A split with our columns (`text`, perhaps `text_pair`, `label`) from one with the source's own.

    Text is kept as it is, but for white space around it.

    Args:
        raw: the source's rows.
        columns: our name of a column → the source's, or the names that it may have there.

    The rows raise `InputError` for a column that is missing and for one that has no text.
    """

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in raw.rows():
            picked: dict[str, Any] = {}
            for name, given in columns.items():
                if isinstance(given, list):
                    picked[name] = {column: _value(raw, number, row, column) for column in given}
                    continue
                named = given if isinstance(given, tuple) else (given,)
                column = next((each for each in named if each in row), named[0])
                value = _value(raw, number, row, column)
                if name in NO_TEXT:
                    picked[name] = value
                    continue
                fault = text_fault(value)
                if fault:
                    raise InputError(f"{raw.where}, {raw.unit} {number}: column '{column}' {fault}")
                picked[name] = value.strip()
            yield number, picked

    return Split(raw.where, raw.unit, rows)


def text_fault(value: Any) -> str:
    """Why a value is no text that can be read and written; empty where it is one."""
    if not _present(value):
        return "has no text"
    if isinstance(value, dict):
        return f"is {value!r:.60}…: if that is a whole column, write the table a row a line (pandas: lines=True)"
    if not isinstance(value, str):
        return f"is {value!r:.80}, not text"
    return "" if is_unicode(value) else "holds half of a surrogate pair: it is no Unicode text"


def not_utf8(file: Path, error: UnicodeDecodeError) -> InputError:
    """The error for a file in other letters."""
    return InputError(f"{file}: not UTF-8 text (byte 0x{error.object[error.start]:02x}): convert it first")


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON can state the halves of a surrogate pair one by one."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _value(raw: Split, number: int, row: Row, column: str | int) -> Any:
    if column not in row:
        raise wrong_column(f"{raw.where}, {raw.unit} {number}", column, row)
    return row[column]


def wrong_column(where: str, name: str | int, existing: Mapping[str, Any] | list[str]) -> InputError:
    """The error for a column that is not there."""
    return InputError(f"{where}: no column '{name}': it has {', '.join(map(str, existing))}")


def _present(value: object) -> bool:
    missing = (
        value is None or value != value or (isinstance(value, str) and not value.strip())
    )  # NaN differs from itself
    return not missing
