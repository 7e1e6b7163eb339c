"""The first pass over a source: count its rows and settle its labels, before anything is written."""

from dataclasses import dataclass, field

from stillhouse.encoders.label_names import as_labels, is_number, label_text, shown, sorted_labels
from stillhouse.errors import InputError
from tasks.sources.split import Source, Split, is_unicode

MOST = 1e18  # of a score: 32 bits hold numbers to 3.4e38, and training squares the error; NaN is none
MOST_LABELS = 1000  # more different values than this are no classes, unless somebody names them all


@dataclass
class Survey:
    """What one pass over a split finds."""

    split: Split
    rows: int = 0
    first: dict[str, int] = field(default_factory=dict)  # label value → number of the first row that has it


Labels = tuple[str, ...] | None


def survey(source: Source, labels: Labels) -> tuple[dict[str, Survey], tuple[str, ...]]:
    """Read all splits once; give their surveys and the label names in order (none for scores).

    Args:
        source: where the rows are.
        labels: names in order from params.yaml, () for scores, None to take them from the source.

    Raises:
        InputError: a split is empty, a label is unknown or no number, the label sets differ, or a text is empty.
    """
    stated = source.labels and as_labels(source.labels)
    labels = labels and as_labels(labels)
    if labels is not None and stated is not None and set(labels) != set(stated):
        if not labels or not stated:
            raise InputError(
                f"{source.splits['train'].where} has {shown(stated) if stated else 'scores'}, "
                f"data.kind says {'classes' if labels else 'scores'}: change it"
            )
        raise InputError(
            f"data.labels = {shown(labels)}: the data has {shown(stated)}: "
            "name the same ones, in any order, or set it to null"
        )
    names = stated if labels is None else labels
    found = {name: _survey(split, names == (), names) for name, split in source.splits.items()}
    refuse_empty(found, source.cut)
    if names == ():
        return found, ()
    if names is None:
        names = _names(found, source.cut)
    for each in found.values():
        _check_known(each, names)
    if len(names) < 2:
        where = source.splits["train"].where
        raise InputError(f"{where}: every row has the label '{names[0][:80]}': two or more are needed")
    return found, names


def refuse_empty(found: dict[str, Survey], cut: frozenset[str]) -> None:
    """Raise for a split without rows.

    Args:
        cut: those that were cut from train.

    Raises:
        InputError: there is one.
    """
    for name, each in found.items():
        if each.rows:
            continue
        if name in cut:
            raise InputError(f"data.{name}_share: {each.split.where} has no rows: raise it")
        raise InputError(f"{each.split.where}: no rows: check the file and the split")


def survey_several(split: Split, names: Labels, check: str) -> Survey:
    """What one pass over a split finds whose rows have a tuple of labels each.

    Args:
        names: of the labels, where they are stated.
        check: what to look at where there are too many different ones.

    Raises:
        InputError: there are, or one is no Unicode text.
    """
    found = Survey(split)
    for number, row in split.rows():
        found.rows += 1
        for text in row["label"]:
            if text not in found.first:
                _meet(found, text, number)
        if names is None and len(found.first) > MOST_LABELS:
            raise InputError(
                f"{split.where}: more than {MOST_LABELS} different labels: check {check}, or name all in data.labels"
            )
    return found


def refuse_unknown(found: Survey, names: tuple[str, ...]) -> None:
    """Raise for the first label of a split that is none of the names, nor a place among them.

    Raises:
        InputError: there is one.
    """
    for text, number in found.first.items():
        if label_index(text, names) is None:
            raise InputError(
                f"{found.split.where}, {found.split.unit} {number}: unknown label '{text[:80]}': known are "
                f"{', '.join(names)[:300]}; to know more, name all in data.labels"
            )


def label_index(value: object, names: tuple[str, ...]) -> int | None:
    """The index of a raw label: one of the names or, where no name is a number, the index itself; None: neither."""
    text = label_text(value)
    if text in names:
        return names.index(text)
    digits = text.isdecimal() and len(text) < 10  # Python refuses to read thousands of them
    by_index = digits and int(text) < len(names) and not any(is_number(name) for name in names)
    return int(text) if by_index else None


def score(value: object) -> float | None:
    """A raw label as a number whose square 32 bits hold; None: it is none."""
    # Python, but no table, reads 1_000 as a number.
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # the last of a JSON number of hundreds of digits
        return None
    return number if abs(number) <= MOST else None


def _survey(split: Split, scores: bool, names: Labels) -> Survey:
    found = Survey(split)
    for number, row in split.rows():
        found.rows += 1
        value = row["label"]
        if scores:
            if score(value) is None:
                given = f"label '{str(value)[:80]}'"
                raise InputError(
                    f"{split.where}, {split.unit} {number}: {given} is not a number, or is beyond ±{MOST:g}"
                )
        elif isinstance(value, list | dict):
            raise InputError(
                f"{split.where}, {split.unit} {number}: the label is {str(value)[:60]}: one label is expected "
                "(data.kind: multi-label reads several)"
            )
        elif (text := label_text(value)) not in found.first:
            if value is None or text == "" or value != value:
                raise InputError(f"{split.where}, {split.unit} {number}: the label is missing")
            if text.lower() == "nan" and text not in (names or ()):
                raise InputError(
                    f"{split.where}, {split.unit} {number}: the label is '{text}', as programs write an empty cell: "
                    "fill it in, or, if it is a class, name all in data.labels"
                )
            _meet(found, text, number)
            if names is None and len(found.first) > MOST_LABELS:
                raise InputError(
                    f"{split.where}: more than {MOST_LABELS} different labels: for scores set data.kind to scores; "
                    "else check data.columns.label, or, if they are classes, name all in data.labels"
                )
    return found


def _meet(found: Survey, text: str, number: int) -> None:
    """Note the first row with a label."""
    if not is_unicode(text):
        raise InputError(
            f"{found.split.where}, {found.split.unit} {number}: label {text[:80]!r} holds half of a surrogate pair: "
            "it is no Unicode text"
        )
    found.first[text] = number


def _names(found: dict[str, Survey], cut: frozenset[str]) -> tuple[str, ...]:
    """Train's labels. Validation has the same, unless it was cut from train; test may lack some."""
    train = found["train"]
    for name, other in found.items():
        same = set(train.first) == set(other.first)
        if not same and (not set(other.first) <= set(train.first) or (name == "validation" and name not in cut)):
            raise InputError(
                f"the splits' labels differ: {train.split.where} has {shown(sorted_labels(train.first))}, "
                f"{other.split.where} has {shown(sorted_labels(other.first))}: correct them, or name all labels in "
                "data.labels"
            )
    return tuple(sorted_labels(train.first))


def _check_known(found: Survey, names: tuple[str, ...]) -> None:
    for text, number in found.first.items():
        if label_index(text, names) is None:
            raise InputError(
                f"{found.split.where}, {found.split.unit} {number}: unknown label '{text[:80]}': known are "
                f"{shown(names)}"
            )
