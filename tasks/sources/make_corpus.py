"""The corpus: plain text for general distillation, as corpus.parquet with the column text.

The source is read twice: once to count, once to write what is drawn.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from stillhouse.errors import InputError
from tasks.sources.blocks import check_word_limits
from tasks.sources.builtin.docstrings import draw, read_pools
from tasks.sources.hub import load_split
from tasks.sources.split import wrong_column
from tasks.sources.texts import passages, read_folder
from tasks.sources.write import choose, features, write_rows
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import Block

# Docstrings are read until a library has this many times its share of the sentences: libraries have some in common.
CORPUS_SURPLUS = 1.25


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
        check_word_limits(self.min_words, self.max_words)
        return self


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
