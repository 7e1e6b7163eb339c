"""The papers' shapes: what is counted and what the table says."""

from functools import partial

import pytest
import torch

from benchmarks.parity import (
    SHAPES,
    TEACHER,
    Measured,
    Paper,
    Shape,
    bert,
    bilstm,
    counted,
    measure,
    stored,
    table,
    thin,
)
from stillhouse.encoders.measure import parameters
from stillhouse.surgery.quantizing import quantize
from tests import tiny


@pytest.mark.parametrize(
    "shape", [shape for shape in SHAPES if shape.recipe in ("teacher", "tinybert", "minilm", "bilstm")]
)
def test_a_shape_has_the_papers_parameters(shape: Shape) -> None:
    with torch.device("meta"):
        assert shape.make is not None
        found = counted(shape.make(bert()), shape.without)
    assert found == pytest.approx(shape.paper.parameters, rel=0.02)


def test_a_part_that_the_paper_leaves_out_is_not_counted() -> None:
    model = bilstm(tiny.bert(), words=30)
    assert counted(model, None) - counted(model, "embeddings") == 1000 * 30
    assert counted(model, None) == parameters(model)


def test_integers_take_a_byte() -> None:
    model = tiny.bert()
    whole, rounded = stored(model), stored(quantize(model))
    assert whole == 4 * parameters(model)
    assert 2 < whole / rounded < 4


def test_each_model_is_timed_in_turns_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.parity.bert", lambda: tiny.bert(layers=4))
    monkeypatch.setattr("benchmarks.parity.TOKENS", 16)
    shapes = [
        Shape("teacher", TEACHER, Paper(), lambda base: base),
        Shape("tinybert", "thin", Paper(), partial(thin, layers=1, width=12, units=24)),
        Shape("albert", "counted", Paper(), count=10),
    ]
    teacher, student, other = measure(shapes, timed=True)
    assert teacher.p50_ms and student.p50_ms and other.p50_ms is None
    assert student.bytes < teacher.bytes and student.gflops < teacher.gflops
    assert (other.parameters, other.bytes, other.gflops) == (10, 40, None)


def test_the_table_has_both_figures_side_by_side() -> None:
    shape = "4 layers, 312 wide, 1,200 units"
    rows = [
        Measured("teacher", TEACHER, 109_480_000, 438_000_000, 22.35, 100.0),
        Measured("tinybert", shape, 14_350_000, 57_400_000, 1.25, 12.5),
        Measured("subword", "12 layers, 48 wide", 600_000, 2_410_000, 0.12, None),
        Measured("bilstm", "without word vectors, two of 300 a word", 963_000, 6_000_000, 0.23, None),
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| teacher | BERT-base | 110 M | 109.48 M |  | 1× | 22.35 |  | 1× |"
    assert lines[3] == f"| tinybert | {shape} | 14.5 M | 14.35 M | 7.5× | 7.63× | 1.25 | 9.4× | 8× |"
    assert lines[4] == "| subword | 12 layers, 48 wide | < 7 MB | 2.41 MB | 60× | 182× | 0.12 |  |  |"
    assert lines[5] == "| bilstm | without word vectors, two of 300 a word | 0.96 M | 0.96 M |  |  | 0.23 |  |  |"
