"""Names of labels: one way to write each, their order, and which of a model's outputs is which of the data's labels."""

import re
import unicodedata
from collections.abc import Collection
from typing import Any

from stillhouse.errors import InputError

WHOLE = re.compile(r"(-?\d+)\.0+")
NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")


def label_text(value: object) -> str:
    """A label as text, however it is written: 1, 1.0, "1.0" and "1 " are all "1", and letters have one form (NFC)."""
    text = unicodedata.normalize("NFC", str(value).strip())
    whole = WHOLE.fullmatch(text)
    if whole:
        text = whole[1]
    return "0" if text == "-0" else text


def as_labels(names: Collection[str]) -> tuple[str, ...]:
    """Stated names as `label_text` writes them, for what they are compared with is written so.

    Raises:
        InputError: two of them are one label.
    """
    texts = tuple(map(label_text, names))
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise InputError(f"labels {shown(tuple(names))}: two of them are the label '{twice[0][:80]}': name each once")
    return texts


def sorted_labels(texts: Collection[str]) -> list[str]:
    """Labels in the order that they have where nothing states one: numbers, and names that are numbered, by number."""
    texts = sorted(texts)  # what is equal by number has this order
    found = [NUMBERED.fullmatch(text) for text in texts]
    if all(is_number(text) for text in texts):
        return sorted(texts, key=float)
    if all(found) and len({(each[1], each[3]) for each in found if each}) == 1:
        return sorted(texts, key=_by_digits)
    return texts


def _by_digits(text: str) -> tuple[int, str]:
    """As the number of its digits would sort it, of which Python reads no more than 4,300."""
    digits = re.sub(r"\D", "", text).lstrip("0")
    return len(digits), digits


def is_number(text: str) -> bool:
    """Whether a label is a decimal number."""
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def label_order(data: tuple[str, ...], model: tuple[str, ...]) -> list[int]:
    """For each label of the data, in order, its row in the model's classifier.

    Raises:
        InputError: the two sets of names differ.
    """
    if set(data) == set(model) and len(data) == len(model):
        return [model.index(name) for name in data]
    if not named(model):
        # Names that nobody gave, LABEL_0, LABEL_1, …: taken to be in the data's order.
        if len(data) == len(model):
            return list(range(len(data)))
        raise InputError(
            f"labels differ: the data has {len(data)}, the model has {len(model)}: use a model of this task"
        )
    raise InputError(
        f"labels differ: the data has {shown(data)}, the model has {shown(model)}: "
        "rename the labels in the data, or use a model that was trained on them"
    )


def names_in(id2label: Any) -> tuple[str, ...]:
    """The names of a model's outputs in order, of its config's `id2label`, which may count from 1.

    Raises:
        InputError: it does not say of each output what it is called.
    """
    try:
        return tuple(label_text(id2label[key]) for key in sorted(id2label.keys(), key=int))
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"id2label = {str(id2label)[:80]} in its config.json: a mapping from each output's number to its name is "
            "expected: correct it"
        ) from None


def named(names: tuple[str, ...]) -> bool:
    """Whether somebody has named a model's outputs: transformers calls them LABEL_0, LABEL_1, …"""
    return any(name != f"LABEL_{i}" for i, name in enumerate(names))


def shown(names: Collection[str]) -> str:
    """Names of labels for a message, which there may be too many of, or too long ones."""
    text = str(list(names))
    return text if len(text) <= 200 else f"{text[:200]}… ({len(names)})"
