"""The layouts that tasks are published in as local files: GLUE's nine, SICK's, GoEmotions', and any table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stillhouse.encoders.label_names import label_text, shown
from stillhouse.errors import InputError
from tasks.sources.files import read_table
from tasks.sources.split import NO_TEXT, Column, Row, Source, Split, columns_of_split, pick, sources

Files = Mapping[str, str | None]  # split → its file's name, None for the layout's own


@dataclass(frozen=True)
class Labels:
    """What one kind of task reads of a layout as its label.

    Args:
        column: where it stands.
        names: those that the hub's copies use, in their order; () for scores.
        written: what stands in the files for each; None: its index.
        several: whether a cell holds any number of them.
    """

    column: Column
    names: tuple[str, ...]
    written: tuple[str, ...] | None = None
    several: bool = False


@dataclass(frozen=True)
class Layout:
    """One layout: where text and labels stand in its files, and how those are usually called."""

    texts: tuple[Column, ...]  # of the text, and of the second one of a pair
    kinds: dict[str, Labels]  # by data.kind
    header: tuple[str, ...] | None = None  # where the files have none
    files: tuple[str, str] = ("train.tsv", "dev.tsv")  # GLUE's test files have no labels
    broken: bool = False  # as published, some lines have another number of fields


PAIR = ("sentence1", "sentence2")
ENTAILMENT = ("entailment", "not_entailment")
THREE = ("entailment", "neutral", "contradiction")
EMOTIONS = (
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire"),
    *("disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy"),
    *("love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"),
)
LAYOUTS = {
    "sst2": Layout((("text", "sentence"),), {"classes": Labels("label", ("negative", "positive"))}),
    "cola": Layout(
        ("sentence",),
        {"classes": Labels("label", ("unacceptable", "acceptable"))},
        header=("source", "label", "star", "sentence"),
    ),
    "mrpc": Layout(("#1 String", "#2 String"), {"classes": Labels("Quality", ("not_equivalent", "equivalent"))}),
    "stsb": Layout(PAIR, {"scores": Labels("score", ())}),
    "qqp": Layout(
        ("question1", "question2"),
        {"classes": Labels("is_duplicate", ("not_duplicate", "duplicate"))},
        broken=True,  # questions with a line break in them, in two pieces
    ),
    "mnli": Layout(PAIR, {"classes": Labels("gold_label", THREE)}, files=("train.tsv", "dev_matched.tsv")),
    "mnli-mm": Layout(PAIR, {"classes": Labels("gold_label", THREE)}, files=("train.tsv", "dev_mismatched.tsv")),
    "qnli": Layout(("question", "sentence"), {"classes": Labels("label", ENTAILMENT)}),
    "rte": Layout(PAIR, {"classes": Labels("label", ENTAILMENT)}),
    "wnli": Layout(PAIR, {"classes": Labels("label", ENTAILMENT[::-1])}),
    "sick": Layout(
        ("sentence_A", "sentence_B"),
        {
            "classes": Labels("entailment_judgment", THREE, tuple(name.upper() for name in THREE)),
            "scores": Labels("relatedness_score", ()),
        },
    ),
    "goemotions": Layout(
        ("text",), {"multi-label": Labels("label", EMOTIONS, several=True)}, header=("text", "label", "id")
    ),
}


def read_layout(name: str, kind: str, folder: Path, files: Files) -> Source:
    """Read a folder in one of the layouts.

    Args:
        name: of the layout.
        kind: of task.
        folder: where the files are.
        files: their names; a test file that is not named there is none.

    Raises:
        InputError: a file is missing, or the layout has no labels of this kind. Reading raises it for a damaged line.
    """
    layout = LAYOUTS.get(name)
    if layout is None or kind not in layout.kinds:
        does = ", ".join(layout.kinds) if layout else "another kind"
        raise InputError(f"data.files.layout = '{name}' is of {does}, data.kind = '{kind}': change one of them")
    labels = layout.kinds[kind]
    columns = {**dict(zip(("text", "text_pair"), layout.texts, strict=False)), "label": labels.column}

    def split(usual: str | None, given: str | None) -> Split | None:
        file = given or usual
        if file is None:
            return None
        return _named(pick(read_table(folder / file, layout.header, broken=layout.broken), columns), labels)

    usual = dict(zip(("train", "validation"), layout.files, strict=True))
    splits = {each: split(usual.get(each), files.get(each)) for each in ("train", "validation", "test")}
    texts = tuple(each for each in columns if each != "label")
    return Source(sources(splits), tuple(columns), labels.names, texts, texts)


def read_columns(folder: Path, files: Files, columns: Mapping[str, Column]) -> Source:
    """Read a folder of tables.

    Args:
        folder: where the files are.
        files: their names, of train at least.
        columns: our name of a column → the file's name of it, or its position from 1 where there is no header.

    Raises:
        InputError: a file is not named or not there.
    """
    if files.get("train") is None:
        raise InputError("data.files.train = null: name the file; layout 'table' has no names of its own")
    positions = any(isinstance(column, int) for column in columns.values())
    splits = {
        name: None
        if given is None
        else pick(read_table(folder / given, positions=positions), columns_of_split(name, columns))
        for name, given in files.items()
    }
    texts = tuple(each for each in columns if each not in NO_TEXT)
    return Source(sources(splits), tuple(columns), None, texts, texts)


def _named(split: Split, labels: Labels) -> Split:
    """Put the label's name for what is written."""
    if not labels.names or labels.several:
        return split
    written = labels.written or [str(index) for index in range(len(labels.names))]
    return renamed(split, dict(zip(written, labels.names, strict=True)))


def renamed(split: Split, names: Mapping[str, str]) -> Split:
    """Put names for raw labels; a row may have the name itself, or none at all, which is said elsewhere.

    The rows raise `InputError` for a label that is neither: as a number it would be taken for a place among the names.
    """

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in split.rows():
            text = label_text(row["label"])
            if (
                text not in names
                and text not in names.values()
                and row["label"] is not None
                and text not in ("", "nan")
            ):
                raise InputError(
                    f"{split.where}, {split.unit} {number}: unknown label '{text[:80]}': known are {shown(names)}"
                )
            yield number, {**row, "label": names.get(text, row["label"])}

    return Split(split.where, split.unit, rows)
