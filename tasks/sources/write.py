"""The second pass: from a source's rows to Parquet, in batches, with the features that `datasets` reads."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features, List, Value

from stillhouse.encoders.label_names import label_text
from tasks.data.schema import stated
from tasks.sources.blocks import DataParams
from tasks.sources.overlap import without_overlap
from tasks.sources.split import PROBABILITIES, Row, Source
from tasks.sources.survey import Survey, label_index, score
from tasks.stage.outputs import fresh_dir

BATCH = 10_000  # rows in memory at a time


def write_task(
    whole: Source,
    survey: Callable[[Source], tuple[Mapping[str, Survey], tuple[str, ...]]],
    params: DataParams,
    out: Path,
) -> dict[str, float]:
    """Look through a task's rows, settle what stands in two splits, and write the splits into `out`.

    Args:
        survey: the first pass, which checks every row; it gives the surveys, and the labels' names in order.

    Returns:
        The counts of rows.

    Raises:
        InputError: what the survey refuses, or the splits have too many rows in common.
    """
    found, labels = survey(whole)
    source, counts = without_overlap(whole, params.overlap)
    if source is not whole:
        found, labels = survey(source)
    with fresh_dir(out) as folder:
        counts |= write_splits(found, source, labels, params, folder)
    if "label" in source.columns:
        print(f"labels: {', '.join(labels) or 'scores'}", flush=True)
    return counts


def write_split(found: Survey, source: Source, labels: tuple[str, ...], chosen: np.ndarray, to: Path, kind: str) -> int:
    """Write the chosen rows of a split, in the order of the source.

    Args:
        found: the split, surveyed.
        source: whose split it is.
        labels: names in order; () for scores (and for questions, which have no label).
        chosen: (rows,) bool, from `choose`.
        to: the Parquet file.
        kind: of task, which the file states.

    Returns:
        How many rows it wrote.
    """

    def encoded() -> Iterator[Row]:
        places = {value: label_index(value, labels) for value in found.first}
        for take, (_, row) in zip(chosen, found.split.rows(), strict=True):
            if not take:
                continue
            if "label" not in source.columns:
                yield row
            elif source.several:
                marks = [places[text] for text in row["label"]]
                yield {**row, "label": marks if source.several == "each word" else sorted(marks)}
            elif labels:
                yield {**row, "label": places[label_text(row["label"])]}
            else:
                yield {**row, "label": score(row["label"])}

    return write_rows(encoded(), features(source.columns, labels, source.several is not None), to, kind)


def write_splits(
    found: Mapping[str, Survey], source: Source, labels: tuple[str, ...], params: DataParams, folder: Path
) -> dict[str, float]:
    """Write a Parquet file a split, and say how many rows of how many each has.

    Args:
        found: the surveys, by split.
        labels: names in order; () for scores, and for questions.

    Returns:
        The counts, as train_rows, validation_rows, test_rows.
    """
    counts: dict[str, float] = {}
    for name, each in found.items():
        chosen = choose(each.rows, params.limit(name), params.seed)
        file = folder / f"{name}.parquet"
        rows = write_split(each, source, labels, chosen, file, params.kind)
        print(f"{name}: {rows:,} of {each.rows:,} rows from {each.split.where}", flush=True)
        counts[f"{name}_rows"] = rows
    if "test" not in found:
        print("test: none; scores are of validation", flush=True)
    return counts


def write_rows(rows: Iterator[Row], schema: Features, to: Path, kind: str | None = None) -> int:
    """Write rows as Parquet, a row group a batch; give their count.

    Args:
        kind: of task, for its schema; None for a corpus, which has none.
    """
    count = 0
    arrow = schema.arrow_schema
    if kind is not None:
        arrow = arrow.with_metadata({**arrow.metadata, **stated(kind)})
    with pq.ParquetWriter(to, arrow, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=arrow))
            count += len(batch)
    return count


def features(columns: tuple[str, ...], labels: tuple[str, ...], several: bool = False) -> Features:
    """The features of the columns: a label is a class where there are names, or several; else a score."""
    label = ClassLabel(names=list(labels)) if labels else Value("float32")
    kinds = {
        "label": List(label) if several else label,
        PROBABILITIES: List(Value("float32")),
        "answers": {"text": List(Value("string")), "answer_start": List(Value("int32"))},
    }
    return Features({name: kinds.get(name, Value("string")) for name in columns})


def choose(rows: int, limit: int | None, seed: int) -> np.ndarray:
    """Which rows to keep: `limit` of them at random, or all.

    Returns:
        (rows,) bool
    """
    chosen = np.ones(rows, dtype=bool)
    if limit is not None and limit < rows:
        chosen[:] = False
        chosen[np.random.default_rng(seed).choice(rows, size=limit, replace=False)] = True
    return chosen
