"""Rows whose words have labels: how a source writes them, and the first pass over them.

A row's words are a list and its labels another; or it is text, with spans that have labels, whose words are cut by
`stillhouse.tagging.words.split_words`; or text with spaces between words and a label for each, too. From here on a row
is `text`, the words with a space between each two, and `label`, as many texts of labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stillhouse.encoders.label_names import as_labels, label_text, sorted_labels
from stillhouse.errors import InputError
from stillhouse.tagging.schemes import OUTSIDE, Scheme, scheme_of
from stillhouse.tagging.words import Span, split_words
from tasks.sources.split import Row, Source, Split, is_unicode, text_fault
from tasks.sources.survey import Survey, label_index, refuse_empty, refuse_unknown, survey_several

SPACES = " \t\r\n\f\v"  # which part words wherever they are written
CHECK = "data.columns.label, or which column of the file it is"  # where there are too many labels
CALLED = ("label", "type", "entity")  # what a span's own label may be called


def with_tags(source: Source) -> Source:
    """The source with each row's words and labels as one form. The rows raise `InputError` for what cannot be read."""
    splits = {name: _in_one_form(split) for name, split in source.splits.items()}
    return replace(source, splits=splits, several="each word")


def survey_tags(source: Source, labels: tuple[str, ...] | None) -> tuple[dict[str, Survey], tuple[str, ...]]:
    """Read all splits once; give their surveys, of rows that are as their scheme has it, and the labels in order.

    Args:
        labels: the names from params.yaml; None: those that the source states, or else all that the scheme and the
            types of train's labels make.

    Raises:
        InputError: a split is empty, a label is unknown or of no scheme, or there is but one.
    """
    stated = source.labels if labels is None else labels
    found = {name: survey_several(split, stated, CHECK) for name, split in source.splits.items()}
    refuse_empty(found, source.cut)
    train = found["train"]
    names = as_labels(stated) if stated else tuple(sorted_labels(train.first))
    if len(names) < 2:
        raise InputError(f"{train.split.where}: every word has the label '{names[0]}': two or more are needed")
    try:
        scheme = scheme_of(names)
    except InputError as error:
        raise InputError(f"{train.split.where}: {error}") from None
    if not stated:
        names = tuple(sorted_labels({*names, *scheme.all_labels()}))
    for each in found.values():
        refuse_unknown(each, names)
    if scheme.begins:
        found = {name: _mended(name, each, names, scheme) for name, each in found.items()}
    return found, names


def one_form(words: Any, labels: Any, where: str) -> tuple[list[str], list[str]]:
    """Words, and a label for each.

    Args:
        words: a list, or text.
        labels: a list of labels, spans with labels, or text with spaces between labels.
        where: for messages.

    Raises:
        InputError: they are none of these, or do not fit together.
    """
    if isinstance(words, str) and isinstance(labels, str):
        words, labels = words.split(), labels.split()
    elif isinstance(words, str):
        return _of_spans(words, labels, where)
    if not isinstance(words, Sequence) or not isinstance(labels, Sequence) or isinstance(labels, str):
        given = "labels are" if isinstance(words, Sequence) else "words are"
        cell = labels if isinstance(words, Sequence) else words
        raise InputError(f"{where}: the {given} {cell!r:.60}: a list is expected")
    if len(words) != len(labels):
        raise InputError(f"{where}: {len(words)} words and {len(labels)} labels: each word has one")
    if not words:
        raise InputError(f"{where}: no words: leave the row out")
    for place, word in enumerate(words):
        if not isinstance(word, str) or not word or any(sign in word for sign in SPACES) or not is_unicode(word):
            raise InputError(f"{where}: word {place + 1} is {word!r:.60}: text without white space is expected")
    return list(words), [_label(label, word, where) for label, word in zip(labels, words, strict=True)]


def _label(label: Any, word: str, where: str) -> str:
    text = "" if label is None or isinstance(label, list | dict) else label_text(label)
    if not text:
        raise InputError(f"{where}: word '{word[:60]}' has no label ({label!r:.60}): give it one, {OUTSIDE} for none")
    return text


def _of_spans(text: str, spans: Any, where: str) -> tuple[list[str], list[str]]:
    """Words of a text, and BIO labels of its spans."""
    if fault := text_fault(text):
        raise InputError(f"{where}: the text {fault}")
    if spans is None or not isinstance(spans, Sequence):
        raise InputError(f"{where}: the spans are {spans!r:.60}: a list is expected, an empty one where there are none")
    places = split_words(text)
    labels = [OUTSIDE] * len(places)
    for start, end, label in (_span(span, where) for span in spans):
        if not 0 <= start < end <= len(text):
            raise InputError(f"{where}: span {start} to {end} is not in its text of {len(text)} characters")
        inside = [place for place, word in enumerate(places) if word[0] < end and word[1] > start]
        shown = f"span {start} to {end}, '{text[start:end][:40]}',"
        if not inside or places[inside[0]][0] != start or places[inside[-1]][1] != end:
            raise InputError(
                f"{where}: {shown} does not begin and end where words do: {_nearest(text, places, inside)}"
            )
        if any(labels[place] != OUTSIDE for place in inside):
            raise InputError(f"{where}: {shown} overlaps another: a word has one label")
        for place in inside:
            labels[place] = f"{'B' if place == inside[0] else 'I'}-{label}"
    return [text[start:end] for start, end in places], labels


def _nearest(text: str, places: Sequence[Span], inside: Sequence[int]) -> str:
    if not inside:
        return "it holds no word"
    start, end = places[inside[0]][0], places[inside[-1]][1]
    return f"the words in it are {start} to {end}, '{text[start:end][:40]}'"


def _span(span: Any, where: str) -> tuple[int, int, str]:
    """Start, end and label of {start, end, label} or [start, end, label]."""
    given = span
    if isinstance(span, Mapping):
        label = next((span[name] for name in CALLED if name in span), None)
        given = (span.get("start"), span.get("end"), label)
    if isinstance(given, Sequence) and len(given) == 3:
        start, end, label = given
        whole = all(isinstance(at, int) and not isinstance(at, bool) for at in (start, end))
        if whole and isinstance(label, str) and label.strip():
            return start, end, label_text(label)
    raise InputError(f"{where}: a span is {span!r:.80}: start, end (characters, from 0) and label are expected")


def _in_one_form(split: Split) -> Split:
    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in split.rows():
            words, labels = one_form(row["text"], row["label"], f"{split.where}, {split.unit} {number}")
            yield number, {**row, "text": " ".join(words), "label": tuple(labels)}

    return Split(split.where, split.unit, rows)


def _mended(name: str, found: Survey, names: tuple[str, ...], scheme: Scheme) -> Survey:
    """The survey of a split whose entities all begin as the scheme has it; says how many did not."""

    def named(row: Row) -> list[str]:
        return [names[place] for label in row["label"] if (place := label_index(label, names)) is not None]

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in found.split.rows():
            yield number, {**row, "label": tuple(scheme.mended(named(row), names))}

    made = survey_several(Split(found.split.where, found.split.unit, rows), names, CHECK)
    changed = sum(
        before != after
        for (_, row), (_, better) in zip(found.split.rows(), rows(), strict=True)
        for before, after in zip(named(row), better["label"], strict=True)
    )
    if changed:
        print(f"{name}: {changed:,} entities began with a label of those inside one: now with B-", flush=True)
    return made
