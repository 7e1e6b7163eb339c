"""What a model did on each row of the split that it was judged on, so that any two models are compared row by row.

Classes and scores: `actual,predicted`, where a class is its place among the data's labels. Several labels: of each, by
its place, whether it is right, was given, and its probability (`label_0`, `given_0`, `share_0`, …). Tokens: of each
type of entity, by its place, how many are there, were given, and both (`there_0`, `given_0`, `hit_0`, …), and of how
many `words` the label is `right`. Answers:
`answerable`, `exact` and `f1` of the answer that was given, `best_exact` and `best_f1` of the best answer there was,
whether that was one at all (`best_given`), and `null_odds`. One CSV file, a line a row, in the order of the data.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import InputError

FILE = "rows.csv"
VALIDATION = "validation.csv"  # the same of validation, where the score is of test
Rows = Mapping[str, NDArray]  # a column per fact, (N,) each


def write_rows(rows: Rows, file: Path) -> None:
    """Write them, every number as Python would read it back."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(rows)
        lines.writerows(zip(*(column.tolist() for column in rows.values()), strict=True))


def read_rows(file: Path, remedy: str) -> Rows:
    """What `write_rows` wrote.

    Args:
        remedy: what the user can do where it is missing or damaged, such as "evaluate that model again".

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            head, *lines = list(csv.reader(stream)) or [[]]
    except FileNotFoundError:
        raise InputError(f"'{file}' is missing: {remedy}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"'{file}' is damaged ({error}): {remedy}") from None
    if not lines or any(len(line) != len(head) for line in lines):
        raise InputError(f"'{file}' is damaged (no row, or rows of several lengths): {remedy}")
    columns = zip(head, zip(*lines, strict=True), strict=True)
    return {name: _numbers(file, name, values, remedy) for name, values in columns}


def _numbers(file: Path, name: str, values: tuple[str, ...], remedy: str) -> NDArray:
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError as error:
        raise InputError(f"'{file}': column '{name}' is no column of numbers ({error}): {remedy}") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"'{file}': column '{name}' has a value that is not finite: {remedy}")
    return numbers
