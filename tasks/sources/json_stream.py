"""A list in a JSON file, an element at a time: no more of the file is in memory than the longest element takes.

Python's own decoder reads each element, so what it accepts and how it names what it does not is what `json.loads` does.
It wants an element whole: where one does not end within what was read, twice as much is read and it begins anew.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from stillhouse.errors import InputError
from tasks.sources.split import not_utf8

CHUNK = 1 << 16  # letters that are read at a time, at first
SPACE = (" ", "\t", "\n", "\r")
AFTER = (*SPACE, ",", ":", "]", "}")  # what may stand after a value
_decode = json.JSONDecoder().raw_decode


def elements(file: Path, key: str | None = None) -> Iterator[Any]:
    """The elements of the file's list, or of the list that its object has under `key`.

    Raises:
        InputError: it is not JSON, or not UTF-8; the message has the file and the line.
        KeyError: the object has no such key.
        TypeError: something else stands where the list or the object is expected.
    """
    with file.open(encoding="utf-8-sig") as stream:
        text = _Text(stream)
        try:
            if key is None:
                yield from text.list_of("the file")
            else:
                yield from text.under(key)
            text.end()
        except json.JSONDecodeError as error:
            line = text.dropped + error.lineno
            raise InputError(f"{file}, line {line}: not valid JSON: {error.msg}") from None
        except UnicodeDecodeError as error:
            raise not_utf8(file, error) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}: not valid JSON: {said(error)}") from None


def said(error: Exception) -> str:
    """Python's words for what is wrong with JSON; it also refuses numbers of thousands of digits, and deep nesting."""
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition(";")[0][:120]


def _after_space(text: str, place: int) -> int:
    while text[place : place + 1] in SPACE:
        place += 1
    return place


class _Text:
    """What was read of the stream, and the place in it up to which it is decoded.

    dropped: line breaks in what was read before and is kept no more.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.dropped = 0
        self._read = ""
        self._at = 0

    def list_of(self, name: str) -> Iterator[Any]:
        """The elements of the list that begins here."""
        if self.next() != "[":
            self.value()  # which says so where it is no JSON at all
            raise TypeError(f"{name} is no list")
        yield from self._inside("]", self.value)

    def under(self, key: str) -> Iterator[Any]:
        """The elements of the list under a key of the object that begins here; what else it has is read and left."""
        if self.next() != "{":
            self.value()
            raise TypeError("the file is no object")
        seen = False
        for name in self._inside("}", self._name):
            if name == key:
                yield from self.list_of(f"'{key}'")
                seen = True
            else:
                self.value()
        if not seen:
            raise KeyError(key)

    def end(self) -> None:
        """Nothing but space follows."""
        if self.next():
            raise self.fault("Extra data")

    def next(self) -> str:
        """The next letter that is no space, where the place is then; at the end none."""
        while True:
            self._at = _after_space(self._read, self._at)
            if self._at < len(self._read) or not self._more():
                return self._read[self._at : self._at + 1]

    def value(self) -> Any:
        """The value that begins here."""
        self.next()
        while True:
            try:
                value, end = _decode(self._read, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            # A number that ends where the text does may go on; so may 1 where 1e was read, and a 5 is still to come.
            if self._read[end : end + 1] in AFTER or not self._more():
                self._at = end
                return value

    def fault(self, message: str) -> json.JSONDecodeError:
        """What is wrong here."""
        return json.JSONDecodeError(message, self._read, self._at)

    def _inside(self, close: str, read: Callable[[], Any]) -> Iterator[Any]:
        """What stands between the bracket here and the one that closes it, read one after the other."""
        self._at += 1
        if self.next() != close:
            yield read()
            while self.next() == ",":
                self._at += 1
                yield read()
        if self.next() != close:
            raise self.fault("Expecting ',' delimiter")
        self._at += 1

    def _name(self) -> str:
        """A key of an object, and the colon after it."""
        if self.next() != '"':
            raise self.fault("Expecting property name enclosed in double quotes")
        name: str = self.value()
        if self.next() != ":":
            raise self.fault("Expecting ':' delimiter")
        self._at += 1
        return name

    def _more(self) -> bool:
        """Keep what is not decoded, and read as much again; whether there was any."""
        found = self.stream.read(max(CHUNK, len(self._read) - self._at))
        if not found:
            return False
        self.dropped += self._read.count("\n", 0, self._at)
        self._read, self._at = self._read[self._at :] + found, 0
        return True
