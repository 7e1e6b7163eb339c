"""Does memory grow with the data? The peak of a stage at several sizes, its slope, and what a million rows would take.

    python -m benchmarks.memory prepare
    python -m benchmarks.memory prepare --rows 50000 100000 200000 --text FOLDER
    python -m benchmarks.memory augment
    python -m benchmarks.memory training

Every measurement is a process of its own, run as the pipeline runs it; its peak is the kernel's figure, which counts
the pages of mapped files too; beside it stands what the process holds without them. The text is real: sentences of
installed libraries' docstrings, or of the .txt files of a folder, put together two by two where there are too few.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from transformers import BertConfig, BertForMaskedLM, BertModel

from benchmarks.usage import Used, used_by
from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from tasks.phases.teacher import teacher_source
from tasks.sources.builtin.docstrings import read_pools
from tasks.sources.texts import passages, read_folder
from tasks.sources.write import features, write_rows
from tasks.stage.params import PARAMS, read_yaml

MILLION = 1_000_000
# Rows, small enough to wait for.
SIZES = {
    "prepare": [50_000, 100_000, 200_000],
    "augment": [10_000, 20_000, 40_000],
    "training": [50_000, 100_000, 200_000],
}
METRICS = {"classes": "accuracy", "multi-label": "micro_f1", "scores": "pearson", "tokens": "micro_f1", "answers": "f1"}
UNTRACKED = {"STILLHOUSE_TRACKING": "off"}
LIBRARIES = ["numpy", "scipy", "pandas", "matplotlib"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of a stage against the rows it reads.")
    parser.add_argument("stage", choices=list(SIZES))
    parser.add_argument("--rows", type=int, nargs="+", help=f"default: {SIZES}")
    parser.add_argument("--text", type=Path, help="folder of .txt to take the sentences from")
    arguments = parser.parse_args()
    sizes = arguments.rows or SIZES[arguments.stage]
    if len(sizes) < 2:
        parser.error("--rows: a slope needs two sizes or more")
    sentences = read_sentences(arguments.text)
    print(f"{len(sentences):,} sentences, combined to as many rows as needed")
    {"prepare": prepare, "augment": augment, "training": training}[arguments.stage](sentences, sizes)


def prepare(sentences: list[str], sizes: list[int]) -> None:
    """`tasks.prepare` of every kind of task and format of file, and of a corpus; of two a tenth of the rows as well."""
    for source in SOURCES:
        for kept in (1.0, 0.1) if source in (SOURCES[0], SOURCES[-1]) else (1.0,):
            peaks = [_prepare_peak(source, sentences, rows, kept) for rows in sizes]
            report(f"prepare {source.name}, {kept:.0%} of the rows kept", sizes, peaks)


def augment(sentences: list[str], sizes: list[int]) -> None:
    """`tasks.augment` of all rows, and of 800 with the rest passed through.

    The masked LM is tiny and few words are asked for, so that it ends today: neither grows with the rows.
    """
    for limit in (None, 800):
        peaks = [_augment_peak(sentences, rows, limit) for rows in sizes]
        report(f"augment {limit or 'all'} of the rows, 2 copies", sizes, peaks)


def training(sentences: list[str], sizes: list[int]) -> None:
    """Stages `teacher` and `hinton` of every kind of task, with the teacher's logits of all rows and a few steps.

    Both models are tiny, and trained on a hundredth of the rows: neither weights nor steps grow with the data.
    """
    for source in {source.kind: source for source in reversed(SOURCES) if source.kind}.values():
        peaks = [_training_peaks(source, sentences, rows) for rows in sizes]
        for stage in ("teacher", "hinton"):
            report(f"{stage} of {source.kind}", sizes, [each[stage] for each in peaks])


def report(title: str, sizes: list[int], found: list[Used]) -> None:
    """Print what is held, without mapped files and with them, and what a line through each says of a million rows."""
    print(f"\n{title}")
    for rows, used in zip(sizes, found, strict=True):
        print(f"  {rows:>9,} rows  {used.own / 2**20:8.1f} MiB of its own, {used.peak / 2**20:8.1f} with mapped files")
    for name, values in (("own", [used.own for used in found]), ("peak", [used.peak for used in found])):
        slope, base = np.polyfit(sizes, values, 1)
        there = (base + slope * MILLION) / 2**20
        print(f"  {name}: {slope:.1f} bytes a row; at {MILLION:,} rows {there:,.0f} MiB", flush=True)


def read_sentences(folder: Path | None) -> list[str]:
    """Real sentences, from a folder of .txt or from docstrings."""
    if folder is not None:
        return list(passages(read_folder(folder), (5, 60)))
    return [sentence for pool in read_pools(LIBRARIES, 1000, 0, (5, 60)) for sentence in pool.open]


def combined(sentences: list[str], rows: int) -> Iterator[str]:
    """`rows` different texts: the sentences, then pairs of them."""
    if rows > len(sentences) * (len(sentences) + 1):
        raise ValueError(f"{len(sentences)} sentences make no {rows} rows")
    pairs = (
        f"{sentences[i]} {sentences[(i + gap) % len(sentences)]}" for gap in _gaps() for i in range(len(sentences))
    )
    yield from islice(sentences, rows)
    yield from islice(pairs, max(0, rows - len(sentences)))


def _gaps() -> Iterator[int]:
    gap = 0
    while True:
        gap += 1
        yield gap


def _prepare_peak(source: "FileSource", sentences: list[str], rows: int, kept: float) -> Used:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = _written(source, sentences, rows, folder)
        block = "corpus" if source.kind is None else "data"
        limited = "sentences" if source.kind is None else "train_limit"
        tree[block][limited] = None if kept == 1.0 else math.ceil(kept * rows)
        YAML().dump(tree, folder / "params.yaml")
        return _prepared(source, folder)


def _training_peaks(source: "FileSource", sentences: list[str], rows: int) -> dict[str, Used]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = _written(source, sentences, rows, folder)
        assert source.kind is not None
        phase = {"epochs": 0.01, "batch_size": 32, "learning_rate": 1e-4, "seed": 1}
        tokenizer = load_tokenizer(teacher_source("builtin"))
        save_model(BertModel(_tiny(len(tokenizer))), tokenizer, folder / "start")
        tree["teacher"] |= {"model": str(folder / "start"), "phase": phase, "floor": -1.0, "route": 1}
        tree["hinton"]["distill"]["student"] = tree["hinton"]["distill"]["student"] | {"layers": 1}
        tree["hinton"]["distill"]["phase"] = phase
        tree["evaluate"]["metric"] = METRICS[source.kind]
        YAML().dump(tree, folder / "params.yaml")
        _prepared(source, folder)
        words = ["--data", str(folder / "out"), "--params", str(folder / "params.yaml"), "--out"]
        teacher = str(folder / "teacher")
        route = ["--route", str(folder / "route")]
        commands = {
            "teacher": ["tasks.finetune", *words, teacher, *route],
            "hinton": ["tasks.task_phase", "hinton", "--teacher", teacher, *words, str(folder / "hinton")],
        }
        cache = {"STILLHOUSE_CACHE": str(folder / "cache")}
        return {
            stage: used_by([sys.executable, "-m", *command], variables=UNTRACKED | cache)
            for stage, command in commands.items()
        }


def _written(source: "FileSource", sentences: list[str], rows: int, folder: Path) -> dict[str, Any]:
    """params.yaml's tree for a source whose files are written into the folder."""
    tree = read_yaml(PARAMS)
    if source.kind is None:
        tree["corpus"] |= {"source": "files", "folder": str(folder)}
        source.write(folder / source.file, combined(sentences, rows))
        return tree
    other = source.file.replace("train", "dev")
    files = {"folder": str(folder), "train": source.file, "validation": other, "test": None, "layout": source.layout}
    tree["data"] |= {"kind": source.kind, "source": "files", "files": files, "columns": source.columns, "labels": None}
    source.write(folder / source.file, combined(sentences, rows))
    source.write(folder / other, (f"judged {text}" for text in combined(sentences, 1000)))
    return tree


