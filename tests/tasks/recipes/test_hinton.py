"""hinton with several teachers and other transfer sets, at a tiny size; with one teacher: test_training_stages."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification

from flows.dag.graph import load_graph
from stillhouse.encoders.checkpoint import load_model
from stillhouse.errors import InputError
from stillhouse.methods import hinton as method
from tasks import finetune, task_phase
from tasks.stage.params import load
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_task, refused, run

CORPUS = "data/corpus/corpus.parquet"


def member(name: str, seed: int) -> tuple:
    return (finetune, "--data", "data/task", "--seed", seed, "--out", f"models/ensemble/{name}")


def hinton(rows: str = "data/task/train.parquet", teacher: str = "models/teacher") -> tuple:
    return on_task(task_phase, "hinton", "--rows", rows, out="hinton", teacher=teacher)


def weights(folder: str | Path) -> bytes:
    return (Path(folder) / "model.safetensors").read_bytes()


def two_teachers(folder: Path, **kind) -> None:
    for name, seed in (("one", 5), ("two", 6)):
        tiny.save(tiny.bert(layers=4, seed=seed, **kind), folder / "models/ensemble" / name)


def test_teachers_of_an_ensemble_differ_by_their_seed_alone_and_never_share_a_workspace(clone, monkeypatch):
    used = []
    kept = finetune.workspace
    monkeypatch.setattr(finetune, "workspace", lambda *given: used.append(kept(*given)) or used[-1])
    run(*member("one", 1))
    run(*member("again", 1))
    run(*member("two", 2))
    assert weights("models/ensemble/one") == weights("models/ensemble/again") != weights("models/ensemble/two")
    assert sorted(path.name for path in Path("models/ensemble").iterdir()) == ["again", "one", "two"]
    assert len(set(used)) == 3


@pytest.mark.parametrize("ensemble", [{"a/b": {"seed": 1}}, {"one": {}}, {"one": {"seed": -1}}, {"one": {"sed": 1}}])
def test_a_member_with_no_seed_or_no_name_for_a_folder_is_refused(clone, ensemble):
    project.params(clone, ensemble=ensemble)
    with pytest.raises(InputError, match="ensemble"):
        load("ensemble", finetune.EnsembleParams)


def test_a_seed_for_a_teacher_that_is_not_trained_is_refused(clone, capsys):
    project.params(clone, **{"teacher.phase": None})
    assert "--seed 2, but teacher.phase = null" in refused(capsys, *member("two", 2))


def test_a_member_below_the_floor_is_refused(clone, capsys):
    project.params(clone, **{"teacher.floor": 1.0, "teacher.phase.learning_rate": 1e-9})
    assert "below teacher.floor = 1.0" in refused(capsys, *member("two", 2))
    assert not Path("models/ensemble/two").exists()


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_the_student_of_several_teachers_learns_their_mean(clone, monkeypatch, mean):
    project.params(clone, **{"hinton.distill.mean": mean, "hinton.distill.alpha": 1.0})
    two_teachers(clone)
    seen = []
    kept = method.combine
    monkeypatch.setattr(method, "combine", lambda *given: seen.append((given, kept(*given))) or seen[-1][1])
    read = method.distillation_loss
    batches = []
    monkeypatch.setattr(method, "distillation_loss", lambda s, t, *r: batches.append(t) or read(s, t, *r))
    run(*hinton(teacher="models/ensemble"))
    ((logits, temperature, kind), combined) = seen[0]
    assert (tuple(logits.shape), temperature, kind) == ((2, 96, 2), 4.0, mean)
    given = torch.cat(batches)
    assert len(given) == len(combined)
    assert np.allclose(sorted(given[:, 0].tolist()), sorted(combined[:, 0].tolist()), atol=1e-6)


def test_an_ensemble_of_copies_teaches_what_its_one_teacher_does(clone):
    project.params(clone, **{"hinton.distill.mean": "geometric"})
    run(*hinton())
    alone = weights("models/hinton")
    for name in ("one", "two"):
        shutil.copytree("models/teacher", f"models/ensemble/{name}")
    run(*hinton(teacher="models/ensemble"))
    assert weights("models/hinton") == alone


def test_scores_of_several_teachers_train_a_student(clone):
    project.write_task(clone, regression=True)
    two_teachers(clone, labels=())
    run(*hinton(teacher="models/ensemble"))
    assert load_model("models/hinton", AutoModelForSequenceClassification).config.num_labels == 1


@pytest.mark.parametrize("kind", [{}, {"pair": True}, {"regression": True}], ids=["classes", "pairs", "scores"])
def test_the_squared_error_of_logits_can_be_the_loss(clone, monkeypatch, kind):
    project.write_task(clone, train=32, **kind)
    tiny.save(
        tiny.bert(layers=4, seed=3, labels=() if "regression" in kind else ("bad", "good")), clone / "models/teacher"
    )
    seen = []
    loss = method.logit_loss
    monkeypatch.setattr(method, "logit_loss", lambda *given: seen.append(loss(*given)) or seen[-1])
    monkeypatch.setattr(method, "distillation_loss", lambda *_: pytest.fail("the soft loss"))
    project.params(clone, **{"hinton.distill.loss": "logits"})
    run(*hinton())
    assert len(seen) == 2 and set(seen[0]) == {"soft", "hard"}


def test_a_corpus_without_labels_is_a_transfer_set(clone):
    project.params(clone, **{"hinton.distill.alpha": 1.0, "hinton.distill.rows": CORPUS})
    run(*hinton(CORPUS))
    student = load_model("models/hinton", AutoModelForSequenceClassification)
    assert student.config.id2label == {0: "bad", 1: "good"}


def test_rows_without_labels_want_alpha_1(clone, capsys):
    project.params(clone, **{"hinton.distill.rows": CORPUS})
    line = refused(capsys, *hinton(CORPUS))
    assert f"hinton.distill.alpha = 0.7, but '{CORPUS}' has no labels: set it to 1.0" in line


def test_single_sentences_are_no_transfer_set_for_pairs(clone, capsys):
    project.write_task(clone, pair=True)
    project.params(clone, **{"hinton.distill.alpha": 1.0, "hinton.distill.rows": CORPUS})
    assert f"hinton.distill.rows = '{CORPUS}' has no column 'text_pair'" in refused(capsys, *hinton(CORPUS))


def test_a_transfer_set_that_lacks_a_class_still_gives_a_student_of_both(clone):
    rows = Dataset.from_parquet("data/task/train.parquet", cache_dir="cache").filter(lambda row: row["label"] == 0)
    rows.to_parquet("bad.parquet")
    run(*hinton("bad.parquet"))
    assert load_model("models/hinton", AutoModelForSequenceClassification).config.id2label == {0: "bad", 1: "good"}


@pytest.mark.parametrize(
    ("ensemble", "teacher", "needs"),
    [
        ({}, "models/teacher", ("code", "prepare", "teacher")),
        (
            {"one": {"seed": 1}, "two": {"seed": 2}},
            "models/ensemble",
            ("code", "ensemble@one", "ensemble@two", "prepare"),
        ),
    ],
)
def test_in_the_graph_hinton_needs_the_teachers_that_it_names_and_no_other(
    tmp_path, monkeypatch, ensemble, teacher, needs
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(project.ROOT / "dvc.yaml", tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    tree = YAML(typ="safe", pure=True).load((project.ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree["ensemble"] = ensemble
    tree["hinton"]["distill"]["teacher"] = teacher
    (tmp_path / "params.yaml").write_text(json.dumps(tree))
    stages = {stage.name: stage for stage in load_graph(tmp_path)}
    assert stages["hinton"].needs == needs
    assert {name for name in stages if name.startswith("ensemble")} == {f"ensemble@{name}" for name in ensemble}
