"""TinyBERT's data augmentation: `python -m tasks.augment --data data/task --mlm models/mlm --out data/augmented`.

Writes train.parquet with the columns and features of the task's own: each row, and after it its copies, which keep its
label (students learn from the teacher's logits). Rows are worked on in chunks, each a file in the stage's workspace: a
killed run goes on after its last whole chunk and ends with the same bytes, and memory does not grow with the data.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field
from transformers import AutoModelForMaskedLM

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.text.candidates import Candidates
from stillhouse.text.likely_words import Find, Texts, replace_with_likely_words
from stillhouse.text.word_vectors import EmbeddingVectors, read_word_vectors
from stillhouse.training.autocast import choose_precision
from stillhouse.training.progress import Meter
from tasks.data.augmented_rows import TextRows, interleaved, open_rows
from tasks.data.schema import kind_of
from tasks.kinds.find import kind_class
from tasks.stage import program
from tasks.stage.outputs import fresh_dir, fresh_file
from tasks.stage.params import PARAMS, Block, TrainParams, load
from tasks.stage.workspace import clear, workspace
from tasks.tracking.journal import stage_run

CHUNK = 256  # augmented rows a file


class AugmentParams(Block):
    """`augment` in params.yaml."""

    sentences: int | None = Field(gt=0, description="Training rows that are augmented, drawn at random; null for all")
    copies: int = Field(ge=0, description="N_a, copies of each")
    candidates: int = Field(gt=0, description="K, candidates for each word")
    replace: float = Field(ge=0, le=1, description="p_t, the probability that a copy exchanges a word")
    batch_size: int = Field(gt=0, description="Masked sentences a forward pass")
    max_length: int = Field(gt=2, description="Tokens around the masked word that the masked LM sees")
    word_vectors: str | None = Field(description="A GloVe-format file; null for the masked LM's own input embeddings")
    seed: int = Field(ge=0, description="Which rows, which words, which candidates")


def main() -> None:
    args = arguments()
    params = load("augment", AugmentParams, args.params)
    precision = choose_precision(load("train", TrainParams, args.params).precision)
    with stage_run("augment", params, [args.data, args.mlm]) as run:
        file = args.data / "train.parquet"
        task = open_rows(file, kind_class(kind_of(file)).augmented)
        find = candidates(args.mlm, params, precision)
        vectors = [Path(params.word_vectors)] if params.word_vectors else []
        work = workspace("augment", [task.file, args.mlm, *vectors], [params, precision])
        chosen = choose(task.rows, params.sentences, params.seed)
        chunks = write_chunks(task, chosen, find, params, work)
        with fresh_dir(args.out) as out:
            written = write_rows(task, chunks, out / "train.parquet")
        print(f"{args.out}: {task.rows} rows and {written - task.rows} copies of {len(chosen)} of them", flush=True)
        run.log_metrics({"rows": task.rows, "augmented_rows": len(chosen), "copies": written - task.rows})
        clear(work)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.augment", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--mlm", type=Path, required=True, help="the masked language model")
    parser.add_argument("--out", type=Path, required=True, help="where the augmented task goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def choose(rows: int, limit: int | None, seed: int) -> np.ndarray:
    """Which rows are augmented, in order; a larger limit adds rows and keeps those of a smaller one."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:limit])


def candidates(mlm: Path, params: AugmentParams, precision: str) -> Find:
    """The masked LM, and the word vectors for words of several pieces."""
    model = load_model(mlm, AutoModelForMaskedLM)
    tokenizer = load_tokenizer(mlm)
    vectors = (
        read_word_vectors(Path(params.word_vectors)) if params.word_vectors else EmbeddingVectors(model, tokenizer)
    )
    return Candidates(
        model.to("cuda" if torch.cuda.is_available() else "cpu"),  # type: ignore[arg-type]
        tokenizer,
        vectors,
        count=params.candidates,
        batch_size=params.batch_size,
        max_length=params.max_length,
        precision=precision,
    ).find


def write_chunks(task: TextRows, chosen: np.ndarray, find: Find, params: AugmentParams, work: Path) -> list[Path]:
    """Augment the chosen rows, a file for each CHUNK of them, without those that an earlier run finished."""
    meter = Meter(len(chosen))
    finished = 0
    chunks: list[Path] = []
    rows = chosen_texts(task, chosen)
    while chunk := list(islice(rows, CHUNK)):
        file = work / f"chunk-{len(chunks) + 1:05d}.parquet"
        chunks.append(file)
        finished += len(chunk)
        if is_whole(file):
            if not meter.skipped:
                print("going on after a run that was stopped", flush=True)
            meter.skip(len(chunk))
            continue
        variants = replace_with_likely_words(
            chunk, find, copies=params.copies, replace=params.replace, seed=params.seed
        )
        with fresh_file(file) as draft:
            pq.write_table(variants_table(task, chunk, variants), draft)
        if meter.reached(finished):
            meter.print(f"augmented {finished}/{len(chosen)} rows  {meter.rate:.1f} rows/s")
    return chunks


def chosen_texts(task: TextRows, chosen: np.ndarray) -> Iterator[tuple[int, Texts]]:
    """Index and texts of each chosen row, in order."""
    for first, rows in task.batches():
        inside = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, first + len(rows))]
        taken = rows.select(task.texts).take(inside - first)
        texts = zip(*(column.to_pylist() for column in taken.columns), strict=True)
        yield from zip(inside.tolist(), texts, strict=True)


def is_whole(file: Path) -> bool:
    """Whether a chunk is there and readable; after a power cut a renamed file may still be empty."""
    try:
        pq.read_metadata(file)
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    return True


def variants_table(task: TextRows, chunk: list[tuple[int, Texts]], variants: list[list[Texts]]) -> pa.Table:
    """The copies of some rows: the row's index, and the texts."""
    flat = [(row, *texts) for (row, _), copies in zip(chunk, variants, strict=True) for texts in copies]
    schema = pa.schema([("row", pa.int64()), *((name, task.schema.field(name).type) for name in task.texts)])
    columns = list(zip(*flat, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def write_rows(task: TextRows, chunks: list[Path], to: Path) -> int:
    """Write every row with its copies after it; give the count of both."""
    waiting = iter(chunks)
    copies = None  # read from the chunks, not yet written
    count = 0
    with pq.ParquetWriter(to, task.schema, compression="zstd") as writer:
        for first, rows in task.batches():
            end = first + len(rows)
            while copies is None or len(copies) == 0 or copies["row"][-1].as_py() < end:
                chunk = next(waiting, None)
                if chunk is None:
                    break
                more = pq.read_table(chunk)
                copies = more if copies is None else pa.concat_tables([copies, more])
            if copies is None:
                merged = rows
            else:
                here = int(np.searchsorted(copies["row"].to_numpy(), end))
                merged = interleaved(rows, first, copies.slice(0, here), task)
                copies = copies.slice(here)
            writer.write_table(merged)
            count += len(merged)
    return count


if __name__ == "__main__":
    program.run(main)
