"""Questions on a context, with the answer's place in it, or without one: train.parquet and validation.parquet.

Their columns are id, question, context and answers {text, answer_start}, the schema of SQuAD 2.0 on the hub; empty
lists are no answer.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stillhouse.errors import InputError
from tasks.sources.blocks import HubParams
from tasks.sources.docstrings import digest
from tasks.sources.hub import read_hub_questions
from tasks.sources.parameters import draw_questions, read_questions
from tasks.sources.questions import survey_questions
from tasks.sources.split import QUESTIONS, Source, Split
from tasks.sources.squad import read_squad_folder
from tasks.sources.write import write_both
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import Block

# Docstrings are read until a library has this many times the questions asked for; what is drawn is a sample of those.
SURPLUS = 2


class QaDocstringParams(Block):
    """`qa.docstrings`: what do the docstrings of these libraries say of a parameter?"""

    libraries: list[str] = Field(min_length=1, description="Import names of installed packages, numpy's style")
    train_per_library: int = Field(gt=0, description="Training questions of each")
    validation_per_library: int = Field(gt=0, description="Validation questions of each")
    unanswerable: float = Field(ge=0, lt=1, description="Share of them whose answer is not in the context")
    max_words: int = Field(gt=0, description="Longer contexts are left out")


class QaFileParams(Block):
    """`qa.files`: JSON files in SQuAD's layout."""

    folder: str | None = Field(description="Where they are")
    train: str | None = Field(description="Name of the training file; null: train.json")
    validation: str | None = Field(description="Name of the validation file; null: dev.json")


class QaParams(Block):
    """`qa`: the questions."""

    source: Literal["docstrings", "hub", "files"] = Field(description="Where they come from")
    seed: int = Field(ge=0, description="Which are drawn")
    train_limit: int | None = Field(gt=0, description="Kept of the training split, null for all")
    validation_limit: int | None = Field(gt=0, description="Kept of the validation split, null for all")
    docstrings: QaDocstringParams
    hub: HubParams
    files: QaFileParams


def prepare_qa(params: QaParams, out: Path) -> dict[str, float]:
    """Write train.parquet and validation.parquet into `out`; give the counts.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    read = {"docstrings": _docstring_questions, "hub": _hub_questions, "files": _file_questions}[params.source]
    source = read(params)
    train, validation = survey_questions(source)
    limits = params.train_limit, params.validation_limit
    with fresh_dir(out) as folder:
        counts = write_both(train, validation, QUESTIONS, (), limits, params.seed, folder)
    return counts


def _docstring_questions(params: QaParams) -> Source:
    p = params.docstrings
    need: dict[tuple[str, bool], int] = {}
    for split, count in (("train", p.train_per_library), ("validation", p.validation_per_library)):
        need[split, False] = round(count * p.unanswerable)
        need[split, True] = count - need[split, False]
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    for library in p.libraries:
        pool = read_questions(library, {kind: SURPLUS * count for kind, count in need.items()}, p.max_words)
        found = sum(len(questions) for questions in pool.questions.values())
        print(f"{library}: found {found:,} questions in {pool.files_read:,} of {pool.files:,} files", flush=True)
        for kind, count in need.items():
            rows[kind[0]] += draw_questions(pool, kind, count, params.seed)
    train, validation = (_mixed(split, rows[split], params.seed) for split in ("train", "validation"))
    return Source(train, validation, QUESTIONS, None)


def _mixed(name: str, rows: list[dict[str, Any]], seed: int) -> Split:
    """The questions of all libraries, mixed."""
    mixed = sorted(rows, key=lambda row: digest(f"{seed}\n{row['id']}"))
    return Split(f"docstrings ({name})", "question", lambda: iter(enumerate(mixed, start=1)))


def _hub_questions(params: QaParams) -> Source:
    hub = params.hub
    if hub.name is None:
        raise InputError("qa.hub.name = null: name a dataset, such as rajpurkar/squad_v2, or another qa.source")
    return read_hub_questions(hub.name, hub.config, hub.revision, (hub.train_split, hub.validation_split))


def _file_questions(params: QaParams) -> Source:
    files = params.files
    if files.folder is None:
        raise InputError("qa.files.folder = null: name a folder of train.json and dev.json, or another qa.source")
    return read_squad_folder(Path(files.folder), files.train, files.validation)
