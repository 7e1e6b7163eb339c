"""Rows of a task to train on and to judge on, apart by sentence.

SST-2's training rows are phrases, many of each sentence: a phrase beside the sentence that it stands in is no new
text. So whole sentences are held out. A text that stands, word for word, in no longer one is a sentence; a row is
judged on if every sentence that it stands in is held out, and only once however often it is there. Rows that stand in
sentences of both sides, short ones, are trained on. A task whose texts do not lie in each other has a sentence a row.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Task:
    """Texts and labels; training rows in a fixed order that is drawn once.

    Args:
        name: of the folder.
        texts, labels: to train on.
        judged, truth: to judge on.
        sentences: of each judged row, which sentence it stands in.
        split: where the judged rows come from.
    """

    name: str
    texts: list[str]
    labels: list[int]
    judged: list[str]
    truth: list[int]
    sentences: list[int]
    split: str


def read_task(folder: Path, test: int) -> Task:
    """The task in a folder.

    Args:
        folder: has train.tsv and dev.tsv, with a header of `text` (or `sentence`) and `label`.
        test: how many rows of train.tsv to hold out, at least; 0: judge on dev.tsv.

    Raises:
        SystemExit: there are not so many.
    """
    texts, labels = read_table(folder / "train.tsv")
    if test:
        left, held, sentences = hold_out(texts, test)
        judged, truth = [texts[row] for row in held], [labels[row] for row in held]
        split = f"{len(held)} rows of train.tsv, of {len(set(sentences))} sentences that are not trained on"
    else:
        left = list(range(len(texts)))
        judged, truth = read_table(folder / "dev.tsv")
        sentences = list(range(len(judged)))
        split = f"{len(judged)} rows of dev.tsv"
    order = [left[place] for place in np.random.default_rng(0).permutation(len(left))]
    return Task(
        folder.name, [texts[row] for row in order], [labels[row] for row in order], judged, truth, sentences, split
    )


def hold_out(texts: Sequence[str], least: int) -> tuple[list[int], list[int], list[int]]:
    """Rows to train on, rows to judge on, and of each of the latter the sentence that it stands in.

    Args:
        least: how many to judge on; the last sentence may add a few.

    Raises:
        SystemExit: half of the rows are fewer.
    """
    if 2 * least > len(texts):
        raise SystemExit(
            f"error: --test {least} is more than half of {len(texts)} rows: lower it, or give 0 for dev.tsv"
        )
    found = sentences_of(texts)
    rows: dict[int, list[int]] = {}  # by sentence
    for row, sentences in enumerate(found):
        for sentence in sentences:
            rows.setdefault(sentence, []).append(row)
    waiting = [len(sentences) for sentences in found]  # how many of its sentences are still trained on
    every = sorted(rows)
    held: dict[str, int] = {}  # text to row
    for place in np.random.default_rng(0).permutation(len(rows)):
        if len(held) >= least:
            break
        for row in rows[every[place]]:
            waiting[row] -= 1
            if not waiting[row]:
                held.setdefault(" ".join(texts[row].split()), row)
    judged = sorted(held.values())
    return [row for row, count in enumerate(waiting) if count], judged, [min(found[row]) for row in judged]


def sentences_of(texts: Sequence[str]) -> list[list[int]]:
    """Of each text the rows, in rising order, of the longest texts that it stands in, itself if it stands in none."""
    words = [tuple(text.split()) for text in texts]
    known = set(words)
    inside: dict[tuple[str, ...], list[int]] = {}
    for row in sorted(range(len(words)), key=lambda row: (-len(words[row]), row)):
        whole = words[row]
        if whole in inside:
            continue
        inside[whole] = [row]
        parts = {
            whole[first : first + length] for length in range(1, len(whole)) for first in range(len(whole) - length + 1)
        }
        for part in parts & known:
            inside.setdefault(part, []).append(row)
    return [sorted(inside[text]) for text in words]


def read_table(file: Path) -> tuple[list[str], list[int]]:
    """Texts and labels of a TSV file."""
    with file.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    column = "text" if "text" in table[0] else "sentence"
    return [row[column] for row in table], [int(row["label"]) for row in table]
