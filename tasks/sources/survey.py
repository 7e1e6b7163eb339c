"""The first pass over a source: count its rows and settle its labels, before anything is written."""

import math
from dataclasses import dataclass, field

from stillhouse.errors import InputError
from tasks.sources.split import Source, Split

MOST_LABELS = 1000  # more different values than this are no classes


@dataclass
class Survey:
    """What one pass over a split finds."""

    split: Split
    rows: int = 0
    first: dict[str, int] = field(default_factory=dict)  # label value → number of the first row that has it


def survey(source: Source, labels: tuple[str, ...] | None) -> tuple[Survey, Survey, tuple[str, ...]]:
    """Read both splits once; give their surveys and the label names in order (none for scores).

    Args:
        source: where the rows are.
        labels: names in order from params.yaml, () for regression, None to take them from the source.

    Raises:
        InputError: a split is empty, a label is unknown or no number, the label sets differ, or a text is empty.
    """
    stated = source.labels
    if labels is not None and stated is not None and set(labels) != set(stated):
        raise InputError(
            f"data.labels = {list(labels)}: the data has {list(stated) or 'scores'}: "
            "name the same ones, in any order, or set it to null"
        )
    names = stated if labels is None else labels
    train = _survey(source.train, scores=names == ())
    validation = _survey(source.validation, scores=names == ())
    if names == ():
        return train, validation, ()
    if names is None:
        names = _names(train, validation)
    for each in (train, validation):
        _check_known(each, names)
    if len(names) < 2:
        raise InputError(f"{train.split.where}: every row has the label '{names[0]}': two or more are needed")
    return train, validation, names


def label_text(value: object) -> str:
    """A raw label as text: 1, 1.0 and "1 " are all "1"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def label_index(value: object, names: tuple[str, ...]) -> int | None:
    """The index of a raw label: one of the names or, where no name is a number, the index itself; None: neither."""
    text = label_text(value)
    if text in names:
        return names.index(text)
    by_index = text.isdecimal() and int(text) < len(names) and not any(_is_int(name) for name in names)
    return int(text) if by_index else None


def score(value: object) -> float | None:
    """A raw label as a finite number; None: it is not one."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _survey(split: Split, scores: bool) -> Survey:
    found = Survey(split)
    for number, row in split.rows():
        found.rows += 1
        value = row["label"]
        if scores:
            if score(value) is None:
                raise InputError(f"{split.where}, {split.unit} {number}: label '{value}' is not a number")
        elif (text := label_text(value)) not in found.first:
            if value is None or text == "" or value != value:
                raise InputError(f"{split.where}, {split.unit} {number}: the label is missing")
            found.first[text] = number
            if len(found.first) > MOST_LABELS:
                raise InputError(
                    f"{split.where}: more than {MOST_LABELS} different labels: "
                    "for scores set data.labels to []; else check data.columns.label"
                )
    if found.rows == 0:
        raise InputError(f"{split.where}: no rows: check the file and the split")
    return found


def _names(train: Survey, validation: Survey) -> tuple[str, ...]:
    if set(train.first) != set(validation.first):
        raise InputError(
            f"the splits' labels differ: {train.split.where} has {_sorted(train)}, "
            f"{validation.split.where} has {_sorted(validation)}: correct them, or name all labels in data.labels"
        )
    return tuple(_sorted(train))


def _sorted(found: Survey) -> list[str]:
    return sorted(found.first, key=int if all(_is_int(name) for name in found.first) else str)


def _check_known(found: Survey, names: tuple[str, ...]) -> None:
    for text, number in found.first.items():
        if label_index(text, names) is None:
            raise InputError(
                f"{found.split.where}, {found.split.unit} {number}: unknown label '{text}': known are {list(names)}"
            )


def _is_int(text: str) -> bool:
    return text.lstrip("-").isdecimal()
