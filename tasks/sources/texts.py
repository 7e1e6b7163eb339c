"""A plain-text corpus: from long lines to passages."""

import re
from collections.abc import Iterator
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.prose import split_sentences

HEADING = re.compile(r"=.*=$")


def read_folder(folder: Path) -> Iterator[str]:
    """The lines of a folder's .txt files, in the order of their names.

    Raises:
        InputError: no such folder, none in it, or one is not UTF-8.
    """
    if not folder.is_dir():
        raise InputError(f"corpus.folder = '{folder}': no such folder")
    files = sorted(file for file in folder.glob("*.txt") if file.is_file())
    if not files:
        raise InputError(f"corpus.folder = '{folder}': no .txt file in it")
    for file in files:
        with file.open(encoding="utf-8-sig") as stream:
            try:
                yield from stream
            except UnicodeDecodeError as error:
                raise InputError(f"{file}: not UTF-8 text ({error.reason}): convert it first") from None


def passages(lines: Iterator[str], words: tuple[int, int]) -> Iterator[str]:
    """Sentences of the lines; `= headings =` and what is too short are left out, what is too long is cut.

    Args:
        lines: a paragraph or a sentence each.
        words: fewest and most words of a passage.
    """
    fewest, most = words
    for line in lines:
        text = line.strip()
        if not text or HEADING.match(text):
            continue
        for sentence in split_sentences(text):
            parts = sentence.split()
            for start in range(0, len(parts), most):
                if len(parts) - start >= fewest:
                    yield sentence if len(parts) <= most else " ".join(parts[start : start + most])
