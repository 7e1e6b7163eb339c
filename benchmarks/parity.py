"""Sizes and speeds at the papers' own shapes, beside what the papers say of them. Weights are random: neither asks.

    python -m benchmarks.parity --times --out docs/results/parity.json
    python -m benchmarks.parity --table docs/results/parity.json          # the table of what was measured before

A model is made by the code that the recipe has, from BERT-base, and counted. With `--times` each is exported and timed
in ONNX Runtime, one thread, one sentence of 128 tokens, in turns with BERT-base. Scores are not here: they want BERT's
trained weights and a card.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from stillhouse.encoders.measure import flops, parameters
from stillhouse.encoders.student import build_student
from stillhouse.methods.albert import parameter_count, shared
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.latency import hardware, summary, time_in_turns, token_batch
from stillhouse.onnx.sessions import feed, open_session
from stillhouse.surgery.quantizing import quantize

TOKENS = 128
REPEATS = 20
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TEACHER = "BERT-base"


@dataclass(frozen=True)
class Paper:
    """What a paper says of a model: parameters or megabytes, and how many times smaller and faster than its teacher."""

    parameters: float | None = None
    megabytes: float | None = None
    smaller: float | None = None
    faster: float | None = None


@dataclass(frozen=True)
class Shape:
    """A row: who has it, what it is, how it is made of BERT-base, and the paper's figures.

    count: parameters by a formula, of what is too large to be made here.
    without: part of a model whose parameters the paper leaves out.
    """

    recipe: str
    shape: str
    paper: Paper
    make: Callable[[PreTrainedModel], PreTrainedModel] | None = None
    count: int | None = None
    without: str | None = None


@dataclass(frozen=True)
class Measured:
    """What came out: parameters, bytes of the weights, GFLOPs of a sentence, milliseconds (None: not timed)."""

    recipe: str
    shape: str
    parameters: int
    bytes: int
    gflops: float | None
    p50_ms: float | None


def bert(vocabulary: int = 30522) -> PreTrainedModel:
    """BERT-base, with random weights and a head of two labels."""
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=vocabulary)).eval()


def thin(base: PreTrainedModel, *, layers: int, width: int, units: int) -> PreTrainedModel:
    """A student of random weights."""
    return build_student(
        base, layers=layers, hidden_size=width, heads=12, intermediate_size=units, source_layers=None, seed=0
    )


def halved(base: PreTrainedModel) -> PreTrainedModel:
    """Six of its layers."""
    return build_student(base, layers=6, source_layers=[2, 4, 6, 8, 10, 12], seed=0)


def albert(base: PreTrainedModel, share: Any) -> PreTrainedModel:
    """Layers shared, word vectors 128 wide; the paper's vocabulary has 30,000 pieces."""
    return shared(bert(30_000), share=share, groups=1, start="average", embedding_size=128)


def albert_count(layers: int, width: int) -> int:
    """The paper's larger shapes, all shared."""
    return parameter_count(
        vocabulary=30_000,
        positions=512,
        token_types=2,
        hidden_size=width,
        intermediate_size=4 * width,
        layers=layers,
        embedding_size=128,
        share="all",
        groups=1,
        pooler=True,
    )


def bilstm(base: PreTrainedModel, words: int) -> PreTrainedModel:
    """150 units each way, a layer of 200; the vocabulary does not count here, and is small."""
    return BiLstmForSequenceClassification(BiLstmConfig(vocab_size=1000, embedding_size=words)).eval()


def subword(base: PreTrainedModel, width: int) -> PreTrainedModel:
    """Twelve layers, and a vocabulary of 4,928 pieces."""
    return thin(bert(4928), layers=12, width=width, units=4 * width)


def eight_bits(base: PreTrainedModel) -> PreTrainedModel:
    """All matrices, word vectors too."""
    return quantize(base)


