"""Answers: questions on a context, with the answer's place in it, or without one.

train.parquet, validation.parquet, and test.parquet where there is one, with the columns id, question, context and
answers {text, answer_start}, the schema of SQuAD 2.0 on the hub; empty lists are no answer.
"""

from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.builtin.docstrings import digest
from tasks.sources.builtin.parameters import draw_questions, read_questions
from tasks.sources.hub import read_hub_questions
from tasks.sources.questions import survey_questions
from tasks.sources.shares import with_shares
from tasks.sources.split import QUESTIONS, Source, Split
from tasks.sources.squad import read_squad_folder
from tasks.sources.write import write_task

# Docstrings are read until a library has this many times the questions asked for; what is drawn is a sample of those.
SURPLUS = 2


def prepare_questions(params: DataParams, out: Path) -> dict[str, float]:
    """Write the splits into `out`; give the counts.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    if params.labels is not None:
        raise InputError(f"data.labels = {params.labels}: answers have no labels: set it to null")
    whole = with_shares(questions(params), params)
    return write_task(whole, lambda source: (survey_questions(source), ()), params, out)


def questions(params: DataParams) -> Source:
    """The questions, as params.yaml says where they come from."""
    return {"docstrings": _docstring_questions, "hub": _hub_questions, "files": _file_questions}[params.source](params)


def _docstring_questions(params: DataParams) -> Source:
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
    splits = {split: _mixed(split, rows[split], params.seed) for split in ("train", "validation")}
    return Source(splits, QUESTIONS, None, ("question", "context"), ("context",))


def _mixed(name: str, rows: list[dict[str, Any]], seed: int) -> Split:
    """The questions of all libraries, mixed."""
    mixed = sorted(rows, key=lambda row: digest(f"{seed}\n{row['id']}"))
    return Split(f"docstrings ({name})", "question", lambda: iter(enumerate(mixed, start=1)))


def _hub_questions(params: DataParams) -> Source:
    if params.hub.name is None:
        raise InputError("data.hub.name = null: name a dataset, such as rajpurkar/squad_v2, or another data.source")
    return read_hub_questions(params.hub)


def _file_questions(params: DataParams) -> Source:
    files = params.files
    if files.folder is None or files.layout != "squad":
        raise InputError(
            f"data.files.folder = {files.folder}, data.files.layout = {files.layout}: "
            "answers are read from files of the layout squad: name both, or choose another data.source"
        )
    names = {"train": files.train, "validation": files.validation, "test": files.test}
    return read_squad_folder(Path(files.folder), names)
