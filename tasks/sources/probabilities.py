"""A column of probabilities of a row's labels: what a large language model, or several people, said of it.

A cell is a list in the order of the labels, or a mapping from their names; or each label has a column of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stillhouse.encoders.label_names import as_labels
from stillhouse.errors import InputError
from tasks.sources.split import PROBABILITIES, Row, Source, Split

MOST_APART = 0.01  # from 1, of the sum of a row; what is left is rounding, and is evened out
LABELLED_FROM = 0.5  # of several labels, where a row has no labels of its own


def with_probabilities(source: Source, labels: tuple[str, ...] | None, *, several: bool) -> Source:
    """The source with its rows' probabilities as numbers in the order of the labels.

    Where a source has no column of labels, a row's label is the likeliest; of several, those from 0.5 on.

    Args:
        labels: their names in order; None: where each has a column, or a name in a mapping, these are.
        several: whether a row may have several labels, so that its probabilities need not add up.

    Raises:
        InputError: a list of probabilities, and nobody says of which labels.
    """
    names = labels or source.labels or _own_names(source)
    if names is None:
        raise InputError(
            "data.columns.probabilities is a list, and data.labels = null: name the labels in the list's order"
        )
    names = as_labels(names)
    splits = {name: _read(split, names, several) for name, split in source.splits.items()}
    columns = source.columns if "label" in source.columns else (*source.columns, "label")
    return replace(source, splits=splits, columns=columns, labels=names)


def _own_names(source: Source) -> tuple[str, ...] | None:
    """The names that the first training row has beside its probabilities."""
    row = next((row for _, row in source.splits["train"].rows()), None)
    cell = row.get(PROBABILITIES) if row else None
    return tuple(map(str, cell)) if isinstance(cell, Mapping) else None


def _read(split: Split, names: tuple[str, ...], several: bool) -> Split:
    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in split.rows():
            if PROBABILITIES not in row:
                yield number, row
                continue
            where = f"{split.where}, {split.unit} {number}"
            shares = row_of(row[PROBABILITIES], names, several, where)
            label: Any = row.get("label")
            if "label" not in row:
                above = [name for name, share in zip(names, shares, strict=True) if share >= LABELLED_FROM]
                label = above if several else names[max(range(len(names)), key=lambda place: shares[place])]
            yield number, {**row, "label": label, PROBABILITIES: shares}

    return Split(split.where, split.unit, rows)


def row_of(cell: Any, names: Sequence[str], several: bool, where: str) -> list[float]:
    """The probabilities of a row's labels, in order; adding up to 1 unless a row may have several.

    Raises:
        InputError: they are not there, not as many as the labels, outside [0, 1], or do not add up.
    """
    if isinstance(cell, Mapping):
        if strange := sorted(set(map(str, cell)) ^ set(names)):
            raise InputError(f"{where}: probabilities of '{strange[0]}': the labels are {', '.join(names)[:200]}")
        cell = [cell[name] for name in names]
    if not isinstance(cell, Sequence) or isinstance(cell, str):
        raise InputError(f"{where}: the probabilities are {cell!r:.60}: a list of numbers is expected")
    if len(cell) != len(names):
        raise InputError(f"{where}: {len(cell)} probabilities for {len(names)} labels: give each one")
    shares = [_share(each, name, where) for each, name in zip(cell, names, strict=True)]
    total = sum(shares)
    if several:
        return shares
    if abs(total - 1) > MOST_APART:
        raise InputError(f"{where}: the probabilities add up to {total:.4g}, not to 1: check their column")
    return [share / total for share in shares]


def _share(value: Any, name: str, where: str) -> float:
    try:
        share = float("nan") if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):  # the last of a JSON number of hundreds of digits
        share = float("nan")
    if not 0 <= share <= 1:  # nor is NaN
        raise InputError(f"{where}: the probability of '{name}' is {value!r:.40}: a number from 0 to 1 is expected")
    return share