SHAPES = [
    Shape("teacher", TEACHER, Paper(parameters=110e6), lambda base: base),
    Shape("distilbert, pkd, layerdrop", "6 layers", Paper(parameters=66e6, faster=1.6), halved),
    Shape("theseus", "6 layers", Paper(faster=1.94), halved),
    Shape(
        "tinybert",
        "4 layers, 312 wide, 1,200 units",
        Paper(parameters=14.5e6, smaller=7.5, faster=9.4),
        partial(thin, layers=4, width=312, units=1200),
    ),
    Shape(
        "minilm",
        "12 layers, 384 wide",
        Paper(parameters=33e6, faster=2.7),
        partial(thin, layers=12, width=384, units=1536),
    ),
    Shape("albert", "all shared, E = 128", Paper(parameters=12e6), partial(albert, share="all")),
    Shape("albert", "nothing shared, E = 128", Paper(parameters=89e6), partial(albert, share="none")),
    Shape("albert", "large: 24 layers, 1,024 wide", Paper(parameters=18e6), count=albert_count(24, 1024)),
    Shape("albert", "xlarge: 24 layers, 2,048 wide", Paper(parameters=60e6), count=albert_count(24, 2048)),
    Shape("subword", "12 layers, 48 wide", Paper(megabytes=7, smaller=60), partial(subword, width=48)),
    Shape(
        "bilstm",
        "without word vectors, two of 300 a word",
        Paper(parameters=0.96e6),
        partial(bilstm, words=600),
        without="embeddings",
    ),
    Shape("int8", "12 layers", Paper(smaller=4), eight_bits),
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__.split("\n")[0])
    parser.add_argument("--times", action="store_true", help="export the models and time them")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--table", type=Path, help="figures of before: print their table, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        found = json.loads(arguments.table.read_text(encoding="utf-8"))
        print(table([Measured(**row) for row in found["models"]]))
        return
    torch.set_num_threads(1)
    measured = measure(SHAPES, timed=arguments.times)
    print(table(measured))
    if arguments.out:
        told = {"hardware": hardware(), "date": time.strftime("%Y-%m-%d"), "tokens": TOKENS, "repeats": REPEATS}
        told["models"] = [asdict(row) for row in measured]
        arguments.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def measure(shapes: Sequence[Shape], timed: bool) -> list[Measured]:
    """Make, count and, where `timed`, time each model that can be made here, the first of them BERT-base."""
    base = bert()
    sizes: list[tuple[int, int, float | None]] = []
    calls: dict[str, Callable[[], Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for place, shape in enumerate(shapes):
            if shape.make is None:
                assert shape.count is not None
                sizes.append((shape.count, 4 * shape.count, None))
                continue
            model = shape.make(base)
            sizes.append((counted(model, shape.without), stored(model), flops(model, TOKENS) / 1e9))
            if timed and shape.without is None:
                calls[str(place)] = call_of(model, Path(folder) / f"{place}.onnx")
        seconds = time_in_turns(calls, REPEATS)
    p50 = {place: summary(found, batch_size=1)["p50_ms"] for place, found in seconds.items()}
    return [
        Measured(shape.recipe, shape.shape, *size, p50_ms=p50.get(str(place)))
        for place, (shape, size) in enumerate(zip(shapes, sizes, strict=True))
    ]


def counted(model: PreTrainedModel, without: str | None) -> int:
    """Parameters and integers of a model, but for a part of it."""
    left_out = sum(each.numel() for each in getattr(model, without).parameters()) if without else 0
    return parameters(model) - left_out


def stored(model: PreTrainedModel) -> int:
    """Bytes of all that a checkpoint of it keeps."""
    return sum(each.numel() * each.element_size() for each in model.state_dict().values())


class Inputs:
    """What an export asks of a tokenizer: the names of what it gives."""

    model_input_names = INPUTS


def call_of(model: PreTrainedModel, file: Path) -> Callable[[], Any]:
    """One sentence through the exported model."""
    export_onnx(model, Inputs(), file)  # type: ignore[arg-type]
    session = open_session(file, threads=1)
    batch = feed(session, token_batch(1, TOKENS, model.config.vocab_size))
    return partial(session.run, None, batch)


def table(measured: Sequence[Measured]) -> str:
    """Markdown: what the papers say beside what was measured."""
    papers = {(shape.recipe, shape.shape): shape.paper for shape in SHAPES}
    parts = {(shape.recipe, shape.shape) for shape in SHAPES if shape.without}
    teacher = measured[0]
    lines = [
        "| recipe | shape | parameters, paper | here | smaller, paper | here | GFLOPs | faster, paper | here |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in measured:
        paper = papers[row.recipe, row.shape]
        said = f"{paper.parameters / 1e6:.4g} M" if paper.parameters else ""
        said = f"< {paper.megabytes:g} MB" if paper.megabytes else said
        here = f"{row.bytes / 1e6:.2f} MB" if paper.megabytes else f"{row.parameters / 1e6:.2f} M"
        faster = teacher.p50_ms / row.p50_ms if teacher.p50_ms and row.p50_ms else None
        # Of a part there is no size: what was left out stands in the file as well.
        smaller = None if (row.recipe, row.shape) in parts else teacher.bytes / row.bytes
        cells = [row.recipe, row.shape, said, here, times(paper.smaller), times(smaller)]
        cells += [f"{row.gflops:.2f}" if row.gflops else "", times(paper.faster), times(faster)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def times(factor: float | None) -> str:
    return f"{factor:.3g}×" if factor else ""


if __name__ == "__main__":
    main()
