"""The layouts that tasks are published in as local files: GLUE's, and any table with named columns."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.files import read_table
from tasks.sources.split import Row, Source, Split, pick
from tasks.sources.survey import label_text


@dataclass(frozen=True)
class Layout:
    """One layout: its files' default names, and where text and label stand in them."""

    files: tuple[str, str]  # usual names of the training and the validation file
    columns: dict[str, str]  # our name → the file's
    labels: tuple[str, ...] | None  # what 0, 1, … mean, under the names that the hub's copies use; () for scores
    header: tuple[str, ...] | None = None  # where the file has none


_TSV = ("train.tsv", "dev.tsv")
LAYOUTS = {
    "sst2": Layout(_TSV, {"text": "text", "label": "label"}, ("negative", "positive")),
    "cola": Layout(
        _TSV,
        {"text": "sentence", "label": "label"},
        ("unacceptable", "acceptable"),
        header=("source", "label", "star", "sentence"),
    ),
    "mrpc": Layout(
        _TSV,
        {"text": "#1 String", "text_pair": "#2 String", "label": "Quality"},
        ("not_equivalent", "equivalent"),
    ),
    "stsb": Layout(_TSV, {"text": "sentence1", "text_pair": "sentence2", "label": "score"}, ()),
}


def read_layout(name: str, folder: Path, train: str | None, validation: str | None) -> Source:
    """Read a folder in one of GLUE's layouts.

    Args:
        name: sst2, cola, mrpc or stsb.
        folder: where the files are.
        train: the training file's name, None for the layout's own.
        validation: the validation file's name, likewise.

    Raises:
        InputError: a file is missing. Reading raises it for a damaged line.
    """
    layout = LAYOUTS[name]
    files = [folder / (given or usual) for given, usual in zip((train, validation), layout.files, strict=True)]
    splits = [_named(pick(read_table(file, layout.header), layout.columns), layout.labels) for file in files]
    return Source(splits[0], splits[1], tuple(layout.columns), layout.labels)


def read_columns(folder: Path, train: str | None, validation: str | None, columns: dict[str, str]) -> Source:
    """Read a folder of tables with named columns.

    Args:
        folder: where the files are.
        train: the training file's name.
        validation: the validation file's name.
        columns: our name of a column → the file's.

    Raises:
        InputError: a file is not named or not there.
    """
    for key, given in (("train", train), ("validation", validation)):
        if given is None:
            raise InputError(f"data.files.{key} = null: name the file; layout 'table' has no names of its own")
    splits = [pick(read_table(folder / str(given)), columns) for given in (train, validation)]
    return Source(splits[0], splits[1], tuple(columns), None)


def _named(split: Split, labels: tuple[str, ...] | None) -> Split:
    """Put the label's name for its number. Others stay as they are, to be named in the error."""
    if not labels:
        return split
    names = {str(index): name for index, name in enumerate(labels)}

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in split.rows():
            text = label_text(row["label"])
            yield number, {**row, "label": names.get(text, text)}

    return Split(split.where, split.unit, rows)