def _prepared(source: "FileSource", folder: Path) -> Used:
    """Prepare a source by the folder's params.yaml."""
    what = "corpus" if source.kind is None else "task"
    out = ["--out", str(folder / "out"), "--params", str(folder / "params.yaml")]
    return used_by([sys.executable, "-m", "tasks.prepare", what, *out], variables=UNTRACKED)


def _tiny(pieces: int) -> BertConfig:
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=pieces, **shape)  # type: ignore[arg-type]


def _augment_peak(sentences: list[str], rows: int, limit: int | None) -> Used:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = load_tokenizer(teacher_source("builtin"))
        save_model(BertForMaskedLM(_tiny(len(tokenizer))), tokenizer, folder / "mlm")
        (folder / "task").mkdir()
        labelled = ({"text": text, "label": i % 4} for i, text in enumerate(combined(sentences, rows)))
        write_rows(labelled, features(("text", "label"), ("a", "b", "c", "d")), folder / "task" / "train.parquet")
        tree = read_yaml(PARAMS)
        tree["augment"] |= {"sentences": limit, "copies": 2, "candidates": 3, "replace": 0.05, "max_length": 16}
        YAML().dump(tree, folder / "params.yaml")
        paths = {"--data": "task", "--mlm": "mlm", "--out": "out", "--params": "params.yaml"}
        options = [part for option, path in paths.items() for part in (option, str(folder / path))]
        cache = {"STILLHOUSE_CACHE": str(folder / "cache")}
        return used_by([sys.executable, "-m", "tasks.augment", *options], variables=UNTRACKED | cache)


