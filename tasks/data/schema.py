"""What the files of data/task say of themselves: the kind of task that they are rows of."""

import json
from pathlib import Path

from pyarrow import ArrowException, parquet

from stillhouse.errors import InputError

KEY = b"stillhouse"  # of the metadata of a Parquet file's schema


def stated(kind: str) -> dict[bytes, bytes]:
    """The metadata that state a kind of task."""
    return {KEY: json.dumps({"kind": kind}).encode()}


def kind_of(file: Path) -> str:
    """The kind of task that a split was prepared for.

    Raises:
        InputError: the file is missing or damaged, or states none.
    """
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run the stage that makes it (dvc repro prepare)")
    try:
        found = (parquet.read_schema(file).metadata or {}).get(KEY)
    except (ArrowException, OSError) as error:
        raise InputError(f"'{file}' is damaged ({error}): remove it and run its stage again") from None
    if found is None:
        raise InputError(f"'{file}' does not say which kind of task it is: prepare it again (dvc repro prepare)")
    return json.loads(found)["kind"]
