"""What is foreseen of a chain is what comes out of it, to the bytes that its choice of units may move."""

from pathlib import Path

import pytest

from flows.search.foresight import Costs, Foresight, Timer
from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.errors import InputError
from tasks import export, finish, structured
from tasks.kinds.find import load_task
from tasks.stage.params import PARAMS, EvaluateParams, load
from tests import pieces
from tests.tasks import project
from tests.tasks.project import on_task, run
from tests.tasks.recipes.test_smallest import CHAIN

TEACHER = Path("models/teacher")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.enter(tmp_path, monkeypatch)
    run(export, "--kind", "classes", "--model", "models/teacher", "--out", "models/onnx/teacher")
    return tmp_path


def timer(file: Path = Path("times.json")) -> Timer:
    vocabulary = len(load_tokenizer(TEACHER))
    return Timer(Path("models/onnx/teacher"), load("evaluate", EvaluateParams), vocabulary, False, file)


def costs(recipe: str, **changes) -> Costs:
    project.params(Path.cwd(), **changes)
    return Foresight(load_task(Path("data/task").resolve()), TEACHER, 16, timer()).costs(recipe, PARAMS)


def exported(recipe: str) -> int:
    """Bytes of the finished form."""
    words = ("--data", "data/task", "--model", f"models/{recipe}", "--corpus", "data/task")
    run(finish, recipe, *words, "--out", "models/finished")
    run(export, "--kind", "classes", "--model", "models/finished", "--out", "models/onnx/finished")
    return Path("models/onnx/finished/model.onnx").stat().st_size


def test_a_chain_weighs_what_was_foreseen(clone):
    foreseen = costs("smallest")
    for stage in CHAIN:
        run(*stage)
    assert exported("smallest") == pytest.approx(foreseen.onnx_bytes, rel=0.02)  # of so small a file
    assert foreseen.ms > 0 and foreseen.flops > 0


def test_slices_weigh_what_was_foreseen(clone):
    foreseen = costs("structured-distil")
    run(*on_task(structured, "structured", "--phase", "gates", out="structured-gates"))
    run(*on_task(structured, "structured-distil", "--gates", "models/structured-gates", out="structured-distil"))
    assert exported("structured-distil") == pytest.approx(foreseen.onnx_bytes, rel=0.02)


def test_each_parameter_that_makes_a_chain_smaller_is_foreseen_to(clone):
    whole = costs("smallest")
    for name, value in {
        "smallest.student.student.layers": 1,
        "smallest.factorize.ranks": {"layers": 16, "embedding": 8},
        "smallest.gates.remove": {"heads": 0.75, "units": 0.9, "dimensions": 0.0},
    }.items():
        assert costs("smallest", **{name: value}).onnx_bytes < whole.onnx_bytes, name
    assert costs("smallest", **{"smallest.quantize.source": "models/smallest-student"}).onnx_bytes > whole.onnx_bytes
    assert costs("hinton", **{"finish.int8": None}).onnx_bytes > 1.2 * costs("hinton").onnx_bytes
    assert costs("hinton", **{"finish.of": {}}).onnx_bytes > 1.2 * costs("hinton").onnx_bytes
    fewer = {"hinton.distill.student.layers": 1}
    assert costs("hinton", **fewer).flops < costs("hinton").flops
    assert costs("smallest", **{"smallest.quantize.activations": "trained"}).flops == whole.flops


def test_a_trimmed_vocabulary_is_foreseen(clone):
    pieces.write_task(clone, "WordPiece")
    run(export, "--kind", "classes", "--model", "models/teacher", "--out", "models/onnx/teacher")
    whole = costs("smallest", **{"finish.trim": None})
    trimmed = costs("smallest", **{"finish.trim": None, "smallest.factorize.source": "models/smallest-trim"})
    assert trimmed.onnx_bytes < whole.onnx_bytes and costs("smallest").onnx_bytes < whole.onnx_bytes


def test_numbers_that_a_recipe_refuses_are_refused_before_training(clone):
    with pytest.raises(InputError, match=r"student\.layers \(9\) is more than the teacher's 4"):
        costs("hinton", **{"hinton.distill.student.layers": 9})


def test_a_file_is_timed_once(clone, monkeypatch):
    first = timer().ms(Path("models/onnx/teacher"), 10)
    monkeypatch.setattr("flows.search.foresight.latency_figures", None)
    assert timer().ms(Path("models/onnx/teacher"), 10) == first
    with pytest.raises(TypeError):
        timer(Path("other.json")).ms(Path("models/onnx/teacher"), 10)
