"""Stages that read a corpus, at several sizes: time, peak memory and disk, and what a hundred million sentences take.

The text is made here: words of installed libraries' docstrings, as often as they stand there, twelve a sentence and
four sentences a line. Processes have one thread. Training is cut to a few steps, so what grows is the reading; what a
step takes is measured by itself, as the difference of two runs.
"""

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pyarrow import parquet
from ruamel.yaml import YAML
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from benchmarks.memory import read_sentences
from benchmarks.scales.book import Book, Figures, bytes_of, line, measured, table
from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model
from tasks.phases.teacher import teacher_source
from tasks.sources.write import features, write_rows
from tasks.stage.params import PARAMS, read_yaml

MILLION, WHOLE = 1_000_000, 100_000_000  # sentences
# Of the whole, slopes are those of the last two: above 100,000 rows tokens are on disk, and no longer in memory.
SIZES, QUICK = [25_000, 110_000, 220_000], [400, 800]
READERS = {"corpus": "corpus", "corpus-pairs": "pairs"}  # stage → what `tasks.prepare` makes
PHASES = {"tinybert-general": "corpus", "subword-general": "corpus", "albert-general": "pairs"}  # stage → what it reads
TRAINED = {**PHASES, "minilm-general": "corpus"}
MASKED = ["subword-general"]  # taught by a masked LM; its head is untrained here, which takes as long
STEPS = 2  # of training, where the reading is measured
STEPPED = (5, 45)  # of training, where a step is measured
AUGMENTED = 64  # rows, where the reading is measured
ROOT = Path(__file__).parents[2]


def tables(book: Book, work: Path, quick: bool) -> Iterator[str]:
    """Measure, and give the lines of the tables."""
    sizes = QUICK if quick else SIZES
    stages = [*READERS, "mlm", *PHASES, "augment"]
    found = {
        stage: [book.of(f"{stage} {size}", partial(_stage, stage, size, work)) for size in sizes] for stage in stages
    }
    rows = []
    for stage, each in found.items():
        slopes = {
            name: line(sizes[-2:], [figures[name] for figures in each[-2:]]) for name in ("seconds", "peak", "disk")
        }
        rows.append([
            f"`{stage}`",
            *(f"{figures['seconds']:.1f} s, {figures['peak'] / 2**20:,.0f} MiB" for figures in each),
            f"{slopes['seconds'][0] * MILLION:,.1f} s",
            f"{slopes['peak'][0] * MILLION / 2**20:,.0f} MiB",
            f"{slopes['disk'][0] * MILLION / 2**20:,.0f} MiB",
            f"{_at(slopes['seconds']) / 3600:,.1f} h",
            f"{_at(slopes['peak']) / 2**30:,.1f} GiB",
            f"{_at(slopes['disk']) / 2**30:,.1f} GiB",
        ])  # fmt: skip
    grows = ["time a million", "memory a million", "disk a million"]
    yield from table(["stage", *(f"{size:,}" for size in sizes), *grows, "time at 10⁸", "memory", "disk"], rows)
    yield ""
    rows = []
    few, many = (2, 6) if quick else STEPPED
    for stage in TRAINED:
        figures = book.of(f"{stage} steps {few} {many}", partial(_steps, stage, few, many, sizes[0], work))
        hours = WHOLE / figures["rows_per_second"] / 3600
        rows.append([f"`{stage}`", f"{figures['batch']:.0f}", f"{figures['rows_per_second']:.1f}", f"{hours:,.0f}"])
    yield from table(["stage", "rows a batch", "rows a second and core", "core-hours of one pass over 10⁸"], rows)


def _at(fitted: tuple[float, float]) -> float:
    """A line's value at a hundred million."""
    slope, start = fitted
    return start + slope * WHOLE


def _stage(stage: str, size: int, work: Path) -> Figures:
    with tempfile.TemporaryDirectory(dir=work) as name:
        home = Path(name)
        if stage == "augment":
            return _augment(home, size)
        if stage in READERS:
            return _prepare(READERS[stage], home, size)
        _prepare(PHASES.get(stage, "corpus"), home, size)
        return _train(stage, home, STEPS)


