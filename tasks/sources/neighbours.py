"""Pairs of sentences that follow each other in a document. Each sentence is in one pair at most."""

import re
from collections.abc import Iterable, Iterator

from tasks.sources.builtin.docstrings import docstrings, find_library, is_held_out, source_files
from tasks.sources.prose import MASK, is_natural, name_pattern, paragraphs, plain, split_sentences
from tasks.sources.texts import HEADING

Pair = tuple[str, str]


def pairs_of_docstrings(libraries: list[str], need: float, words: tuple[int, int]) -> dict[Pair, None]:
    """Pairs within a paragraph of a docstring, library names masked; each once, in the order in which they are found.

    Args:
        libraries: import names.
        need: pairs after which no more files of a library are read.
        words: fewest and most words of a sentence.

    Raises:
        InputError: a library is not installed, or has no Python source.
    """
    names = name_pattern(libraries)
    folders = [find_library(library) for library in libraries]
    found: dict[Pair, None] = {}
    for folder in folders:
        own: dict[Pair, None] = {}
        for file in source_files(folder):
            if len(own) >= need:
                break
            for docstring in docstrings(file):
                own.update(dict.fromkeys(neighbours(_sentences(docstring, names, words))))
        found |= own
    return found


def pairs_of_lines(lines: Iterable[str], words: tuple[int, int]) -> Iterator[Pair]:
    """Pairs within a line, which is a paragraph; `= headings =` have none, and what is too long is cut into several.

    Args:
        lines: a paragraph each.
        words: fewest and most words of a segment.
    """
    for line in lines:
        text = line.strip()
        if text and not HEADING.match(text):
            yield from neighbours(_segments(text, words))


def neighbours(found: Iterable[str | None]) -> Iterator[Pair]:
    """The first with the second, the third with the fourth, and so on; None is a gap over which there is no pair."""
    before = None
    for sentence in found:
        if before is not None and sentence is not None:
            yield before, sentence
            before = None
        else:
            before = sentence


def _sentences(docstring: str, names: re.Pattern[str], words: tuple[int, int]) -> Iterator[str | None]:
    """Sentences that are no validation sentence of the task; None for what is left out, and after each paragraph."""
    for paragraph in paragraphs(docstring):
        for sentence in split_sentences(plain(paragraph)):
            masked = names.sub(MASK, sentence)
            fits = is_natural(sentence) and words[0] <= len(masked.split()) <= words[1]
            yield masked if fits and not is_held_out(masked) else None
        yield None


def _segments(text: str, words: tuple[int, int]) -> Iterator[str | None]:
    fewest, most = words
    for sentence in split_sentences(text):
        parts = sentence.split()
        for start in range(0, len(parts), most):
            part = parts[start : start + most]
            yield " ".join(part) if len(part) >= fewest else None
