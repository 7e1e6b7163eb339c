"""The BiLSTM paper's data augmentation: `python -m tasks.augment_words bilstm --data data/task --out …`.

Writes train.parquet with the columns and features of the task's own: each row, and after it those of its copies that
stand nowhere before. A copy keeps its row's label, so that the schema stays; what the copy means the teacher says
(α = 0 reads its logits alone; with α > 0 a copy that lost its decisive word still claims its row's label).

Not resumable, for it need not be: it asks no model (docs/decisions.md).
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.errors import InputError
from stillhouse.text.word_classes import Tag, Texts, WordClasses, count_classes, replace_by_word_class
from tasks.data.augmented_rows import TextRows, interleaved, open_rows
from tasks.data.part_of_speech import tag
from tasks.data.schema import kind_of
from tasks.kinds.find import kind_class
from tasks.phases.recipe import check_kind
from tasks.phases.teacher import TeacherParams, teacher_source
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, Block, load
from tasks.tracking.journal import stage_run


class AugmentWordsParams(Block):
    """`bilstm-augment` in params.yaml."""

    rounds: int = Field(ge=0, description="Copies of each row, before equal ones are dropped")
    mask: float = Field(ge=0, le=1, description="p_mask, the probability that a word is masked")
    same_class: float = Field(ge=0, le=1, description="p_pos, that another of its part of speech takes its place")
    ngram: float = Field(ge=0, le=1, description="p_ng, that only an n-gram of a copy is kept")
    longest: int = Field(gt=0, description="The largest n")
    seed: int = Field(ge=0, description="Of all draws")


def main() -> None:
    args = arguments()
    check_kind(args.recipe, args.params)
    name = f"{args.recipe}-augment"
    params = load(name, AugmentWordsParams, args.params)
    if params.mask + params.same_class > 1:
        raise InputError(f"{name}: mask ({params.mask}) + same_class ({params.same_class}) is more than 1: lower one")
    teacher = load("teacher", TeacherParams, args.params).model
    with stage_run("augment", {name: params, "teacher": {"model": teacher}}, [args.data]) as run:
        file = args.data / "train.parquet"
        kind = kind_class(kind_of(file))
        if kind.word_labels and params.ngram:
            print(f"each word of {kind.name} has a label: no n-grams are taken of them", flush=True)
            params = params.model_copy(update={"ngram": 0.0})
        fixed = tuple(name for name in kind.texts if name not in kind.augmented)
        split = open_rows(file, kind.augmented, fixed)
        with fresh_dir(args.out) as out:
            written = write_rows(split, params, tag, mask_token(teacher), out / "train.parquet")
        print(f"{args.out}: {split.rows} rows and {written - split.rows} copies of them", flush=True)
        run.log_metrics({"rows": split.rows, "copies": written - split.rows})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.augment_words", description=__doc__)
    parser.add_argument("recipe", help="slug of the recipe; its block in params.yaml is SLUG-augment")
    parser.add_argument("--data", type=Path, required=True, help="the task")
    parser.add_argument("--out", type=Path, required=True, help="where the augmented task goes")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


def mask_token(teacher: str) -> str:
    """How the teacher, who is to label the copies, writes a masked word.

    Raises:
        InputError: its tokenizer has no such token.
    """
    token = load_tokenizer(teacher_source(teacher)).mask_token
    if token is None:
        raise InputError(f"teacher.model = '{teacher}': its tokenizer has no mask token: set one there")
    return token


def write_rows(split: TextRows, params: AugmentWordsParams, tag: Tag, mask: str, to: Path) -> int:
    """Write every row with its copies after it; give the count of both."""
    classes = count_classes((text for _, texts in rows(split) for text in texts), tag)
    seen = {digest(texts, fixed) for (_, texts), fixed in zip(rows(split), fixed_rows(split), strict=True)}
    count = 0
    with pq.ParquetWriter(to, split.schema, compression="zstd") as writer:
        for first, table in split.batches():
            batch = list(texts_of(split, first, table))
            made = [
                (row, new(copies(row, texts, params, tag, classes, mask), fixed, seen))
                for (row, texts), fixed in zip(batch, fixed_of(split, table), strict=True)
            ]
            merged = interleaved(table, first, copies_table(split, made), split)
            writer.write_table(merged)
            count += len(merged)
            print(f"augmented {first + len(table)}/{split.rows} rows", flush=True)
    return count


def rows(split: TextRows) -> Iterator[tuple[int, Texts]]:
    """Index and texts of every row, in order."""
    for first, table in split.batches():
        yield from texts_of(split, first, table)


def texts_of(split: TextRows, first: int, table: pa.Table) -> Iterator[tuple[int, Texts]]:
    """Index and texts of some rows, the first of which has the index `first`."""
    texts = zip(*(table[name].to_pylist() for name in split.texts), strict=True)
    yield from enumerate(texts, first)


def fixed_rows(split: TextRows) -> Iterator[Texts]:
    """What no copy changes of every row, in order."""
    for _, table in split.batches():
        yield from fixed_of(split, table)


def fixed_of(split: TextRows, table: pa.Table) -> Iterator[Texts]:
    """What no copy changes of some rows: of answers the context; of most kinds nothing."""
    columns = [table[name].to_pylist() for name in split.fixed]
    yield from zip(*columns, strict=True) if columns else repeat((), len(table))


def copies(
    row: int, texts: Texts, params: AugmentWordsParams, tag: Tag, classes: WordClasses, mask: str
) -> list[Texts]:
    """A row's copies, one a round."""
    return replace_by_word_class(
        texts,
        tag,
        classes,
        rounds=params.rounds,
        mask=params.mask,
        same_class=params.same_class,
        ngram=params.ngram,
        longest=params.longest,
        mask_token=mask,
        seed=(params.seed, row),
    )


def new(copies: Iterable[Texts], fixed: Texts, seen: set[bytes]) -> list[Texts]:
    """Those that were not seen before with this fixed text, in this row or another; they are seen from now on."""
    out = []
    for texts in copies:
        if (key := digest(texts, fixed)) not in seen:
            seen.add(key)
            out.append(texts)
    return out


def digest(texts: Texts, fixed: Texts = ()) -> bytes:
    """16 bytes that stand for a text or a pair: a million of them are in the memory of 70 MB, whatever their length."""
    return hashlib.blake2b("\0".join((*texts, *fixed)).encode(), digest_size=16).digest()


def copies_table(split: TextRows, made: list[tuple[int, list[Texts]]]) -> pa.Table:
    """Copies as rows: the index of the row that each is of, and its texts."""
    flat = [(row, *texts) for row, copies in made for texts in copies]
    schema = pa.schema([("row", pa.int64()), *((name, split.schema.field(name).type) for name in split.texts)])
    columns = list(zip(*flat, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


if __name__ == "__main__":
    program.run(main)
