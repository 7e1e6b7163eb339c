"""The task: train.parquet and validation.parquet with the columns text, text_pair for pairs, and label.

A label is a class with its names, or a score. Every source is read row by row, twice: once to count and check, once to
write.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stillhouse.errors import InputError
from tasks.sources.blocks import HubParams, check_word_limits
from tasks.sources.docstrings import distinct, draw, read_pools
from tasks.sources.hub import read_hub
from tasks.sources.layouts import read_columns, read_layout
from tasks.sources.split import Source, Split
from tasks.sources.survey import survey
from tasks.sources.write import write_both
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import Block

# Docstrings are read until a library has this many times the sentences asked for; what is drawn is a sample of those.
SURPLUS = 2


class DocstringParams(Block):
    """`data.docstrings`: which library does this sentence come from?"""

    libraries: list[str] = Field(min_length=2, description="Import names of installed packages; they are the labels")
    train_per_library: int = Field(gt=0, description="Training sentences of each")
    validation_per_library: int = Field(gt=0, description="Validation sentences of each")
    min_words: int = Field(gt=0, description="Shorter sentences are left out")
    max_words: int = Field(gt=0, description="Longer sentences are left out")

    @model_validator(mode="after")
    def _consistent(self) -> "DocstringParams":
        check_word_limits(self.min_words, self.max_words)
        if len(set(self.libraries)) < len(self.libraries):
            raise ValueError("a library is named twice")
        return self


class FileParams(Block):
    """`data.files`: local files."""

    folder: str | None = Field(description="Where they are")
    train: str | None = Field(description="Name of the training file; null: the layout's usual one")
    validation: str | None = Field(description="Name of the validation file; null: the layout's usual one")
    layout: Literal["table", "sst2", "cola", "mrpc", "stsb"] | None = Field(
        description="table: TSV, CSV, JSON or Parquet, by suffix, with data.columns; the others: as published"
    )


class ColumnParams(Block):
    """`data.columns`: names of the columns of a hub dataset or a table."""

    text: str | None = Field(description="The sentence, or the first of a pair")
    text_pair: str | None = Field(description="The second of a pair; null for single sentences")
    label: str | None = Field(description="Class name, class index, or score")


class DataParams(Block):
    """`data`: the task."""

    source: Literal["docstrings", "hub", "files"] = Field(description="Where the rows come from")
    seed: int = Field(ge=0, description="Which rows are drawn")
    train_limit: int | None = Field(gt=0, description="Rows kept of the training split, null for all")
    validation_limit: int | None = Field(gt=0, description="Rows kept of the validation split, null for all")
    docstrings: DocstringParams
    hub: HubParams
    files: FileParams
    columns: ColumnParams
    labels: list[str] | None = Field(description="Label names in order; null: from the data; []: scores")

    @model_validator(mode="after")
    def _consistent(self) -> "DataParams":
        if self.labels and len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: a name stands twice")
        return self


def prepare_task(params: DataParams, out: Path) -> dict[str, float]:
    """Write train.parquet and validation.parquet into `out`; give the row counts.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    source = {"docstrings": _docstring_task, "hub": _hub_task, "files": _file_task}[params.source](params)
    given = None if params.labels is None else tuple(params.labels)
    train, validation, labels = survey(source, given)
    limits = params.train_limit, params.validation_limit
    with fresh_dir(out) as folder:
        counts = write_both(train, validation, source.columns, labels, limits, params.seed, folder)
    print(f"labels: {', '.join(labels) or 'scores'}", flush=True)
    return counts


def _docstring_task(params: DataParams) -> Source:
    p = params.docstrings
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
    return Source(
        _docstring_split("train", rows["train"], params.seed),
        _docstring_split("validation", rows["validation"], params.seed),
        ("text", "label"),
        tuple(p.libraries),
    )


def _docstring_split(name: str, libraries: dict[str, str], seed: int) -> Split:
    """The rows of all libraries, mixed."""
    mixed = draw(list(libraries), len(libraries), seed)
    numbered = [(number, {"text": text, "label": libraries[text]}) for number, text in enumerate(mixed)]
    return Split(f"docstrings ({name})", "row", lambda: iter(numbered))


def _hub_task(params: DataParams) -> Source:
    hub = params.hub
    if hub.name is None:
        raise InputError("data.hub.name = null: name a dataset, such as nyu-mll/glue, or choose another data.source")
    splits = (hub.train_split, hub.validation_split)
    return read_hub(hub.name, hub.config, hub.revision, splits, _columns(params.columns))


def _file_task(params: DataParams) -> Source:
    files = params.files
    if files.folder is None or files.layout is None:
        raise InputError(
            f"data.files.folder = {files.folder}, data.files.layout = {files.layout}: "
            "data.source = files needs both: name them, or choose another data.source"
        )
    if files.layout == "table":
        return read_columns(Path(files.folder), files.train, files.validation, _columns(params.columns))
    return read_layout(files.layout, Path(files.folder), files.train, files.validation)


def _columns(params: ColumnParams) -> dict[str, str]:
    for key in ("text", "label"):
        if getattr(params, key) is None:
            raise InputError(f"data.columns.{key} = null: name the column that holds it")
    return {name: column for name, column in params.model_dump().items() if column is not None}
