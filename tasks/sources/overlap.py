"""Rows that stand in two splits: a score on them says what was learnt by heart, or chosen by."""

import hashlib
from collections.abc import Iterator, Set
from dataclasses import replace
from itertools import combinations

from stillhouse.errors import InputError
from tasks.sources.split import Row, Source, Split

MOST = 0.5  # of a split's rows; above it, the splits are not two
CALLED = {"train": "training", "validation": "validation"}


def without_overlap(source: Source, rule: str) -> tuple[Source, dict[str, float]]:
    """The source, and how many rows of validation and test stand in an earlier split too, by pair of splits.

    Splits are in the order train, validation, test. Where the rule is `drop`, such rows leave the earlier one.

    Args:
        rule: `data.overlap`: say | refuse | drop.

    Returns:
        The source, and the counts as validation_rows_in_train, test_rows_in_train and test_rows_in_validation, of
        those pairs that have rows in common.

    Raises:
        InputError: there are some and the rule is `refuse`, or they are most of a split and it is not `drop`.
    """
    digests = {
        name: [_digest(row, source.texts) for _, row in split.rows()]
        for name, split in source.splits.items()
        if name != "train"
    }
    later = {digest for found in digests.values() for digest in found}
    # Of train, the largest, only what is elsewhere too is kept in memory.
    train = (_digest(row, source.texts) for _, row in source.splits["train"].rows())
    sets: dict[str, Set[bytes]] = {"train": later.intersection(train)}
    sets |= {name: set(found) for name, found in digests.items()}
    counts: dict[str, float] = {}
    leave: dict[str, set[bytes]] = {}
    for first, second in combinations(source.splits, 2):
        rows = digests[second]
        count = sum(digest in sets[first] for digest in rows)
        if not count:
            continue
        counts[f"{second}_rows_in_{first}"] = count
        line = f"{second}: {count:,} of {len(rows):,} rows are {CALLED[first]} rows too"
        if rule == "refuse" or (rule == "say" and count > MOST * len(rows)):
            raise InputError(f"{source.splits[second].where}: {line}: data.overlap = 'drop' takes them out of {first}")
        print(line + (f", and leave {first}" if rule == "drop" else ""), flush=True)
        leave.setdefault(first, set()).update(sets[first] & sets[second])
    if rule != "drop" or not leave:
        return source, counts
    for name, gone in leave.items():
        split = source.splits[name]
        if all(_digest(row, source.texts) in gone for _, row in split.rows()):
            raise InputError(
                f"data.overlap = 'drop' leaves nothing of {split.where}: each of its rows stands in a later split too: "
                "name other files or splits"
            )
    left = {name: _without(split, source.texts, leave.get(name, set())) for name, split in source.splits.items()}
    return replace(source, splits=left), counts


def _without(split: Split, texts: tuple[str, ...], digests: Set[bytes]) -> Split:
    def rows() -> Iterator[tuple[int, Row]]:
        return ((number, row) for number, row in split.rows() if _digest(row, texts) not in digests)

    return Split(split.where, split.unit, rows) if digests else split


def _digest(row: Row, texts: tuple[str, ...]) -> bytes:
    return hashlib.blake2b("\0".join(str(row[name]) for name in texts).encode(), digest_size=12).digest()
