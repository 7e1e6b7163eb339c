"""The built-in task of tokens: which words of a docstring's section on parameters are a name, a type, a default?

A row is some entries of one section in numpy's style, as many as fit into the words that a row may have. A name stands
at the head of its entry, and perhaps in the description of another, where it is none: what a word is, its place says,
and the words around it. The row's own hash says whether it is held out.
"""

import re
from collections.abc import Iterator

from stillhouse.tagging.schemes import OUTSIDE
from tasks.sources.blocks import DataParams
from tasks.sources.builtin.docstrings import docstrings, find_library, source_files
from tasks.sources.builtin.drawn import as_splits, draw_rows
from tasks.sources.builtin.parameters import Parameter, default_of, parameters
from tasks.sources.split import Source

NAME, TYPE, DEFAULT = "name", "type", "default"
# All of them, in order: the rows of a small task need not have each.
LABELS = (*(f"{prefix}-{kind}" for prefix in "BI" for kind in (DEFAULT, NAME, TYPE)), OUTSIDE)
_DEFAULT_PART = re.compile(r",? *\(?\b(?:optional|default)\b.*", re.IGNORECASE)  # of a type, what is none


def read_sections(params: DataParams) -> Source:
    """The sections of the libraries that params.yaml names.

    Raises:
        InputError: a library is not installed, or has fewer sections than are asked for.
    """
    rows = draw_rows(params, lambda library: _read_library(library, params), "sections")
    return Source(as_splits(rows), ("text", "label"), LABELS, ("text",), ("text",))


def _read_library(library: str, params: DataParams) -> list[dict]:
    """All rows of a library; of two with one text the first."""
    p = params.docstrings
    found: dict[str, dict] = {}
    for file in source_files(find_library(library)):
        for docstring in docstrings(file):
            row = section_row(parameters(docstring), p.max_words)
            if row and len(row["text"].split()) >= p.min_words:
                found.setdefault(row["text"], row)
    return list(found.values())


def section_row(section: list[Parameter], most: int) -> dict:
    """Text and spans of the first entries that have at most so many words; empty where there is no such entry."""
    text, spans, words = "", [], 0
    for entry in section:
        described = entry.description
        head = ", ".join(entry.names) + (f" : {entry.type}" if entry.type else "")
        count = len(f"{head} {described}".split())
        if words + count > most:
            break
        words += count
        at = len(text) + 1 if text else 0
        text += f"{' ' if text else ''}{head}{' ' if described else ''}{described}"
        spans += list(_spans(entry, at))
    return {"text": text, "label": spans} if spans else {}


def _spans(entry: Parameter, at: int) -> Iterator[dict]:
    """The spans of an entry that begins at a character."""
    for name in entry.names:
        yield {"start": at, "end": at + len(name), "label": NAME}
        at += len(name) + len(", ")
    typed = at - len(", ") + len(" : ")
    described = (typed + len(entry.type) if entry.type else at - len(", ")) + 1
    said = _DEFAULT_PART.sub("", entry.type).rstrip()
    if said:
        yield {"start": typed, "end": typed + len(said), "label": TYPE}
    stated = default_of(entry, typed, described)
    if stated and stated[1] >= typed + len(said):
        value, place = stated
        yield {"start": place, "end": place + len(value), "label": DEFAULT}
