"""Rows that are read from the docstrings of libraries: as many of each, drawn by hash."""

from collections.abc import Callable
from typing import Any

from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.builtin.docstrings import digest, is_held_out
from tasks.sources.split import Split

Drawn = dict[str, list[dict[str, Any]]]  # the rows of each split, in order


def draw_rows(params: DataParams, read: Callable[[str], list[dict[str, Any]]], called: str) -> Drawn:
    """Training and validation rows: a text's own hash says which of the two it may be of.

    Args:
        read: gives all rows of a library; no two have one `text`.
        called: what the rows are, for messages.

    Raises:
        InputError: a library is not installed, or has fewer rows than are asked for.
    """
    p = params.docstrings
    need = {"train": p.train_per_library, "validation": p.validation_per_library}
    rows: Drawn = {split: [] for split in need}
    for library in p.libraries:
        found: Drawn = {split: [] for split in need}
        for row in read(library):
            found["validation" if is_held_out(row["text"]) else "train"].append(row)
        print(f"{library}: found {sum(map(len, found.values())):,} {called}", flush=True)
        for split, count in need.items():
            if len(found[split]) < count:
                raise InputError(
                    f"data.docstrings.{split}_per_library = {count}: '{library}' has {len(found[split])} such "
                    f"{called}: lower it, or leave the library out"
                )
            rows[split] += _ordered(found[split], params.seed)[:count]
    return {split: _ordered(each, params.seed) for split, each in rows.items()}


def as_splits(rows: Drawn) -> dict[str, Split]:
    """The rows as a source's splits."""
    return {name: _split(name, each) for name, each in rows.items()}


def _ordered(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: digest(f"{seed}\n{row['text']}"))


def _split(name: str, rows: list[dict[str, Any]]) -> Split:
    return Split(f"docstrings ({name})", "row", lambda: iter(enumerate(rows, start=1)))
