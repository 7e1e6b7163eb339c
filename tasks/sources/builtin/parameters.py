"""The built-in questions: what the docstrings of installed libraries say of the parameters of a function.

A context is the "Parameters" section of one docstring in numpy's style, a line or two a parameter. Of each one it is
asked what it is (the answer is the first sentence of its description), what type it has, and what its default is, where
it states one. A question without an answer asks the same of a parameter of another docstring of the same module, whose
name does not stand in the context. The context's own hash says whether it is held out, so that no context, whatever the
libraries and the seed, is in both splits.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.sources.builtin.docstrings import digest, docstrings, find_library, is_held_out, source_files
from tasks.sources.prose import plain, split_sentences

ASKED = {"what": "What is `{}`?", "type": "What type is `{}`?", "default": "What is the default of `{}`?"}
LONGEST_ANSWER = 25  # words

_HEADING = re.compile(r"\s*parameters\s*:?\s*$", re.IGNORECASE)
_UNDERLINE = re.compile(r"\s*-{3,}\s*$")
_ENTRY = re.compile(r"(\*{0,2}\w+(?:, ?\*{0,2}\w+)*) ?(?:: ?(.*))?$")
_TEMPLATE = re.compile(r"%\(\w+\)s|\{\w*\}")  # filled in when the library is imported
_VALUE = r"'[^']*'|\"[^\"]*\"|-?\d[\w.+-]*|None\b|True\b|False\b"
_DEFAULT = re.compile(rf"\bdefault(?:s| value)?(?:\s+is|\s+to)?\s*[:=]?\s*({_VALUE})", re.IGNORECASE)


@dataclass(frozen=True)
class Parameter:
    """One entry of a section: the names that share it, its type, its description; the last two may be ""."""

    names: tuple[str, ...]
    type: str
    description: str


@dataclass(frozen=True)
class QuestionPool:
    """The questions of one library, by split and by whether they have an answer."""

    library: str
    questions: dict[tuple[str, bool], list[dict[str, Any]]]  # of (train or validation, answerable)
    files_read: int
    files: int


def read_questions(library: str, need: dict[tuple[str, bool], float], most_words: int) -> QuestionPool:
    """Read files of a library until it has the needed questions, or there are no more.

    Args:
        library: import name.
        need: questions wanted of each kind.
        most_words: longer contexts are left out.

    Raises:
        InputError: it is not installed, or has no Python source.
    """
    files = source_files(find_library(library))
    found: dict[tuple[str, bool], dict[str, dict[str, Any]]] = {kind: {} for kind in need}
    read = 0
    for file in files:
        if all(len(found[kind]) >= count for kind, count in need.items()):
            break
        read += 1
        for row in questions_of(file, most_words):
            split = "validation" if is_held_out(row["context"]) else "train"
            row["id"] = f"{library}-{digest(row['context'] + row['question']).hex()[:16]}"
            found[split, bool(row["answers"]["text"])][row["id"]] = row
    return QuestionPool(library, {kind: list(rows.values()) for kind, rows in found.items()}, read, len(files))


def draw_questions(pool: QuestionPool, kind: tuple[str, bool], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` questions of a kind by hash, in an order that depends on the seed alone.

    Raises:
        InputError: there are fewer.
    """
    found = pool.questions[kind]
    if len(found) < count:
        split, answerable = kind
        raise InputError(
            f"data.docstrings.{split}_per_library: '{pool.library}' has {len(found)} questions "
            f"{'with' if answerable else 'without'} an answer, {count} are wanted: lower it, or leave the library out"
        )
    return sorted(found, key=lambda row: digest(f"{seed}\n{row['id']}"))[:count]


def questions_of(file: Path, most_words: int) -> Iterator[dict[str, Any]]:
    """All questions over the docstrings of one file, the answerable ones of a context first."""
    sections = [found for docstring in docstrings(file) if (found := parameters(docstring))]
    names = sorted({name for section in sections for entry in section for name in entry.names})
    for section in sections:
        context = write_context(section)
        if len(context.split()) > most_words:
            continue
        own = _answers(section)
        for (kind, name), (text, at) in own.items():
            yield _row(ASKED[kind].format(name), context, text, at)
        words = set(re.findall(r"\w+", context))
        absent = [name for name in names if name not in words]
        for place, (kind, name) in enumerate(own):
            if absent:
                # As many as there are answerable ones, of names that the context decides.
                choice = int.from_bytes(digest(f"{context}{place}{name}")[:8], "big") % len(absent)
                yield _row(ASKED[kind].format(absent[choice]), context, None, 0)


def parameters(docstring: str) -> list[Parameter]:
    """The entries of a docstring's section on parameters; none where it has no such section, or not in this style."""
    lines = inspect.cleandoc(docstring).splitlines()
    begin = next(
        (i + 2 for i in range(len(lines) - 1) if _HEADING.match(lines[i]) and _UNDERLINE.match(lines[i + 1])), None
    )
    if begin is None:
        return []
    found: list[Parameter] = []
    for number, line in enumerate(lines[begin:], start=begin):
        if number + 1 < len(lines) and line.strip() and _UNDERLINE.match(lines[number + 1]):
            break
        if not line.strip():
            continue
        if line[0].isspace():
            if not found:
                return []
            last = found[-1]
            found[-1] = Parameter(last.names, last.type, f"{last.description} {line.strip()}")
        elif entry := _ENTRY.match(line.rstrip()):
            names = tuple(name.strip(" *") for name in entry[1].split(","))
            found.append(Parameter(names, entry[2] or "", ""))
        else:
            return []
    if any(_TEMPLATE.search(f"{each.type} {each.description}") for each in found):
        return []
    return [Parameter(each.names, plain(each.type), plain(each.description)) for each in found]


def write_context(section: list[Parameter]) -> str:
    """A section as text: `names : type`, and the description on the next line."""
    return "\n".join(part for entry in section for part in (_head(entry), entry.description) if part)


def _head(entry: Parameter) -> str:
    names = ", ".join(entry.names)
    return f"{names} : {entry.type}" if entry.type else names


def _answers(section: list[Parameter]) -> dict[tuple[str, str], tuple[str, int]]:
    """What can be asked of a section: (kind, name) → the answer and its place in the context."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    place = 0
    for entry in section:
        head = _head(entry)
        described = place + len(head) + 1
        first = next(split_sentences(entry.description), "")
        default = default_of(entry, place + len(head) - len(entry.type), described)
        for name in entry.names:
            if first and len(first.split()) <= LONGEST_ANSWER:
                found["what", name] = (first.rstrip("."), described)
            if entry.type:
                found["type", name] = (entry.type, place + len(head) - len(entry.type))
            if default:
                found["default", name] = default
        place = described + (len(entry.description) + 1 if entry.description else 0)
    return found


def default_of(entry: Parameter, typed: int, described: int) -> tuple[str, int] | None:
    """The default that an entry states, and its place.

    Args:
        typed, described: where the entry's type stands, and its description.
    """
    for text, place in ((entry.type, typed), (entry.description, described)):
        if stated := _DEFAULT.search(text):
            value = stated[1].rstrip(".")
            return value, place + stated.start(1)
    return None


def _row(question: str, context: str, answer: str | None, at: int) -> dict[str, Any]:
    answers = {"text": [], "answer_start": []} if answer is None else {"text": [answer], "answer_start": [at]}
    return {"id": "", "question": question, "context": context, "answers": answers}
