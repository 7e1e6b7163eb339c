"""Tables in local files, read a row at a time: TSV, CSV, JSON lines, a JSON list, Parquet."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import InputError
from tasks.sources.split import Row, Rows, Split

BATCH = 10_000  # rows of a Parquet file in memory at a time
CHUNK = 1 << 20  # characters of a JSON list read at a time


def read_table(file: Path, header: tuple[str, ...] | None = None) -> Split:
    """The rows of a file, its format told by its suffix.

    In .tsv, as GLUE and others publish it, quotes are text; in .csv they quote.

    Args:
        file: its path.
        header: column names of a .tsv that has no header.

    Raises:
        InputError: no such file, or an unknown suffix. Reading raises it for a damaged line.
    """
    readers: dict[str, Callable[[Path], Rows]] = {
        ".tsv": lambda path: lambda: _delimited(path, "\t", csv.QUOTE_NONE, header),
        ".csv": lambda path: lambda: _delimited(path, ",", csv.QUOTE_MINIMAL, header),
        ".jsonl": lambda path: lambda: _json_lines(path),
        ".json": lambda path: lambda: _json(path),
        ".parquet": lambda path: lambda: _parquet(path),
    }
    existing(file)
    if file.suffix not in readers:
        raise InputError(f"'{file}': unknown format '{file.suffix}': known are {', '.join(readers)}")
    unit = "row" if file.suffix in (".parquet", ".json") else "line"
    return Split(str(file), unit, readers[file.suffix](file))


def existing(file: Path) -> Path:
    """The file, if it is there.

    Raises:
        InputError: it is not; the message names what is.
    """
    if file.is_file():
        return file
    if not file.parent.is_dir():
        raise InputError(f"'{file}': no such folder '{file.parent}': correct it in params.yaml")
    beside = sorted(path.name for path in file.parent.iterdir() if path.is_file())
    raise InputError(f"'{file}' is missing: the folder has {', '.join(beside[:10]) or 'no files'}")


def _delimited(file: Path, delimiter: str, quoting: int, header: tuple[str, ...] | None) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(sys.maxsize)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=quoting != csv.QUOTE_NONE)
        names = header
        try:
            for fields in reader:
                if names is None:
                    names = tuple(name.strip() for name in fields)
                elif len(fields) != len(names):
                    if not fields:
                        continue
                    raise InputError(
                        f"{file}, line {reader.line_num}: {len(fields)} fields where {len(names)} are expected "
                        f"({', '.join(names)})"
                    )
                else:
                    yield reader.line_num, dict(zip(names, fields, strict=True))
        except csv.Error as error:
            raise InputError(f"{file}, line {reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise _not_utf8(file, error) from None


def _json_lines(file: Path) -> Iterator[tuple[int, Row]]:
    with file.open(encoding="utf-8-sig") as stream:
        try:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except json.JSONDecodeError as error:
                        raise InputError(f"{file}, line {number}: not valid JSON: {error.msg}") from None
                    yield number, _mapping(file, "line", number, row)
        except UnicodeDecodeError as error:
            raise _not_utf8(file, error) from None


def _json(file: Path) -> Iterator[tuple[int, Row]]:
    """A list of objects, or (as many call .json what is) one object a line."""
    with file.open(encoding="utf-8-sig") as stream:
        try:
            start = stream.read(CHUNK).lstrip()[:1]
        except UnicodeDecodeError as error:
            raise _not_utf8(file, error) from None
    yield from _json_list(file) if start == "[" else _json_lines(file)


def _json_list(file: Path) -> Iterator[tuple[int, Row]]:
    decoder = json.JSONDecoder()
    with file.open(encoding="utf-8-sig") as stream:
        window = stream.read(CHUNK).lstrip().removeprefix("[").lstrip()
        line, number, ended = 1, 0, False
        while True:
            if window.startswith("]"):
                return
            try:
                row, end = decoder.raw_decode(window)
            except json.JSONDecodeError as error:
                # Either the object goes on beyond the window, or it is broken: the end of the file tells.
                more = "" if ended else stream.read(max(CHUNK, len(window)))
                if more:
                    window += more
                    continue
                raise InputError(f"{file}, after row {number}: not valid JSON: {error.msg}") from None
            number += 1
            yield number, _mapping(file, "row", number, row)
            window = window[end:].lstrip()
            if len(window) < 2:
                window += stream.read(CHUNK)
            window = window.lstrip().removeprefix(",").lstrip()


def _parquet(file: Path) -> Iterator[tuple[int, Row]]:
    try:
        number = 0
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowInvalid as error:
        raise InputError(f"'{file}': not a readable Parquet file: {str(error).splitlines()[0]}") from None


def _mapping(file: Path, unit: str, number: int, row: object) -> Row:
    if not isinstance(row, dict):
        raise InputError(f"{file}, {unit} {number}: a {type(row).__name__} where an object with columns is expected")
    return row


def _not_utf8(file: Path, error: UnicodeDecodeError) -> InputError:
    return InputError(f"{file}: not UTF-8 text (byte 0x{error.object[error.start]:02x}): convert it first")
