"""Rows with any number of labels: how a source writes them, and the first pass over them.

A cell is a list (of a hub dataset, JSON or Parquet), or text with something between the labels (`27,4`); or each label
has a column of its own with 0 or 1. A label is its name, or, where no name is a number, its place among the names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stillhouse.encoders.label_names import as_labels, label_text, sorted_labels
from stillhouse.errors import InputError
from tasks.sources.split import Row, Source, Split
from tasks.sources.survey import Survey, label_index, refuse_empty, refuse_unknown, survey_several

NO, YES = ("0", "False", "false"), ("1", "True", "true")


def with_label_sets(source: Source, between: str) -> Source:
    """The source with each row's labels as a tuple of texts.

    Args:
        between: what stands between the labels of a cell of text.

    The rows raise `InputError` for a cell that cannot be read so.
    """
    splits = {name: _as_sets(split, between) for name, split in source.splits.items()}
    return replace(source, splits=splits, several="set")


def survey_label_sets(source: Source, labels: tuple[str, ...] | None) -> tuple[dict[str, Survey], tuple[str, ...]]:
    """Read all splits once; give their surveys and the label names in order.

    Args:
        labels: the names from params.yaml; None: those that the source states, or else all that train has.

    Raises:
        InputError: a split is empty, a label is unknown, or no training row has it.
    """
    names = source.labels if labels is None else labels
    names = names and as_labels(names)
    found = {
        name: survey_several(split, names, "data.columns.label and data.label_separator")
        for name, split in source.splits.items()
    }
    refuse_empty(found, source.cut)
    train = found["train"]
    if names is None:
        names = tuple(sorted_labels(train.first))
    if not names:
        raise InputError(f"{train.split.where}: no row has a label: check data.columns.label")
    for each in found.values():
        refuse_unknown(each, names)
    seen = {label_index(text, names) for text in train.first}
    if never := [name for place, name in enumerate(names) if place not in seen]:
        raise InputError(
            f"{train.split.where}: no row has the label '{never[0]}' ({len(never)} of {len(names)} labels have none): "
            "leave it out of data.labels, or add rows that have it"
        )
    return found, names


def label_set(value: Any, between: str, where: str) -> tuple[str, ...]:
    """A raw cell as texts of labels, each once.

    Args:
        value: a list, text, or of each label's own column what stands there.
        where: for messages.

    Raises:
        InputError: it is missing, has an empty label between others, or a column has neither 0 nor 1.
    """
    if isinstance(value, Mapping):
        return tuple(label_text(name) for name, mark in value.items() if _marked(mark, f"{where}: column '{name}'"))
    if value is None or value != value:  # NaN differs from itself
        raise InputError(f"{where}: the labels are missing: a row without any has an empty list or text")
    parts = value if isinstance(value, list | tuple) else str(value).split(between) if label_text(value) else []
    if nested := [part for part in parts if isinstance(part, list | tuple | dict)]:
        raise InputError(f"{where}: a label is {str(nested[0])[:80]}: a list of names is expected")
    texts = tuple(dict.fromkeys(label_text(part) for part in parts))
    if "" in texts or any(part is None for part in parts):
        raise InputError(f"{where}: labels {str(value)[:80]!r} have an empty one among them")
    return texts


def _marked(mark: Any, where: str) -> bool:
    text = label_text(mark)
    if text not in (*NO, *YES):
        raise InputError(f"{where} is {str(mark)[:80]!r}: 1 says that a row has the label, 0 that it has not")
    return text in YES


def _as_sets(split: Split, between: str) -> Split:
    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in split.rows():
            where = f"{split.where}, {split.unit} {number}"
            yield number, {**row, "label": label_set(row["label"], between, where)}

    return Split(split.where, split.unit, rows)
