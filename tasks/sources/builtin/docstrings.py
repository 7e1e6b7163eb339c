"""The built-in source: sentences from the docstrings of installed libraries, which are read, never imported.

A sentence's own hash says whether it is held out (for validation) or not (for training and the corpus). So the two
never share one, whatever the libraries, the counts and the seed of either are.
"""

import ast
import hashlib
import importlib.util
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.prose import name_pattern, sentences

HELD_OUT = 5  # one sentence in so many is for validation
_OTHERS = {"tests", "test", "testing", "_vendor", "externals", "vendored", "_libs"}


@dataclass(frozen=True)
class Pool:
    """The sentences found in one library."""

    library: str
    open: list[str]  # for training and the corpus
    held_out: list[str]
    files_read: int
    files: int


def read_pools(libraries: list[str], need_open: float, need_held_out: float, words: tuple[int, int]) -> list[Pool]:
    """Read files of each library until it has the needed sentences, or there are no more.

    Args:
        libraries: import names.
        need_open: sentences wanted of each library outside the held-out part.
        need_held_out: and of the held-out part.
        words: fewest and most words of a sentence.

    Raises:
        InputError: a library is not installed, or has no Python source.
    """
    names = name_pattern(libraries)
    folders = [find_library(library) for library in libraries]
    return [
        _read_pool(library, folder, need_open, need_held_out, words, names)
        for library, folder in zip(libraries, folders, strict=True)
    ]


def distinct(pools: list[Pool]) -> list[Pool]:
    """Drop every sentence that two libraries share: it has no one right answer."""
    seen: set[str] = set()
    shared: set[str] = set()
    for pool in pools:
        own = {*pool.open, *pool.held_out}
        shared |= seen & own
        seen |= own
    return [
        Pool(
            pool.library,
            [sentence for sentence in pool.open if sentence not in shared],
            [sentence for sentence in pool.held_out if sentence not in shared],
            pool.files_read,
            pool.files,
        )
        for pool in pools
    ]


def draw(found: list[str], count: int, seed: int) -> list[str]:
    """Draw `count` sentences (all, where there are fewer) by hash, in an order that depends on the seed alone."""
    return sorted(found, key=lambda sentence: digest(f"{seed}\n{sentence}"))[:count]


def is_held_out(sentence: str) -> bool:
    """Whether a sentence is for validation."""
    return int.from_bytes(digest(sentence)[:8], "big") % HELD_OUT == 0


def find_library(library: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        InputError: it is not installed, or is no package of Python files.
    """
    spec = importlib.util.find_spec(library) if library.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"library '{library}' is not installed (or is no package): install it, or take it off the list"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _read_pool(
    library: str, folder: Path, need_open: float, need_held_out: float, words: tuple[int, int], names: re.Pattern[str]
) -> Pool:
    files = source_files(folder)
    found: dict[bool, dict[str, None]] = {False: {}, True: {}}
    read = 0
    for file in files:
        if len(found[False]) >= need_open and len(found[True]) >= need_held_out:
            break
        read += 1
        for docstring in docstrings(file):
            for sentence in sentences(docstring, names):
                if words[0] <= len(sentence.split()) <= words[1]:
                    found[is_held_out(sentence)][sentence] = None
    return Pool(library, list(found[False]), list(found[True]), read, len(files))


def source_files(folder: Path) -> list[Path]:
    """Every module but tests and vendored code, in the order of their paths' hashes: any prefix is a fair sample."""
    inside = [(file, file.relative_to(folder)) for file in folder.rglob("*.py")]
    own = [(file, path) for file, path in inside if not _OTHERS & set(path.parts) and not path.name.startswith("test_")]
    return [file for file, path in sorted(own, key=lambda pair: digest(pair[1].as_posix()))]


def docstrings(file: Path) -> Iterator[str]:
    """Every docstring of a Python file; none of one that does not parse."""
    source = file.read_bytes()
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            module = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # a template, or a file for another Python
    yield from _documented(module)


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if text := ast.get_docstring(node, clean=False):
        yield text
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _documented(child)


def digest(text: str) -> bytes:
    """The hash that decides where a text goes."""
    return hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).digest()
