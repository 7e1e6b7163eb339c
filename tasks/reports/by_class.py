"""How well each class, label or type of entity is found, and which one is taken for which.

C classes.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.evaluation.rows import FILE, read_rows
from tasks.reports.said import AGAIN, Pair
from tasks.stage.json_files import read_json

WIDEST = 20  # classes of a confusion matrix: more of them are a list of what is confused most
MOST = 30  # lines of that list


@dataclass(frozen=True)
class Score:
    """Of one class: how many rows (or entities) there are, and how many of them are found."""

    there: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Confusion:
    """What is right (down) and what was said (across).

    Args:
        names: C of them; [] where there are too many for a matrix.
        counts: (C, C).
        most: what is right, what was said instead, and how often; [] where there is a matrix.
    """

    names: Sequence[str]
    counts: Sequence[Sequence[int]]
    most: Sequence[tuple[str, str, int]]


Scores = Callable[[Path, Sequence[Pair], Sequence[str]], Mapping[str, Score]]  # of a folder, its predictions, labels


def of_classes(folder: Path, pairs: Sequence[Pair], labels: Sequence[str]) -> Mapping[str, Score]:
    """Of rows with one class each, by what is right and what was said."""
    there, given = (Counter(column) for column in zip(*pairs, strict=True))
    hit = Counter(right for right, said in pairs if right == said)
    return {name: _score(hit[name], there[name], given[name]) for name in sorted(there | given)}


def of_label_sets(folder: Path, pairs: Sequence[Pair], labels: Sequence[str]) -> Mapping[str, Score]:
    """Of rows that may have several labels, whose names are given; {} without them.

    Raises:
        InputError: the folder's rows.csv is missing or damaged.
    """
    if not labels:
        return {}
    rows = read_rows(folder / "details" / FILE, AGAIN)
    both = {name: (rows[f"label_{place}"] > 0, rows[f"given_{place}"] > 0) for place, name in enumerate(labels)}
    return {
        name: _score(int((there & given).sum()), int(there.sum()), int(given.sum()))
        for name, (there, given) in both.items()
    }


def of_types(folder: Path, pairs: Sequence[Pair], labels: Sequence[str]) -> Mapping[str, Score]:
    """Of types of entity, as the evaluation counted them.

    Raises:
        InputError: the folder's types.json is missing or damaged.
    """
    return {name: Score(**figures) for name, figures in read_json(folder / "details" / "types.json", AGAIN).items()}


def confusion(pairs: Sequence[Pair]) -> Confusion:
    """Which class is taken for which: of rows, of words, of questions with and without an answer."""
    counts = Counter(pairs)
    names = sorted({name for pair in counts for name in pair})
    if len(names) > WIDEST:
        wrong = [(right, given, count) for (right, given), count in counts.items() if right != given]
        return Confusion([], [], sorted(wrong, key=lambda each: (-each[2], each))[:MOST])
    return Confusion(names, [[counts[right, given] for given in names] for right in names], [])


def _score(hit: int, there: int, given: int) -> Score:
    """0 where nothing is there to divide by."""
    return Score(there, hit / max(given, 1), hit / max(there, 1), 2 * hit / max(given + there, 1))
