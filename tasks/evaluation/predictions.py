"""The file of predictions that `dvc plots` draws."""

import csv
from collections.abc import Iterable
from pathlib import Path

from tasks.stage.outputs import fresh_file


def write_pairs(file: Path, rows: Iterable[tuple[str, str]]) -> None:
    """`actual,predicted` of each row: names (a confusion matrix to DVC), or scores (a scatter)."""
    with fresh_file(file) as out, out.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(("actual", "predicted"))
        lines.writerows(rows)
