"""Splits that a source lacks, cut from its training rows by a hash of each row's text.

A row's place plays no part: one that is added moves no other, and equal texts (of answers, equal contexts) are in the
same split.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.split import Row, Source, Split


def with_shares(source: Source, params: DataParams) -> Source:
    """The source with validation, which every task has, and with test where `data.test_share` asks for it.

    Raises:
        InputError: there is no validation split, and no share of train to make one of.
    """
    train = source.splits["train"]
    if "validation" not in source.splits and params.validation_share is None:
        raise InputError(
            f"{train.where} has no validation split beside it, and data.validation_share = null: give a share of train"
        )
    shares = {"test": params.test_share, "validation": params.validation_share}
    # Test first: another share of validation then leaves it as it is.
    wanted = {name: share for name, share in shares.items() if share is not None and name not in source.splits}
    if not wanted:
        return source
    bounds, start = {}, 0.0
    for name, share in wanted.items():
        bounds[name] = (start, start + share)
        start += share
    cut = {name: _within(train, name, source.together, params.seed, *bounds[name]) for name in wanted}
    rest = _within(train, "train", source.together, params.seed, start, 1.0)
    found = {**source.splits, **cut, "train": rest}
    return replace(
        source,
        splits={name: found[name] for name in ("train", "validation", "test") if name in found},
        cut=frozenset(wanted),
    )


def place(row: Row, texts: tuple[str, ...], seed: int) -> float:
    """Where a row lies in [0, 1)."""
    words = "\0".join([str(seed), *(str(row[name]) for name in texts)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()) / 2**64


def _within(split: Split, name: str, texts: tuple[str, ...], seed: int, first: float, last: float) -> Split:
    def rows() -> Iterator[tuple[int, Row]]:
        return ((number, row) for number, row in split.rows() if first <= place(row, texts, seed) < last)

    return Split(f"{split.where} ({name}, {last - first:.3g} of it)", split.unit, rows)
