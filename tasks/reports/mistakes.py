"""Rows that a model gets wrong and its teacher right, the worst first, with their texts: a few, cut to a length.

N rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.reports.said import WHOLE, Said

TEXTS = ("text", "text_pair", "question", "context")  # the columns of text that a kind of task may have
CUT = "…"


@dataclass(frozen=True)
class Mistake:
    """A row that a model gets wrong.

    Args:
        row: its place in the split, from 1.
        texts: as the model read them, cut to a length.
        right, teacher, given: what is right, and what the two say.
    """

    row: int
    texts: Sequence[str]
    right: str
    teacher: str
    given: str


@dataclass(frozen=True)
class Mistakes:
    """Those of one model.

    Args:
        shown: a few of them.
        lost: how many there are.
        won: how many rows are the other way round.
        scores: whether a row is right or wrong by degrees: then these are rows with a larger error, or a smaller one.
    """

    shown: Sequence[Mistake]
    lost: int
    won: int
    scores: bool


def mistakes(model: Said, teacher: Said, rows: pa.Table, *, shown: int, characters: int) -> Mistakes:
    """What a model lost, and some of it.

    Args:
        model, teacher: what the two said of these rows.
        rows: with their texts.
        shown: how many are to be shown at most.
        characters: of a text at most.
    """
    scores = bool((teacher.worth < 0).any() or (model.worth < 0).any())
    gap = teacher.worth - model.worth  # (N,)
    lost, won = gap > 0, gap < 0
    if not scores:
        lost, won = lost & (teacher.worth == WHOLE), won & (model.worth == WHOLE)
    order = np.argsort(-gap, kind="stable")
    worst = order[lost[order]][:shown]
    columns = [name for name in TEXTS if name in rows.column_names]
    found = []
    for place, row in zip(worst.tolist(), rows.take(worst).select(columns).to_pylist(), strict=True):
        texts = [cut(row[name], characters, model.right[place] if name == "context" else "") for name in columns]
        said = (model.right[place], teacher.given[place] or "all right", model.given[place])
        found.append(Mistake(place + 1, texts, *(cut(each, characters) for each in said)))
    return Mistakes(found, int(lost.sum()), int(won.sum()), scores)


def cut(text: str, characters: int, around: str = "") -> str:
    """A text of so many characters at most, with a sign of where something was left out.

    Args:
        around: what is to be in sight, if the text holds it.
    """
    start = max(text.find(around) - characters // 3, 0) if around else 0
    start = min(start, max(len(text) - characters, 0))
    end = start + characters
    return (CUT if start else "") + text[start:end] + (CUT if end < len(text) else "")
