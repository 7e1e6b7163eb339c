"""Rows of validation or test that are training rows too: a score on them says what was learnt by heart."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from stillhouse.errors import InputError
from tasks.sources.split import Row, Source, Split

MOST = 0.5  # of a split's rows; above it, the splits are not two


def without_overlap(source: Source, rule: str) -> tuple[Source, dict[str, float]]:
    """The source, without training rows of other splits where the rule is `drop`; and how many there are, by split.

    Args:
        rule: `data.overlap`: say | refuse | drop.

    Raises:
        InputError: there are some and the rule is `refuse`, or they are most of a split.
    """
    others = {name: split for name, split in source.splits.items() if name != "train"}
    seen = {name: [_digest(row, source.texts) for _, row in split.rows()] for name, split in others.items()}
    elsewhere = {digest for digests in seen.values() for digest in digests}
    train = source.splits["train"]
    shared = {digest for _, row in train.rows() if (digest := _digest(row, source.texts)) in elsewhere}
    counts: dict[str, float] = {}
    for name, digests in seen.items():
        count = sum(digest in shared for digest in digests)
        if not count:
            continue
        counts[f"{name}_rows_in_train"] = count
        line = f"{name}: {count:,} of {len(digests):,} rows are training rows too"
        if rule == "refuse" or (rule == "say" and count > MOST * len(digests)):
            raise InputError(f"{others[name].where}: {line}: data.overlap = 'drop' takes them out of train")
        print(line + (", and leave train" if rule == "drop" else ""), flush=True)
    if rule != "drop" or not shared:
        return source, counts
    return replace(source, splits={**source.splits, "train": _without(train, source.texts, shared)}), counts


def _without(split: Split, texts: tuple[str, ...], shared: set[bytes]) -> Split:
    def rows() -> Iterator[tuple[int, Row]]:
        return ((number, row) for number, row in split.rows() if _digest(row, texts) not in shared)

    return Split(split.where, split.unit, rows)


def _digest(row: Row, texts: tuple[str, ...]) -> bytes:
    return hashlib.blake2b("\0".join(str(row[name]) for name in texts).encode(), digest_size=12).digest()
