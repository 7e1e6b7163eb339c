"""Classes and scores: train.parquet, validation.parquet, and test.parquet where there is one.

Their columns are text, text_pair for pairs, and label: a class with its names, or a score. Every source is read row by
row: to count and check, to find rows that are in two splits, and to write.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stillhouse.encoders.label_names import label_text
from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.builtin.docstrings import distinct, draw, read_pools
from tasks.sources.files import existing
from tasks.sources.hub import read_hub
from tasks.sources.layouts import read_columns, read_layout, renamed
from tasks.sources.probabilities import with_probabilities
from tasks.sources.shares import with_shares
from tasks.sources.split import PROBABILITIES, Column, Source, Split, not_utf8
from tasks.sources.survey import survey
from tasks.sources.write import write_task

# Docstrings are read until a library has this many times the sentences asked for; what is drawn is a sample of those.
SURPLUS = 2


def prepare_task(params: DataParams, out: Path, *, scores: bool) -> dict[str, float]:
    """Write the splits into `out`; give the row counts.

    Args:
        scores: whether labels are numbers; else they are classes.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    if scores and params.labels is not None:
        raise InputError(f"data.labels = {params.labels}: scores have no names: set it to null")
    whole, names = with_shares(sentences(params), params), () if scores else label_names(params)
    return write_task(whole, lambda source: survey(source, names), params, out)


def sentences(params: DataParams) -> Source:
    """The rows of classes or scores, as params.yaml says where they come from."""
    source = _docstring_task(params) if params.source == "docstrings" else of_tables(params)
    if PROBABILITIES in source.columns:
        if params.kind != "classes" or isinstance(params.labels, dict):
            raise InputError(
                f"data.columns.probabilities = {params.columns.probabilities}: {params.kind} with labels = "
                f"{params.labels} have none: set it to null, or let labels be the names in order"
            )
        return with_probabilities(source, label_names(params), several=False)
    if not isinstance(params.labels, dict):
        return source
    names = {label_text(raw): name for raw, name in params.labels.items()}
    return replace(source, splits={name: renamed(split, names) for name, split in source.splits.items()}, labels=None)


def of_tables(params: DataParams) -> Source:
    """Rows of columns, from the hub or from files."""
    return _hub_task(params) if params.source == "hub" else _file_task(params)


def label_names(params: DataParams) -> tuple[str, ...] | None:
    """The names of labels in order, as params.yaml has them or the file that it names; None: from the data.

    Raises:
        InputError: there is no such file, or a name stands in it twice.
    """
    if params.labels is None:
        return None
    if isinstance(params.labels, str):
        return _names_in(Path(params.files.folder or "", params.labels))
    return tuple(params.labels.values() if isinstance(params.labels, dict) else params.labels)


def _names_in(file: Path) -> tuple[str, ...]:
    """A name a line; line i is label i, from 0."""
    try:
        names = tuple(line.strip() for line in existing(file).read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as error:
        raise not_utf8(file, error) from None
    for number, name in enumerate(names, start=1):
        if not name or name in names[: number - 1]:
            raise InputError(f"{file}, line {number}: '{name[:80]}' is no name of its own: one label a line, each once")
    return names


def _docstring_task(params: DataParams) -> Source:
    if params.kind != "classes":
        raise InputError(
            f"data.source = docstrings has no {params.kind}, a sentence's label is its library: "
            "choose files or hub, and name them"
        )
    p = params.docstrings
    if len(p.libraries) < 2:
        raise InputError(f"data.docstrings.libraries = {p.libraries}: they are the labels, and two or more are needed")
    need = {"train": p.train_per_library, "validation": p.validation_per_library}
    words = (p.min_words, p.max_words)
    pools = distinct(read_pools(p.libraries, SURPLUS * need["train"], SURPLUS * need["validation"], words))
    rows: dict[str, dict[str, str]] = {"train": {}, "validation": {}}
    for pool in pools:
        found = {"train": pool.open, "validation": pool.held_out}
        print(
            f"{pool.library}: found {len(pool.open):,} + {len(pool.held_out):,} sentences "
            f"in {pool.files_read:,} of {pool.files:,} files",
            flush=True,
        )
        for split, count in need.items():
            if len(found[split]) < count:
                raise InputError(
                    f"data.docstrings.{split}_per_library = {count}: "
                    f"'{pool.library}' has {len(found[split])} such sentences: lower it, or leave the library out"
                )
            rows[split] |= dict.fromkeys(draw(found[split], count, params.seed), pool.library)
    splits = {name: _docstring_split(name, rows[name], params.seed) for name in ("train", "validation")}
    return Source(splits, ("text", "label"), tuple(p.libraries), ("text",), ("text",))


def _docstring_split(name: str, libraries: dict[str, str], seed: int) -> Split:
    """The rows of all libraries, mixed."""
    mixed = draw(list(libraries), len(libraries), seed)
    numbered = [(number, {"text": text, "label": libraries[text]}) for number, text in enumerate(mixed)]
    return Split(f"docstrings ({name})", "row", lambda: iter(numbered))


def _hub_task(params: DataParams) -> Source:
    if params.hub.name is None:
        raise InputError("data.hub.name = null: name a dataset, such as nyu-mll/glue, or choose another data.source")
    columns = columns_of(params)
    if any(isinstance(column, int) for column in columns.values()):
        raise InputError(f"data.columns = {columns}: a hub dataset names its columns: use their names")
    return read_hub(params.hub, columns)


def _file_task(params: DataParams) -> Source:
    files = params.files
    if files.folder is None or files.layout is None:
        raise InputError(
            f"data.files.folder = {files.folder}, data.files.layout = {files.layout}: "
            "data.source = files needs both: name them, or choose another data.source"
        )
    names = {"train": files.train, "validation": files.validation, "test": files.test}
    if files.layout == "table":
        return read_columns(Path(files.folder), names, columns_of(params))
    return read_layout(files.layout, params.kind, Path(files.folder), names)


def columns_of(params: DataParams) -> Mapping[str, Column]:
    """Our name of a column → the source's.

    Raises:
        InputError: text or label has none.
    """
    instead = {"label": params.columns.probabilities}
    for key in ("text", "label"):
        if getattr(params.columns, key) is None and instead.get(key) is None:
            raise InputError(f"data.columns.{key} = null: name the column that holds it")
    return {name: column for name, column in params.columns.model_dump().items() if column is not None}
