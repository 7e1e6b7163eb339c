"""The training programs at a tiny size: what they write, that they resume, and what they refuse."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    RoFormerConfig,
    RoFormerForSequenceClassification,
)

from stillhouse.encoders.checkpoint import load_model
from tasks import corpus_phase, finetune, prune, task_phase
from tasks.recipes import prune_recover
from tasks.stage import program
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run


@pytest.fixture
def clone(tmp_path, monkeypatch):
    project.enter(tmp_path, monkeypatch)
    return tmp_path


FINETUNE = (finetune, "--data", "data/task", "--out", "models/new", "--route", "models/route")
HINTON = (task_phase, "hinton", "--data", "data/task", "--teacher", "models/teacher", "--out", "models/hinton")
PRUNE = (prune, "prune-recover", "--data", "data/task", "--teacher", "models/teacher")
PRUNE = (*PRUNE, "--out", "models/pruned", "--curve", "reports/curve.csv")


def test_the_teacher_and_its_route_are_checkpoints_with_the_datas_labels(clone):
    run(*FINETUNE)
    teacher = load_model(clone / "models/new", AutoModelForSequenceClassification)
    assert teacher.config.id2label == {0: "bad", 1: "good"}
    route = sorted((clone / "models/route").iterdir())
    assert [stop.name for stop in route] == ["01", "02"]
    last = load_model(route[-1], AutoModelForSequenceClassification)
    assert all(torch.equal(a, b) for a, b in zip(last.parameters(), teacher.parameters(), strict=True))
    assert not list((clone / ".cache/unfinished").iterdir())


def test_the_route_is_the_same_when_the_run_was_interrupted(clone, monkeypatch):
    run(*FINETUNE)
    whole = {p.relative_to("models/route"): p.read_bytes() for p in Path("models/route").rglob("*.safetensors")}
    saved = finetune.Route.on_step_end

    def dies(self, args, state, control, **context):
        saved(self, args, state, control, **context)
        if state.global_step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(finetune.Route, "on_step_end", dies)
    with pytest.raises(KeyboardInterrupt):
        run(*FINETUNE)
    monkeypatch.setattr(finetune.Route, "on_step_end", saved)
    run(*FINETUNE)
    assert whole == {p.relative_to("models/route"): p.read_bytes() for p in Path("models/route").rglob("*.safetensors")}


def test_a_teacher_below_the_floor_is_refused_and_nothing_is_written(clone, capsys):
    project.params(clone, **{"teacher.floor": 1.0, "teacher.phase.learning_rate": 1e-9})
    assert "accuracy is" in (line := refused(capsys, *FINETUNE)) and "below teacher.floor = 1.0" in line
    assert not (clone / "models/new").exists() and not (clone / "models/route").exists()


def test_a_fine_tuned_teacher_is_only_scored_and_its_labels_reordered(clone):
    model = tiny.bert(layers=2, labels=("good", "bad"))
    tiny.save(model, clone / "mine")
    project.params(clone, **{"teacher.model": "mine", "teacher.phase": None})
    run(*FINETUNE)
    teacher = load_model(clone / "models/new", AutoModelForSequenceClassification)
    assert torch.equal(teacher.classifier.weight, model.classifier.weight[[1, 0]])
    assert not list((clone / "models/route").iterdir())


def test_a_teacher_for_other_labels_is_refused(clone, capsys):
    tiny.save(tiny.bert(labels=("cat", "dog")), clone / "mine")
    project.params(clone, **{"teacher.model": "mine"})
    assert "labels differ: the data has ['bad', 'good'], the model has ['cat', 'dog']" in refused(capsys, *FINETUNE)


def test_a_teacher_without_a_head_must_be_fine_tuned(clone, capsys):
    project.params(clone, **{"teacher.phase": None})
    assert "teacher.phase = null, but 'start' has no classifier" in refused(capsys, *FINETUNE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "roformer"}, "model family 'roformer' is not one of bert"),
        ({"problem_type": "multi_label_classification"}, "is a model of multi_label_classification (problem_type"),
        ({"vocab_size": 33, "max_position_embeddings": 16}, "train.max_length = 24, but it reads 16 tokens at most"),
    ],
)
def test_a_teacher_that_no_student_could_have_is_refused_before_it_is_trained(clone, capsys, changes, says):
    if changes.get("model_type") == "roformer":
        shape = {"vocab_size": 33, "hidden_size": 32, "intermediate_size": 64}
        config = RoFormerConfig(**shape, num_hidden_layers=2, num_attention_heads=4)
        tiny.save(RoFormerForSequenceClassification(config), clone / "mine")
    else:
        model = tiny.bert().config.to_dict() | changes
        tiny.save(BertForSequenceClassification(BertConfig(**model)), clone / "mine")
    project.params(clone, **{"teacher.model": "mine"})
    assert says in refused(capsys, *FINETUNE)


def test_a_teacher_of_scores_says_so_from_then_on(clone):
    project.write_task(clone, regression=True)
    model = tiny.bert(layers=2, labels=())
    assert model.config.num_labels == 1 and model.config.problem_type is None
    tiny.save(model, clone / "mine")
    project.params(
        clone, **{"teacher.floor": -1.0, "teacher.model": "mine", "teacher.phase": None, "evaluate.metric": "pearson"}
    )
    run(*FINETUNE)
    assert json.loads(Path("models/new/config.json").read_text())["problem_type"] == "regression"


def test_a_metric_of_another_kind_of_task_is_refused(clone, capsys):
    project.params(clone, **{"evaluate.metric": "pearson"})
    assert "pearson" in refused(capsys, *FINETUNE)


def test_hinton_gives_a_plain_model_of_fewer_layers(clone):
    run(*HINTON)
    student = load_model(clone / "models/hinton", AutoModelForSequenceClassification)
    assert student.config.num_hidden_layers == 2
    assert student.config.id2label == {0: "bad", 1: "good"}


def test_the_teachers_logits_are_computed_once_and_a_damaged_cache_again(clone, capsys):
    said = "computing the teacher's logits"
    run(*HINTON)
    first = (clone / "models/hinton/model.safetensors").read_bytes()
    assert said in capsys.readouterr().out
    run(*HINTON)
    assert said not in capsys.readouterr().out
    (cached,) = (clone / ".cache/logits").iterdir()
    cached.write_bytes(b"damaged")
    run(*HINTON)
    assert said in capsys.readouterr().out
    assert (clone / "models/hinton/model.safetensors").read_bytes() == first


@pytest.mark.parametrize("kind", ["pair", "regression"])
def test_pairs_and_scores_train_from_teacher_to_student(clone, kind):
    project.write_task(clone, **{kind: True})
    metric = "pearson" if kind == "regression" else "accuracy"
    project.params(clone, **{"evaluate.metric": metric, "teacher.floor": -1.0})
    run(finetune, "--data", "data/task", "--out", "models/teacher", "--route", "models/route")
    run(*HINTON)
    student = load_model(clone / "models/hinton", AutoModelForSequenceClassification)
    assert student.config.num_labels == (1 if kind == "regression" else 2)
    run(*PRUNE)


def tinybert_task(phase: str, student: str, out: str) -> tuple:
    return (
        task_phase, "tinybert", "--phase", phase, "--data", "data/task", "--rows", "data/task/train.parquet",
        "--teacher", "models/teacher", "--student", student, "--out", out,
    )  # fmt: skip


GENERAL = (corpus_phase, "tinybert", "--corpus", "data/corpus", "--out", "models/general")


@pytest.mark.parametrize(
    "shape",
    [{}, {"hidden_size": 16, "heads": 2, "intermediate_size": 32, "init": "random"}],
    ids=["the teacher's width", "narrower"],
)
def test_tinybert_goes_through_its_three_phases(clone, shape):
    student = {"layers": 2, "hidden_size": None, "heads": None, "intermediate_size": None, "init": "teacher"}
    project.params(clone, **{"tinybert.general.student": student | {"source_layers": None, "from": None} | shape})
    run(*GENERAL)
    run(*tinybert_task("intermediate", "models/general", "models/intermediate"))
    run(*tinybert_task("prediction", "models/intermediate", "models/tinybert"))
    model = load_model(clone / "models/tinybert", AutoModelForSequenceClassification)
    assert model.config.num_hidden_layers == 2
    assert model.config.hidden_size == shape.get("hidden_size", 32)
    assert not any(name == "embeddings.weight" or name.startswith("hidden.") for name in model.state_dict())


def test_a_phase_that_is_switched_off_passes_the_student_on(clone):
    project.params(clone, **{"tinybert.general.phase": None, "tinybert.intermediate.phase": None})
    run(*GENERAL)
    run(*tinybert_task("intermediate", "models/general", "models/intermediate"))
    start = load_model(clone / "models/general", AutoModelForSequenceClassification, num_labels=2)
    after = load_model(clone / "models/intermediate", AutoModelForSequenceClassification)
    for name, weight in start.bert.encoder.state_dict().items():
        assert torch.equal(weight, after.bert.encoder.state_dict()[name]), name


def test_a_student_with_another_vocabulary_is_refused(clone, capsys, monkeypatch):
    monkeypatch.setattr(tiny, "WORDS", tiny.WORDS[::-1])
    tiny.save(tiny.bert(layers=2), clone / "models/other")
    line = refused(capsys, *tinybert_task("prediction", "models/other", "models/tinybert"))
    assert "'models/other' and 'models/teacher' have different tokenizers" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hinton.distill.student.layers": 7}, "student.layers (7) is more than the teacher's 4"),
        ({"hinton.distill.student.layers": 0}, "hinton.distill.student.layers = 0: Input should be greater than 0"),
        ({"hinton.distill.alpha": 1.5}, "hinton.distill.alpha = 1.5"),
        ({"hinton.distill.temperature": "warm"}, "hinton.distill.temperature = 'warm'"),
        (
            {"hinton.distill.student.hidden_size": 30, "hinton.distill.student.init": "random"},
            "student.hidden_size (30) must be divisible",
        ),
        ({"hinton.distill.student.hidden_size": 16}, "student.init = 'teacher' needs the teacher's width"),
        (
            {"hinton.distill.student.source_layers": [1, 9]},
            "source_layers [1, 9]: the teacher has layers 1 to 4, not [9]",
        ),
        ({"hinton.distill.phase.learning_rate": 1e30}, "the loss is not finite at step"),
        ({"train.precision": "fp16"}, "precision = 'fp16' needs a CUDA device"),
    ],
)
def test_bad_numbers_are_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    project.params(clone, **changes)
    assert message in refused(capsys, *HINTON)
    assert not (clone / "models/hinton").exists()


def test_a_missing_teacher_and_missing_data_are_named(clone, capsys):
    (clone / "models/teacher/model.safetensors").unlink()
    assert "'models/teacher': model.safetensors is missing" in refused(capsys, *HINTON)
    (clone / "data/task/train.parquet").unlink()
    assert "'data/task/train.parquet' is missing" in refused(capsys, *HINTON)


def test_pruning_writes_the_curve_and_a_model_with_the_last_share_of_zeros(clone):
    run(*PRUNE)
    with (clone / "reports/curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["share"] for row in rows] == ["0.3", "0.5"]
    assert all(0 <= float(row[moment]) <= 1 for row in rows for moment in ("before", "after"))
    model = load_model(clone / "models/pruned", AutoModelForSequenceClassification)
    weight = model.bert.encoder.layer[0].output.dense.weight
    assert (weight == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_pruning_that_was_interrupted_ends_with_the_same_model_and_curve(clone, monkeypatch):
    run(*PRUNE)
    expected = (clone / "models/pruned/model.safetensors").read_bytes(), (clone / "reports/curve.csv").read_bytes()
    step = prune_recover.magnitude.GradualPruning
    real = step.on_optimizer_step

    def dies(self, args, state, control, **context):
        real(self, args, state, control, **context)
        if state.global_step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(step, "on_optimizer_step", dies)
    with pytest.raises(KeyboardInterrupt):
        run(*PRUNE)
    monkeypatch.setattr(step, "on_optimizer_step", real)
    run(*PRUNE)
    assert (clone / "models/pruned/model.safetensors").read_bytes() == expected[0]
    assert (clone / "reports/curve.csv").read_bytes() == expected[1]


def test_pruning_without_the_teachers_logits_computes_none(clone, capsys):
    project.params(clone, **{"prune-recover.prune.distill": False})
    run(*PRUNE)
    assert "computing the teacher's logits" not in capsys.readouterr().out


@pytest.mark.parametrize("shares", [[0.5, 0.3], [1.0], []])
def test_shares_that_cannot_be_are_refused(clone, capsys, shares):
    project.params(clone, **{"prune-recover.prune.shares": shares})
    assert "share" in refused(capsys, *PRUNE)


@pytest.mark.slow
@pytest.mark.parametrize("full", ["models", ".cache"], ids=["saving the model", "saving a checkpoint"])
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_half_written(clone, full):
    project.params(clone, **{"train.checkpoint_steps": 1})
    shutil.move(clone / "models", clone / "given")
    for folder in ("models", ".cache"):
        (clone / folder).mkdir(exist_ok=True)
    words = "hinton --data data/task --teacher given/teacher --out models/hinton"
    stage = f"{sys.executable} -m tasks.task_phase {words}"
    private = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*private, f"mount -t tmpfs none {full}"], capture_output=True, check=False).returncode:
        # Containers often forbid it, and no other way gives a real disk that is full.
        pytest.skip("this machine lets nobody mount a small disk")
    script = f"mount -t tmpfs -o size=60k none {full} && {stage}; code=$?; ls -A models; exit $code"
    done = subprocess.run(
        [*private, script],
        env=os.environ | {"PYTHONPATH": str(project.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == program.EXIT_TRANSIENT, done.stderr
    assert done.stderr.startswith("error: no disk space left") and done.stderr.count("\n") == 1
    assert done.stdout.splitlines()[-1].startswith(("step", "computing")), "nothing may be left in models/"
