"""Tables in local files, read a row at a time: TSV, CSV, JSON lines, a JSON list, Parquet."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import InputError
from tasks.sources.json_stream import elements, said
from tasks.sources.split import Row, Rows, Split, not_utf8

BATCH = 10_000  # rows of a Parquet file in memory at a time


def read_table(
    file: Path, header: tuple[str, ...] | None = None, *, positions: bool = False, broken: bool = False
) -> Split:
    """The rows of a file, its format told by its suffix.

    In .tsv, as GLUE and others publish it, quotes are text; in .csv they quote.

    Args:
        file: its path.
        header: column names of a .tsv that has no header.
        positions: a .tsv or .csv has no header, and its columns are called 1, 2, ….
        broken: it is published with broken lines: those of a .tsv with another number of fields are left out, and
            counted in a line when the file has first been read to its end.

    Raises:
        InputError: no such file, an unknown suffix, or positions in a file that names its columns. Reading raises it
            for a damaged line.
    """
    left_out: set[int] | None = set() if broken else None
    readers: dict[str, Callable[[Path], Rows]] = {
        ".tsv": lambda path: (
            lambda: _delimited(path, "\t", header, quoted=False, positions=positions, left_out=left_out)
        ),
        ".csv": lambda path: lambda: _delimited(path, ",", header, quoted=True, positions=positions),
        ".jsonl": lambda path: lambda: _json_lines(path),
        ".ndjson": lambda path: lambda: _json_lines(path),
        ".json": lambda path: lambda: _json(path),
        ".parquet": lambda path: lambda: _parquet(path),
    }
    existing(file)
    suffix = file.suffix.lower()
    if suffix not in readers:
        raise InputError(f"'{file}': unknown format '{file.suffix}': known are {', '.join(readers)}")
    if positions and suffix not in (".tsv", ".csv"):
        raise InputError(f"'{file}': data.columns has positions, a {file.suffix} names its columns: use their names")
    unit = "row" if suffix in (".parquet", ".json") else "line"
    return Split(str(file), unit, readers[suffix](file))


def existing(file: Path) -> Path:
    """The file, if it is there.

    Raises:
        InputError: it is not; the message names what is.
    """
    if file.is_file():
        return file
    if not file.parent.is_dir():
        raise InputError(f"'{file}': no such folder '{file.parent}': correct it in params.yaml")
    found = sorted(path.name for path in file.parent.iterdir() if path.is_file())
    raise InputError(f"'{file}' is missing: the folder has {', '.join(found[:10]) or 'no files'}")


def _delimited(
    file: Path,
    delimiter: str,
    header: tuple[str, ...] | None,
    *,
    quoted: bool,
    positions: bool,
    left_out: set[int] | None = None,
) -> Iterator[tuple[int, Row]]:
    """The rows of a .tsv or .csv.

    Args:
        left_out: numbers of broken lines, to which this pass adds those that it meets; None: they are refused.
    """
    csv.field_size_limit(sys.maxsize)
    known, wrapped = len(left_out or ()), 0
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(
            stream, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=quoted
        )
        names: tuple[str | int, ...] | None = header
        try:
            for fields in reader:
                if names is None and positions:
                    names = tuple(range(1, len(fields) + 1))
                if names is None:
                    names = tuple(name.strip() for name in fields)
                    if twice := [name for name in names if name and names.count(name) > 1]:
                        raise InputError(f"{file}: column '{twice[0]}' stands twice in its header: rename one of them")
                elif len(fields) != len(names):
                    if not fields:
                        continue
                    if left_out is not None:
                        left_out.add(reader.line_num)
                        continue
                    raise InputError(
                        f"{file}, line {reader.line_num}: {len(fields)} fields where {len(names)} are expected "
                        f"({', '.join(map(str, names))})"
                    )
                else:
                    wrapped += not quoted and any(map(_quoted, fields))
                    yield reader.line_num, dict(zip(names, fields, strict=True))
        except csv.Error as error:
            raise InputError(f"{file}, line {reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise not_utf8(file, error) from None
    if wrapped:
        print(
            f"{file}: {wrapped:,} lines have a field in quotes with doubled quotes in it. In a .tsv quotes are text: "
            "if they quote, write the file as .csv",
            flush=True,
        )
    if left_out is not None and len(left_out) > known:
        assert names is not None
        print(f"{file}: {len(left_out):,} lines without {len(names)} fields are left out", flush=True)


def _quoted(field: str) -> bool:
    """Whether a program has put a field in quotes, which doubles those in it."""
    return len(field) > 3 and field[0] == field[-1] == '"' and '""' in field[1:-1]


def _json_lines(file: Path) -> Iterator[tuple[int, Row]]:
    with file.open(encoding="utf-8-sig") as stream:
        try:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise InputError(
                            f"{file}, line {number}: not valid JSON by itself ({said(error)}): an object a line is "
                            "expected, or in a .json a list of them"
                        ) from None
                    yield number, _mapping(file, "line", number, row)
        except UnicodeDecodeError as error:
            raise not_utf8(file, error) from None


def _json(file: Path) -> Iterator[tuple[int, Row]]:
    """A list of objects, or (as many call .json what is) one object a line."""
    if _opening(file) != "[":
        yield from _json_lines(file)
        return
    for number, row in enumerate(elements(file), start=1):
        yield number, _mapping(file, "row", number, row)


def _opening(file: Path) -> str:
    """Its first letter that is no space; a list may be one line, and is not read here."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        return next((part.strip()[0] for part in iter(partial(stream.read, 1024), "") if part.strip()), "")


def _parquet(file: Path) -> Iterator[tuple[int, Row]]:
    try:
        number = 0
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:  # the latter of a page that is damaged
        raise InputError(f"'{file}': not a readable Parquet file: {str(error).splitlines()[0][:200]}") from None


def _mapping(file: Path, unit: str, number: int, row: object) -> Row:
    if not isinstance(row, dict):
        raise InputError(f"{file}, {unit} {number}: a {type(row).__name__} where an object with columns is expected")
    return row
