"""Stages `prepare`, `corpus` and `prepare-qa`: from any source to the one schema.

    python -m tasks.prepare task --out data/task
    python -m tasks.prepare corpus --out data/corpus
    python -m tasks.prepare qa --out data/qa

`task` writes train.parquet and validation.parquet with the columns text, text_pair for pairs, and label (a class with
its names, or a score); `qa` the same files with id, question, context and answers (see `tasks.sources.make_questions`).
`corpus` writes corpus.parquet with text. Every source is read row by row, twice: once to count and check, once to
write."""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stillhouse.errors import InputError
from tasks.sources.docstrings import distinct, draw, read_pools
from tasks.sources.hub import load_split, read_hub
from tasks.sources.hub_params import HubParams
from tasks.sources.layouts import read_columns, read_layout
from tasks.sources.make_questions import QaParams, prepare_qa
from tasks.sources.split import Source, Split, wrong_column
from tasks.sources.survey import survey
from tasks.sources.texts import passages, read_folder
from tasks.sources.write import choose, features, write_both, write_rows
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, Block, load

# Docstrings are read until a library has this many times the sentences asked for; what is drawn is a sample of those.
SURPLUS = 2
CORPUS_SURPLUS = 1.25  # enough for what libraries share


def main() -> None:
    parser = argparse.ArgumentParser(description="Prepare a task, a corpus, or questions, from the source.")
    parser.add_argument("what", choices=["task", "corpus", "qa"])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=PARAMS)
    arguments = parser.parse_args()
    from tasks.tracking.journal import stage_run  # here, so that a fault in the input shows before MLflow has loaded

    started = time.monotonic()
    if arguments.what == "task":
        task_params = load("data", DataParams, arguments.params)
        with stage_run(kind="prepare", params=task_params, reads=[]) as run:
            run.log_metrics(prepare_task(task_params, arguments.out))
    elif arguments.what == "qa":
        qa_params = load("qa", QaParams, arguments.params)
        with stage_run(kind="prepare", params=qa_params, reads=[]) as run:
            run.log_metrics(prepare_qa(qa_params, arguments.out))
    else:
        corpus_params = load("corpus", CorpusParams, arguments.params)
        with stage_run(kind="corpus", params=corpus_params, reads=[]) as run:
            run.log_metrics(prepare_corpus(corpus_params, arguments.out))
    print(f"{arguments.out}: done in {time.monotonic() - started:.1f} s", flush=True)


class DocstringParams(Block):
    """`data.docstrings`: which library does this sentence come from?"""

    libraries: list[str] = Field(min_length=2, description="Import names of installed packages; they are the labels")
    train_per_library: int = Field(gt=0, description="Training sentences of each")
    validation_per_library: int = Field(gt=0, description="Validation sentences of each")
    min_words: int = Field(gt=0, description="Shorter sentences are left out")
    max_words: int = Field(gt=0, description="Longer sentences are left out")

    @model_validator(mode="after")
    def _consistent(self) -> "DocstringParams":
        _check_words(self.min_words, self.max_words)
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


class CorpusHubParams(Block):
    """`corpus.hub`: a text dataset of the Hugging Face hub."""

    name: str | None = Field(description="Dataset id, such as Salesforce/wikitext, or a local folder")
    config: str | None = Field(description="Its configuration, such as wikitext-103-raw-v1")
    revision: str | None = Field(description="A commit, tag or branch; null: the newest")
    split: str = Field(description="Name of the split")
    column: str = Field(description="Name of the text column")


class CorpusParams(Block):
    """`corpus`: plain text for general distillation."""

    source: Literal["docstrings", "hub", "files"] = Field(description="Where the text comes from")
    libraries: list[str] = Field(min_length=1, description="For docstrings: import names of installed packages")
    hub: CorpusHubParams
    folder: str | None = Field(description="For files: a folder of .txt, a passage or paragraph a line")
    sentences: int | None = Field(gt=0, description="How many are drawn, null for all")
    min_words: int = Field(gt=0, description="Shorter sentences are left out")
    max_words: int = Field(gt=0, description="Longer sentences are cut (docstrings: left out)")
    seed: int = Field(ge=0, description="Which sentences are drawn")

    @model_validator(mode="after")
    def _consistent(self) -> "CorpusParams":
        _check_words(self.min_words, self.max_words)
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


def prepare_corpus(params: CorpusParams, out: Path) -> dict[str, float]:
    """Write corpus.parquet into `out`; give the count.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    texts = {"docstrings": _docstring_texts, "hub": _hub_texts, "files": _file_texts}[params.source](params)
    available = sum(1 for _ in texts())
    if not available:
        raise InputError(f"corpus.source = {params.source}: no sentence of {params.min_words} words or more in it")
    chosen = choose(available, params.sentences, params.seed)
    with fresh_dir(out) as folder:
        rows = ({"text": text} for take, text in zip(chosen, texts(), strict=True) if take)
        count = write_rows(rows, features(("text",), ()), folder / "corpus.parquet")
    short = "" if params.sentences is None or count == params.sentences else f" (asked: {params.sentences:,})"
    print(f"corpus: {count:,} of {available:,} sentences{short}", flush=True)
    return {"sentences": count}


def _docstring_texts(params: CorpusParams) -> Callable[[], Iterator[str]]:
    """Sentences outside the held-out part, so that no corpus has seen a validation sentence."""
    each = math.inf if params.sentences is None else CORPUS_SURPLUS * params.sentences / len(params.libraries)
    pools = read_pools(params.libraries, each, 0, (params.min_words, params.max_words))
    found = list({sentence: None for pool in pools for sentence in pool.open})
    mixed = draw(found, len(found), params.seed)
    return lambda: iter(mixed)


def _hub_texts(params: CorpusParams) -> Callable[[], Iterator[str]]:
    lines = hub_lines(params)
    return lambda: passages(lines(), (params.min_words, params.max_words))


def _file_texts(params: CorpusParams) -> Callable[[], Iterator[str]]:
    lines = file_lines(params)
    return lambda: passages(lines(), (params.min_words, params.max_words))


def hub_lines(params: CorpusParams) -> Callable[[], Iterator[str]]:
    """The rows of a corpus of the hub.

    Raises:
        InputError: it is not named, or has no such column.
        ConnectionError: the hub cannot be reached.
    """
    hub = params.hub
    if hub.name is None:
        raise InputError("corpus.hub.name = null: name a dataset, or choose another corpus.source")
    data = load_split(hub.name, hub.config, hub.revision, hub.split)
    if hub.column not in data.column_names:
        raise wrong_column(f"corpus.hub.column: dataset '{hub.name}'", hub.column, data.column_names)
    lines = data.select_columns([hub.column])
    return lambda: (row[hub.column] or "" for row in lines)


def file_lines(params: CorpusParams) -> Callable[[], Iterator[str]]:
    """The lines of a folder of text.

    Raises:
        InputError: no folder is named; while they are read, that it has no text.
    """
    if params.folder is None:
        raise InputError("corpus.folder = null: name a folder of .txt, or choose another corpus.source")
    folder = Path(params.folder)
    return lambda: read_folder(folder)


def _check_words(fewest: int, most: int) -> None:
    if fewest > most:
        raise ValueError(f"min_words ({fewest}) is above max_words ({most})")


if __name__ == "__main__":
    program.run(main)
