"""What a model said of each row, in words, and how right that is: read from what `tasks.evaluate` kept of it.

One function a kind of task: `tasks.reports.by_kind` says whose each is. N rows.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ArrowException, parquet

from stillhouse.errors import InputError
from tasks.evaluation.rows import FILE, read_rows
from tasks.stage.json_files import read_json

AGAIN = "evaluate that model again (dvc repro evaluate@NAME)"
WHOLE = 1.0  # how right a row is of which all is right
NO_ANSWER = "(no answer)"
Pair = tuple[str, str]  # what is right, what was said


@dataclass(frozen=True)
class Said:
    """What a model said of each row of the split that it was judged on.

    Args:
        right, given: N texts each.
        worth: (N,) the higher the better: 1 where all is right, or minus the error of a score.
    """

    right: Sequence[str]
    given: Sequence[str]
    worth: NDArray[np.float64]


Reader = Callable[[Path, Sequence[Pair], pa.Table], Said]


def read_split(task: Path, split: str, examples: int) -> pa.Table:
    """The rows that the models were judged on.

    Args:
        task: the folder data/task.
        examples: how many there are, as the models' reports say.

    Raises:
        InputError: they are missing or damaged, or not those that the models were judged on.
    """
    file = task / f"{split}.parquet"
    try:
        rows = parquet.read_table(file)
    except FileNotFoundError:
        raise InputError(f"'{file}' is missing: run the stage that makes it (dvc repro prepare)") from None
    except (ArrowException, OSError) as error:
        raise InputError(f"'{file}' is damaged ({error}): remove it and run its stage again") from None
    if len(rows) != examples:
        raise InputError(f"'{file}' has {len(rows)} rows, the reports are of {examples}: {AGAIN}")
    return rows


def label_names(rows: pa.Table) -> list[str]:
    """The names of the labels, as `datasets` wrote them into the file's schema; [] where there are none."""
    written = json.loads((rows.schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = written.get("info", {}).get("features", {}).get("label", {})
    return feature.get("names") or feature.get("feature", {}).get("names") or []


def read_pairs(folder: Path) -> list[Pair] | None:
    """predictions.csv; None where the folder has none.

    Raises:
        InputError: it is damaged.
    """
    file = folder / "predictions.csv"
    if not file.is_file():
        return None
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            pairs = [(right, given) for right, given in csv.reader(stream)]
    except (ValueError, csv.Error) as error:
        raise InputError(f"'{file}' is damaged ({error}): {AGAIN}") from None
    return pairs[1:]


def read_said(reader: Reader, folder: Path, rows: pa.Table) -> Said | None:
    """What a model said of these rows; None where its folder has no predictions.

    Args:
        reader: that of the kind of task.
        folder: what `tasks.evaluate` wrote of it.
        rows: those that it was judged on.

    Raises:
        InputError: the files are damaged, or of other rows.
    """
    pairs = read_pairs(folder)
    if pairs is None:
        return None
    said = reader(folder, pairs, rows)
    if not len(said.given) == len(said.worth) == len(rows):
        raise InputError(f"'{folder}' says something of {len(said.given)} rows, the task has {len(rows)}: {AGAIN}")
    return said


def names(folder: Path, pairs: Sequence[Pair], rows: pa.Table) -> Said:
    """A class, or several labels: right is the same name, or the same names."""
    return Said(*_columns(pairs), np.array([float(right == given) for right, given in pairs]))


def scores(folder: Path, pairs: Sequence[Pair], rows: pa.Table) -> Said:
    try:
        worth = np.array([-abs(float(given) - float(right)) for right, given in pairs])
    except ValueError as error:
        raise InputError(f"'{folder / 'predictions.csv'}' holds no scores ({error}): {AGAIN}") from None
    return Said(*_columns(pairs), worth)


def words(folder: Path, pairs: Sequence[Pair], rows: pa.Table) -> Said:
    """The words whose label is wrong; a row is worth the share of its words that are right."""
    lengths = [len(labels) for labels in rows["label"].to_pylist()]
    if sum(lengths) != len(pairs):
        raise InputError(f"'{folder}' says something of {len(pairs)} words, the task has {sum(lengths)}: {AGAIN}")
    right, given, worth = [], [], []
    for text, labels in zip(rows["text"].to_pylist(), _cut(pairs, lengths), strict=True):
        words = list(zip(text.split(" "), labels, strict=False))
        wrong = [(word, *pair) for word, pair in words if pair[0] != pair[1]]
        right.append(" · ".join(f"{word} {truth}" for word, truth, _ in wrong))
        given.append(" · ".join(f"{word} {label}" for word, _, label in wrong))
        worth.append(1 - len(wrong) / max(len(labels), 1))
    return Said(right, given, np.array(worth))


def _cut(pairs: Sequence[Pair], lengths: Sequence[int]) -> Iterator[list[Pair]]:
    """The pairs of each row."""
    left = iter(pairs)
    return (list(islice(left, length)) for length in lengths)


def answers(folder: Path, pairs: Sequence[Pair], rows: pa.Table) -> Said:
    """The text of an answer; right is what is the same by the rules of SQuAD's script."""
    found = read_json(folder / "details" / "answers.json", AGAIN)
    right = [(answers_of["text"] or [NO_ANSWER])[0] for answers_of in rows["answers"].to_pylist()]
    given = [found.get(name) or NO_ANSWER for name in rows["id"].to_pylist()]
    return Said(right, given, np.asarray(read_rows(folder / "details" / FILE, AGAIN)["exact"], dtype=np.float64))


def _columns(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    return [right for right, _ in pairs], [given for _, given in pairs]