def _prepare(what: str, home: Path, size: int) -> Figures:
    """Make the text in `home`, and the corpus of it in `home`/data."""
    (home / "text").mkdir()
    with (home / "text" / "text.txt").open("w", encoding="utf-8") as stream:
        made = sentences(size)
        while some := list(islice(made, 4)):
            stream.write(f"{' '.join(some)}\n")
    tree = read_yaml(PARAMS)
    tree["corpus"] |= {"source": "files", "folder": str(home / "text"), "sentences": None}
    words = ["tasks.prepare", what, "--out", str(home / "data")]
    return _run(home, tree, words, [home / "data"])


def sentences(count: int) -> Iterator[str]:
    """So many sentences of twelve words, the same ones each time."""
    words = [word.strip(".,;:!?()").lower() for sentence in read_sentences(None) for word in sentence.split()]
    words = [word for word in words if word.isalnum()]
    draw = random.Random(1)
    for _ in range(count):
        first, *others = draw.choices(words, k=12)
        yield f"{first.capitalize()} {' '.join(others)}."


def _train(stage: str, home: Path, steps: int) -> Figures:
    """A stage that trains on all of `home`/data, stopped by its share of an epoch after so many steps."""
    tree = read_yaml(PARAMS)
    block = tree["mlm"] if stage == "mlm" else tree[stage.removesuffix("-general")]["general"]
    rows = _rows(home / "data" / "corpus.parquet")
    block["phase"]["epochs"] = steps * block["phase"]["batch_size"] / rows
    corpus = ["--corpus", str(home / "data"), "--out", str(home / "out")]
    if stage == "mlm":
        block["sentences"] = None
        words = ["tasks.fit_mlm", *corpus]
    else:
        words = ["tasks.corpus_phase", stage.removesuffix("-general"), *corpus]
    if stage in MASKED:
        source = teacher_source("builtin")
        save_model(load_model(source, AutoModelForMaskedLM), load_tokenizer(source), home / "mlm")
        words += ["--mlm", str(home / "mlm")]
    figures = _run(home, tree, words, [home / "cache"])
    return figures | {"batch": block["phase"]["batch_size"]}


def _steps(stage: str, few: int, many: int, size: int, work: Path) -> Figures:
    """Rows a second, by what the further steps of a longer run take."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        home = Path(name)
        _prepare(TRAINED[stage], home, size)
        _train(stage, home, few)  # it fills the cache of tokens: the two below both find it
        short, long = _train(stage, home, few), _train(stage, home, many)
    took = long["seconds"] - short["seconds"]
    return {"batch": long["batch"], "rows_per_second": (many - few) * long["batch"] / took}


def _augment(home: Path, size: int) -> Figures:
    """Some rows augmented by a tiny masked LM, and the others passed through."""
    tokenizer = load_tokenizer(teacher_source("builtin"))
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    masked_lm = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape))  # type: ignore[arg-type]
    save_model(masked_lm, tokenizer, home / "mlm")
    (home / "task").mkdir()
    rows = ({"text": text, "label": place % 2} for place, text in enumerate(sentences(size)))
    write_rows(rows, features(("text", "label"), ("a", "b")), home / "task" / "train.parquet")
    tree = read_yaml(PARAMS)
    tree["augment"] |= {"sentences": AUGMENTED, "copies": 1}
    words = ["tasks.augment", "--data", str(home / "task"), "--mlm", str(home / "mlm"), "--out", str(home / "out")]
    return _run(home, tree, words, [home / "out"])


def _run(home: Path, tree: dict[str, Any], words: list[str], made: list[Path]) -> Figures:
    """Run a program of the pipeline with some parameters; `disk` is what lies in the folders `made` after it."""
    YAML().dump(tree, home / "params.yaml")
    variables = {"STILLHOUSE_TRACKING": "off", "STILLHOUSE_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    variables |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", *words, "--params", str(home / "params.yaml")]
    figures = measured(command, home, variables)
    return figures | {"disk": sum(bytes_of(folder) for folder in made)}


def _rows(file: Path) -> int:
    return parquet.read_metadata(file).num_rows
