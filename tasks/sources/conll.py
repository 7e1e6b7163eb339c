"""CoNLL files: a word a line, with its label in another column; an empty line ends a sentence.

Columns stand apart by tabs where the first line of words has one, else by white space. Lines of -DOCSTART- begin a
document, and are no words. Before a sentence, a line without a tab that begins with # is a remark where columns stand
apart by tabs, as in CoNLL-U; else it is a word.
"""

from collections.abc import Iterator
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.files import existing
from tasks.sources.split import Row, Split, not_utf8

BLANK = " \t\r\n"
DOCUMENT = "-DOCSTART-"


def read_conll(file: Path, word: int | None, label: int | None) -> Split:
    """The sentences of a file: rows of lists, `text` of words and `label`; a row's number is its first line's.

    Args:
        word, label: positions of their columns, from 1; None: the first, and the last.

    Raises:
        InputError: there is no such file. Reading raises it for a damaged line.
    """
    existing(file)
    return Split(str(file), "line", lambda: _sentences(file, word, label))


def _sentences(file: Path, word: int | None, label: int | None) -> Iterator[tuple[int, Row]]:
    words: list[str] = []
    labels: list[str] = []
    first = 0
    try:
        tabs = _has_tabs(file)
        with file.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if tabs and not words and _remark(line):
                    continue
                fields = _fields(line, tabs)
                if not fields or fields[0] == DOCUMENT:
                    if words:
                        yield first, {"text": words, "label": labels}
                    words, labels = [], []
                    continue
                first = first if words else number
                words.append(_column(fields, word or 1, file, number, "word"))
                labels.append(_column(fields, label or max(len(fields), 2), file, number, "label"))
    except UnicodeDecodeError as error:
        raise not_utf8(file, error) from None
    if words:
        yield first, {"text": words, "label": labels}


def _has_tabs(file: Path) -> bool:
    """Whether columns stand apart by tabs: as they do in the first line of words."""
    with file.open(encoding="utf-8-sig") as stream:
        for line in stream:
            if line.strip(BLANK) and not line.startswith(DOCUMENT) and not _remark(line):
                return "\t" in line.rstrip("\r\n")
    return True


def _remark(line: str) -> bool:
    return line.startswith("#") and "\t" not in line


def _fields(line: str, tabs: bool) -> list[str]:
    """The columns of a line; none of an empty one."""
    text = line.strip(BLANK)
    return [field.strip(BLANK) for field in text.split("\t" if tabs else None)] if text else []


def _column(fields: list[str], place: int, file: Path, number: int, name: str) -> str:
    if place > len(fields):
        raise InputError(
            f"{file}, line {number}: {len(fields)} columns ({' '.join(fields)[:60]!r}), the {name} is expected in the "
            f"{place}th: a word and its label stand in one line"
        )
    return fields[place - 1]