def _write(file: Path, lines: Iterator[str], header: str | None = None, end: str = "\n") -> None:
    with file.open("w", encoding="utf-8") as stream:
        if header:
            stream.write(f"{header}\n")
        stream.writelines(f"{line}{end}" for line in lines)


def _plain(file: Path, texts: Iterator[str]) -> None:
    _write(file, (" ".join(text.split()) for text in texts))


def _labelled(file: Path, texts: Iterator[str], *, label: Callable[[int], object] = lambda place: place % 4) -> None:
    _write(file, (f"{text}\t{label(place)}" for place, text in enumerate(texts)), "text\tlabel")


def _list(file: Path, texts: Iterator[str]) -> None:
    """One line, as programs write it."""
    rows = (json.dumps({"text": text, "label": place % 4}) for place, text in enumerate(texts))
    with file.open("w", encoding="utf-8") as stream:
        stream.write("[" + next(rows))
        stream.writelines(f", {row}" for row in rows)
        stream.write("]")


def _parquet(file: Path, texts: Iterator[str]) -> None:
    rows = ({"text": text, "label": place % 4} for place, text in enumerate(texts))
    write_rows(rows, features(("text", "label"), ("a", "b", "c", "d")), file)


def _tagged(file: Path, texts: Iterator[str]) -> None:
    """Each third word is a thing."""
    sentences = (
        "\n".join(f"{word}\t{'O' if place % 3 else 'B-thing'}" for place, word in enumerate(text.split()))
        for text in texts
    )
    _write(file, sentences, end="\n\n")


def _questions(file: Path, texts: Iterator[str]) -> None:
    """SQuAD's file: an article for each hundred questions, a context for each question."""
    with file.open("w", encoding="utf-8") as stream:
        stream.write('{"version": "v2.0", "data": [')
        for place, article in enumerate(_hundreds(texts)):
            paragraphs = [
                {"context": text, "qas": [_question(f"{file.stem}-{number}", text)]} for number, text in article
            ]
            stream.write((", " if place else "") + json.dumps({"title": str(place), "paragraphs": paragraphs}))
        stream.write("]}")


def _hundreds(texts: Iterator[str]) -> Iterator[list[tuple[int, str]]]:
    numbered = enumerate(texts)
    while found := list(islice(numbered, 100)):
        yield found


def _question(name: str, text: str) -> dict[str, object]:
    first = text.split()[0]
    answers = [{"text": first, "answer_start": text.index(first)}]
    return {"id": name, "question": "What comes first?", "is_impossible": False, "answers": answers}


@dataclass(frozen=True)
class FileSource:
    """A file of training rows: of which kind (None: a corpus), its name, its layout and columns, and who writes it."""

    name: str
    kind: str | None
    file: str
    layout: str | None
    columns: dict[str, object]
    write: Callable[[Path, Iterator[str]], None]


TEXT = {"text": "text", "text_pair": None, "label": "label", "probabilities": None}
NO_COLUMNS = dict.fromkeys(TEXT)
SOURCES = [
    FileSource("classes, .tsv", "classes", "train.tsv", "table", TEXT, _labelled),
    FileSource("classes, a list in .json", "classes", "train.json", "table", TEXT, _list),
    FileSource("classes, .parquet", "classes", "train.parquet", "table", TEXT, _parquet),
    FileSource(
        "multi-label, .tsv",
        "multi-label",
        "train.tsv",
        "table",
        TEXT,
        partial(_labelled, label=lambda place: f"{place % 4},{4 + place % 3}"),
    ),
    FileSource("scores, .tsv", "scores", "train.tsv", "table", TEXT, partial(_labelled, label=lambda place: place / 8)),
    FileSource("tokens, CoNLL", "tokens", "train.txt", "conll", {**NO_COLUMNS, "text": 1, "label": 2}, _tagged),
    FileSource("answers, SQuAD", "answers", "train.json", "squad", NO_COLUMNS, _questions),
    FileSource("corpus, .txt", None, "corpus.txt", None, NO_COLUMNS, _plain),
]


if __name__ == "__main__":
    main()
