"""The built-in task of several labels: which of the parameters that many functions have does this one take?

A row is the first sentence of a function's docstring, in numpy's style; its labels are those of the asked parameters
that stand in the docstring's own section on parameters. The sentence's own hash says whether it is held out.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

from tasks.sources.blocks import DataParams
from tasks.sources.builtin.docstrings import docstrings, find_library, source_files
from tasks.sources.builtin.drawn import as_splits, draw_rows
from tasks.sources.builtin.parameters import parameters
from tasks.sources.prose import plain, split_sentences
from tasks.sources.split import Source

# Of the pinned libraries' functions, at least one in a hundred takes each of these.
ASKED = (
    *("axis", "dtype", "out", "copy", "random_state", "sample_weight", "n_jobs", "verbose", "tol", "method", "level"),
    *("fill_value", "skipna", "numeric_only", "x", "y"),
)


def read_functions(params: DataParams) -> Source:
    """The functions of the libraries that params.yaml names.

    Raises:
        InputError: a library is not installed, or has fewer functions than are asked for.
    """
    asked = tuple(params.labels) if isinstance(params.labels, list) else ASKED
    p = params.docstrings
    rows = draw_rows(
        params, lambda library: _read_library(library, set(asked), (p.min_words, p.max_words)), "functions"
    )
    if params.labels is None:
        # Of few functions, none may take one of them.
        asked = tuple(name for name in asked if any(name in row["label"] for row in rows["train"]))
        for row in (*rows["train"], *rows["validation"]):
            row["label"] = [name for name in row["label"] if name in asked]
    return Source(as_splits(rows), ("text", "label"), asked, ("text",), ("text",))


def _read_library(library: str, asked: set[str], words: tuple[int, int]) -> list[dict]:
    """All rows of a library; a sentence that two functions share has the labels of both."""
    found: dict[str, set[str]] = {}
    for file in source_files(find_library(library)):
        for sentence, taken in functions_of(file):
            if words[0] <= len(sentence.split()) <= words[1]:
                found.setdefault(sentence, set()).update(asked & taken)
    return [{"text": sentence, "label": sorted(labels)} for sentence, labels in found.items()]


def functions_of(file: Path) -> Iterator[tuple[str, set[str]]]:
    """Of each docstring of a file with a section on parameters: its first sentence, and the parameters' names."""
    for docstring in docstrings(file):
        section = parameters(docstring)
        opening = inspect.cleandoc(docstring).partition("\n\n")[0]
        sentence = next(split_sentences(plain(opening)), "")
        if section and sentence:
            yield sentence, {name for entry in section for name in entry.names}
