"""smallest's five stages at a tiny size: each link does its part, and what it reaches is held against the budget."""

import json
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.models.shape import Shape
from tasks import evaluate, export, factorize, report, structured, task_phase, trim
from tasks.phases import run as phases
from tests import pieces, tiny
from tests.tasks import project
from tests.tasks.project import on_task, refused, run

DATA = ("--data", "data/task")
STUDENT = on_task(task_phase, "smallest", "--phase", "student", out="smallest-student")
FACTORIZE = on_task(factorize, "smallest", out="smallest-factorize", teacher="models/smallest-student")
GATES = on_task(structured, "smallest", "--phase", "gates", out="smallest-gates", teacher="models/smallest-factorize")
RETRAIN = on_task(structured, "smallest", "--gates", "models/smallest-gates", out="smallest-retrain")
CUT = ("--student", "models/smallest-retrain")
QUANTIZE = on_task(task_phase, "smallest", "--phase", "quantize", *CUT, out="smallest")
CHAIN = (STUDENT, FACTORIZE, GATES, RETRAIN, QUANTIZE)


def shape(folder: str) -> Shape:
    return Shape.of(load_model(folder, AutoModelForSequenceClassification).config)


def judge(name: str, *beside: str) -> dict:
    run(export, "--kind", "classes", "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    words = ("--model", f"models/{name}", "--onnx", f"models/onnx/{name}", "--out", f"reports/{name}")
    run(evaluate, name, *DATA, *words, *beside)
    return json.loads(Path(f"reports/{name}/metrics.json").read_text(encoding="utf-8"))


def test_each_link_does_its_part_and_the_end_is_held_against_the_budget(clone, capsys):
    project.params(clone, **{"smallest.gates.remove.dimensions": 0.25, "budget": {"smaller": 1.2, "kept": None}})
    for stage in CHAIN:
        run(*stage)
    teacher, student, thin = (shape(f"models/{name}") for name in ("teacher", "smallest-student", "smallest-factorize"))
    assert (teacher.layers, student.layers, student.plain) == (4, 2, True)
    assert (thin.embedding_size, thin.hidden_size) == (16, 32)
    sliced, end = shape("models/smallest-retrain"), shape("models/smallest")
    keep = json.loads(Path("models/smallest-gates/gates.json").read_text(encoding="utf-8"))
    assert sliced.heads == tuple(map(len, keep["heads"])) and sum(sliced.heads) == 4
    assert sum(sliced.intermediate) < sum(student.intermediate)
    assert (sliced.hidden_size, sliced.embedding_size) == (24, 16)
    assert end.quantization is not None and end.quantization.embeddings
    assert (end.heads, end.intermediate, end.hidden_size) == (sliced.heads, sliced.intermediate, 24)

    whole = judge("teacher")
    assert "budget" not in whole
    figures = judge("smallest", "--teacher", "reports/teacher", "--teacher-onnx", "models/onnx/teacher")
    reached = whole["onnx_bytes"] / figures["onnx_bytes"]
    assert figures["budget"] == {
        "smaller": pytest.approx(reached, abs=1e-6),
        "smaller_asked": 1.2,
        "kept": figures["kept"],
        "kept_asked": None,
        "met": reached >= 1.2,
    }
    verdict = "met" if reached >= 1.2 else "missed"
    line = f"{verdict}: {reached:.2f}× smaller (1.2× asked), {figures['kept']:.2%} kept"
    assert f"budget on validation {line}\n" in capsys.readouterr().out
    run(report, "reports/teacher", "reports/smallest", "--out", "reports/smallest")
    page = Path("reports/smallest/report.md").read_text(encoding="utf-8")
    assert f"- **smallest** {line}" in page and "**teacher** met" not in page


def test_the_slices_learn_from_the_teacher_and_not_from_what_was_pruned(clone, monkeypatch):
    tiny.save(tiny.bert(layers=2, seed=5), clone / "models/smallest-factorize")
    run(*GATES)
    asked = []
    cached = phases.cached_logits
    monkeypatch.setattr(phases, "cached_logits", lambda *given: asked.append(given[2]) or cached(*given))
    run(*RETRAIN)
    assert asked == [Path("models/teacher")]
    assert shape("models/smallest-retrain").layers == 2 and shape("models/teacher").layers == 4


def test_a_link_can_be_left_out_by_naming_another_start(clone):
    run(*STUDENT)
    words = [word if word != "models/smallest-retrain" else "models/smallest-student" for word in QUANTIZE]
    run(*words)
    end, student = shape("models/smallest"), shape("models/smallest-student")
    assert (end.heads, end.intermediate) == (student.heads, student.intermediate)
    stages = YAML(typ="safe", pure=True).load((project.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "--student ${smallest.quantize.source} " in stages["smallest"]["cmd"]
    assert "${smallest.quantize.source}" in stages["smallest"]["deps"]
    assert "--teacher ${smallest.gates.teacher} " in stages["smallest-gates"]["cmd"]


@pytest.mark.parametrize("kind", ["WordPiece", "BPE"])
def test_a_trimmed_vocabulary_is_a_link_where_factorize_names_it(clone, kind):
    pieces.write_task(clone, kind)
    project.params(clone, **{"smallest.factorize.source": "models/smallest-trim"})
    trimmed = ("--model", "models/smallest-student", "--corpus", "data/task", "--out", "models/smallest-trim")
    cut = [word if word != "models/smallest-student" else "models/smallest-trim" for word in FACTORIZE]
    for stage in (STUDENT, (trim, "smallest", *DATA, *trimmed), cut, GATES, RETRAIN, QUANTIZE):
        run(*stage)
    known = {
        name: load_tokenizer(Path("models") / name).get_vocab() for name in ("teacher", "smallest-trim", "smallest")
    }
    assert known["smallest"] == known["smallest-trim"] and len(known["smallest"]) < len(known["teacher"]) - 80
    end = load_model("models/smallest", AutoModelForSequenceClassification)
    assert end.config.vocab_size == len(known["smallest"]) and shape("models/smallest").embedding_size == 16
    judge("teacher")
    figures = judge("smallest", "--teacher", "reports/teacher", "--teacher-onnx", "models/onnx/teacher")
    assert figures["vocabulary"] == len(known["smallest"])
    stages = YAML(typ="safe", pure=True).load((project.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "--teacher ${smallest.factorize.source} " in stages["smallest-factorize"]["cmd"]
    written = YAML(typ="safe", pure=True).load((project.ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert written["smallest"]["factorize"]["source"] == "models/smallest-student"  # left out, unless asked for


@pytest.mark.slow
def test_an_interrupted_retraining_ends_with_the_same_bytes(clone, monkeypatch):
    tiny.save(tiny.bert(layers=2, seed=5), clone / "models/smallest-factorize")
    run(*GATES)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, RETRAIN, step=3)
    assert not torch.equal(*(
        load_model(f"models/{name}", AutoModelForSequenceClassification).classifier.weight
        for name in ("smallest-retrain", "smallest-factorize")
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "line", "stage"),
    [
        ("student.student.layers", 5, "student.layers (5) is more than the teacher's 4", STUDENT),
        ("factorize.ranks.embedding", 33, "rank = 33 of 'word_embeddings' (33×32) saves nothing", FACTORIZE),
        ("gates.remove.heads", 1.0, "smallest.gates.remove.heads = 1.0", GATES),
        ("gates.remove.heads", 0.9, "remove.heads = 0.9 leaves", GATES),
        ("retrain.alpha", 1.5, "smallest.retrain.alpha = 1.5", RETRAIN),
        ("quantize.weights", "float8", "weights = 'float8' with activations = 'dynamic'", QUANTIZE),
        ("student.budget", 7.5, "smallest.student.budget = 7.5 is not a known key", STUDENT),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(clone, capsys, key, value, line, stage):
    for start in (word for word in stage[:-1] if str(word).startswith("models/smallest")):
        tiny.save(tiny.bert(layers=2, seed=5), clone / start)
    project.params(clone, **{f"smallest.{key}": value})
    assert line in refused(capsys, *stage)
    assert not Path(stage[-1]).exists()
