"""A split of the task as augmentation reads and writes it: row by row from disk, each row with its copies after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import InputError

BATCH = 4096  # rows in memory at a time


@dataclass(frozen=True)
class TextRows:
    """A split, left on disk."""

    file: Path
    schema: pa.Schema
    rows: int
    texts: tuple[str, ...]  # the columns that are augmented
    fixed: tuple[str, ...]  # the other columns of text, which copies have from their row

    def batches(self) -> Iterator[tuple[int, pa.Table]]:
        """Its rows in order: the index of the first, and some rows."""
        first = 0
        with pq.ParquetFile(self.file) as rows:
            for batch in rows.iter_batches(batch_size=BATCH):
                yield first, pa.Table.from_batches([batch])
                first += len(batch)


def open_rows(file: Path, texts: tuple[str, ...], fixed: tuple[str, ...] = ()) -> TextRows:
    """Look at a split without reading it.

    Args:
        texts: columns whose words may change; those of them that it has are augmented.
        fixed: other columns of text.

    Raises:
        InputError: it is missing, damaged, empty, or has none of these columns.
    """
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run the stage that makes it (dvc repro prepare)")
    try:
        with pq.ParquetFile(file) as rows:
            schema, count = rows.schema_arrow, rows.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise InputError(f"'{file}' is not a whole Parquet file ({error}): remove it and run its stage again") from None
    if count == 0:
        raise InputError(f"'{file}' has no rows: check the source and the limits in params.yaml")
    if texts[0] not in schema.names:
        raise InputError(f"'{file}' has the columns {schema.names}, none of them '{texts[0]}': prepare the task again")
    there = tuple(name for name in texts if name in schema.names)
    return TextRows(file, schema, count, there, tuple(name for name in fixed if name in schema.names))


def interleaved(rows: pa.Table, first: int, copies: pa.Table, split: TextRows) -> pa.Table:
    """Rows, each with its copies after it; what is no text comes from the row."""
    source = np.concatenate([np.arange(len(rows)), copies["row"].to_numpy() - first])
    order = np.argsort(source, kind="stable")
    columns = []
    for name in split.schema.names:
        if name in split.texts:
            both = pa.chunked_array([*rows[name].chunks, *copies[name].chunks], type=split.schema.field(name).type)
            columns.append(both.take(order))
        else:
            columns.append(rows[name].take(source[order]))
    return pa.table(columns, schema=split.schema)
