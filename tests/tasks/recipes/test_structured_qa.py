"""structured-qa and structured-qa-distil at a tiny size: questions to report, masked as sliced, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from stillhouse.answers.spans import span_logits
from stillhouse.encoders.checkpoint import load_model
from stillhouse.models.shape import Shape
from stillhouse.surgery.cost import layer_flops
from stillhouse.surgery.gates import GATE_KINDS, gate_sizes, gated, masks
from tasks import evaluate, export, report, structured
from tasks.data.questions import load_questions, windows_to_answer
from tasks.kinds.answers import answers
from tasks.stage.params import PARAMS, TrainParams, WindowParams, load
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run

WINDOWS = {"max_length": 16, "overlap": 4, "question_length": 5}
QUESTIONS = ("--data", "data/qa", "--teacher", "models/teacher-qa")
GATES = (structured, "structured-qa", "--phase", "gates", *QUESTIONS, "--out", "models/structured-qa-gates")
RETRAIN = (structured, "structured-qa", *QUESTIONS, "--gates", "models/structured-qa-gates")
RETRAIN = (*RETRAIN, "--out", "models/structured-qa")
CLASSES, SPANS = "ForSequenceClassification", "ForQuestionAnswering"
DISTIL = (structured, "structured-qa-distil", *RETRAIN[2:-1], "models/structured-qa-distil")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    params(tmp_path)
    tiny.write_questions(tmp_path / "data/qa")
    tiny.save(tiny.answerer(layers=3, seed=3), tmp_path / "models/teacher-qa")
    return tmp_path


def params(folder: Path, **changes: object) -> None:
    named = {f"structured-qa.gates.{name}": value for name, value in changes.items() if "structured" not in name}
    rest = {name: value for name, value in changes.items() if "structured" in name}
    project.params(folder, **{"windows": WINDOWS, **named, **rest})


def loaded(folder: str):
    return load_model(Path(folder), AutoModelForQuestionAnswering)


def stays() -> dict:
    return json.loads(Path("models/structured-qa-gates/gates.json").read_text())


def logits(model) -> np.ndarray:
    """Start and end logits of all validation windows, one after the other."""
    windows = windows_to_answer(
        load_questions(Path("data/qa")).validation, tiny.tokenizer(), load("windows", WindowParams)
    )
    return np.concatenate(span_logits(model, windows, tiny.tokenizer(), batch_size=16), axis=1)


@pytest.mark.parametrize("choose", ["l0", "gain", "random"])
def test_each_chooser_meets_the_shares_and_what_is_sliced_gives_the_masked_logits(clone, choose):
    remove = {"heads": 0.5, "units": 0.25, "dimensions": 0.25}
    params(clone, choose=choose, remove=remove, multiple=1, **{"structured-qa.retrain.phase": None})
    run(*GATES)
    run(*RETRAIN)
    keep = {kind: stays()[kind] for kind in GATE_KINDS}
    assert [sum(map(len, keep[kind])) for kind in GATE_KINDS] == [6, 144, 24]
    teacher, sliced = loaded("models/teacher-qa"), loaded("models/structured-qa")
    assert np.array_equal(logits(loaded("models/structured-qa-gates")), logits(teacher))
    with gated(teacher, masks(keep, gate_sizes(teacher))):
        masked = logits(teacher)
    assert np.abs(logits(sliced) - masked).max() < 1e-5 < np.abs(logits(teacher) - masked).max()


def test_a_target_in_time_is_met_and_its_flops_are_of_the_length_that_questions_are_measured_on(clone):
    params(clone, latency=0.6, multiple=1, **{"l0.weights": "trained"})
    run(*GATES)
    run(*RETRAIN)
    whole, sliced = (Shape.of(loaded(f"models/{name}").config) for name in ("teacher-qa", "structured-qa"))
    assert 0.5 < stays()["flops_share"] <= 0.6
    assert stays()["flops_share"] == pytest.approx(layer_flops(sliced, 32) / layer_flops(whole, 32), abs=1e-6)


def test_both_recipes_go_from_questions_to_the_comparison_with_their_teacher(clone):
    for stage in (GATES, RETRAIN, DISTIL):
        run(*stage)
    plain, distilled = (logits(loaded(f"models/{name}")) for name in ("structured-qa", "structured-qa-distil"))
    assert np.abs(plain - distilled).max() > 1e-4
    for name in ("teacher-qa", "structured-qa", "structured-qa-distil"):
        run(export, "--model", f"models/{name}", "--out", f"models/onnx/{name}")
        beside = ("--teacher", "reports/teacher-qa", "--teacher-onnx", "models/onnx/teacher-qa")
        words = ("--data", "data/qa", "--model", f"models/{name}", "--onnx", f"models/onnx/{name}")
        run(evaluate, name, *words, *(beside if name != "teacher-qa" else ()), "--out", f"reports/{name}")
    run(
        report, *(f"reports/{name}" for name in ("teacher-qa", "structured-qa", "structured-qa-distil")), "--out", "all"
    )
    page = Path("all/report.md").read_text()
    for name in ("structured-qa", "structured-qa-distil"):
        figures = json.loads(Path(f"reports/{name}/metrics.json").read_text())
        assert figures["onnx_max_difference"] < 1e-4 and {"exact", "f1", "best_f1"} < set(figures["metrics"])
        assert f"| {name} | {figures['value']:.4f} | {figures['kept']:.1%} |" in page
        assert Shape.of(loaded(f"models/{name}").config).heads == tuple(map(len, stays()["heads"]))


def test_a_window_learns_the_logits_that_the_teacher_gives_it(clone):
    given = answers(PARAMS).load(Path("data/qa"), Path("models/teacher-qa"))
    train = load("train", TrainParams)
    rows = given.encode(given.rows, train.max_length)
    for _ in range(2):  # computed, then from the cache
        taught = given.teach(rows, train)
        assert set(taught.column_names) == {*rows.column_names, "teacher_start", "teacher_end"}
        for i in (0, 5, len(taught) - 1):
            with torch.no_grad():
                outputs = given.teacher(input_ids=torch.tensor([taught[i]["input_ids"]]), **types(taught[i]))
            assert taught[i]["teacher_start"] == pytest.approx(outputs.start_logits[0].tolist(), abs=1e-5)
            assert taught[i]["teacher_end"] == pytest.approx(outputs.end_logits[0].tolist(), abs=1e-5)


def types(row: dict) -> dict[str, torch.Tensor]:
    return {"token_type_ids": torch.tensor([row["token_type_ids"]])}


@pytest.mark.parametrize(
    ("slug", "data", "teacher", "line"),
    [
        (
            "structured-qa",
            "data/task",
            "models/teacher-qa",
            "'data/task' holds no questions (text, label): give data/qa",
        ),
        (
            "structured-qa",
            "data/qa",
            "models/teacher",
            f"'models/teacher' is a Bert{CLASSES}, this recipe wants a model …",
        ),
        ("structured", "data/qa", "models/teacher", "'data/qa' holds question answering: this stage takes"),
        ("structured", "data/task", "models/teacher-qa", f"'models/teacher-qa' is a Bert{SPANS}, this recipe wants a"),
    ],
)
def test_data_or_a_teacher_of_the_other_kind_are_refused_in_one_line(clone, capsys, slug, data, teacher, line):
    tiny.write_task(clone / "data/task")
    tiny.save(tiny.bert(), clone / "models/teacher")
    words = (slug, "--phase", "gates", "--data", data, "--teacher", teacher, "--out", "models/out")
    assert line in refused(capsys, structured, *words)
    assert not Path("models/out").exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"remove": {"heads": 0.0, "units": 0.0, "dimensions": 0.0}}, "remove takes nothing away"),
        ({"remove": {"heads": 1.0, "units": 0.0, "dimensions": 0.0}}, "structured-qa.gates.remove.heads = 1.0"),
        ({"latency": 0.01}, "latency = 0.01 of the FLOPs is out of reach"),
    ],
)
def test_what_cannot_go_is_said_before_anything_is_trained(clone, capsys, changes, line):
    params(clone, **changes)
    assert line in refused(capsys, *GATES)


def test_windows_that_are_longer_than_the_teacher_takes_are_refused(clone, capsys):
    project.params(clone, windows={**WINDOWS, "max_length": 65})
    assert "windows.max_length = 65: the model takes 64: lower it" in refused(capsys, *GATES)
