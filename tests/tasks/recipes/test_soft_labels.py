"""Soft labels as data: the student is the one that a teacher with those outputs gives, to the byte."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, List, Value
from safetensors.numpy import load_file

from stillhouse.errors import InputError
from stillhouse.training.outcomes import Outcomes, SeveralLabels
from tasks import task_phase
from tasks.data.dataset import load_split
from tasks.kinds.find import load_task
from tasks.phases import run as phases
from tasks.phases.run import mean_of_softmaxes
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run

WORDS = ("hinton", "--data", "data/task", "--teacher", "models/teacher", "--out")


def state_probabilities(folder: Path, shares: np.ndarray) -> None:
    """Give the training rows probabilities of their labels."""
    file = folder / "data/task/train.parquet"
    rows = load_split(file)
    kind = json.loads((folder / "params.yaml").read_text())["data"]["kind"]
    features = rows.features.copy() | {"probabilities": List(Value("float32"))}
    columns = {name: rows[name][:] for name in rows.column_names} | {"probabilities": shares.tolist()}
    Dataset.from_dict(columns, type(rows.features)(features)).to_parquet(file)
    tiny.state_kind(file, kind)


def some(rows: int, width: int, several: bool) -> np.ndarray:
    draws = np.random.default_rng(3).random((rows, width)).astype(np.float32)
    draws[0] = np.arange(width) == 0  # certain
    return draws if several else draws / draws.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("several", [False, True], ids=["classes", "multi-label"])
@pytest.mark.parametrize("loss", ["soft", "logits"])
def test_the_student_is_that_of_a_teacher_with_those_outputs(clone, monkeypatch, several, loss) -> None:
    if several:
        project.write_task(clone, several=True, train=32)
        tiny.save(tiny.several_labels(layers=4, seed=3), clone / "models/teacher")
    rows = len(load_split(clone / "data/task/train.parquet"))
    project.params(clone, **{"hinton.distill.loss": loss})
    shares = some(rows, 2, several)
    state_probabilities(clone, shares)
    stated = load_task(Path("data/task")).kind.stated(load_split(Path("data/task/train.parquet")))
    given = np.exp(stated) if not several else 1 / (1 + np.exp(-stated))
    np.testing.assert_allclose(given, shares, atol=2e-6)
    monkeypatch.setattr(phases, "cached_logits", None)  # nobody asks the teacher
    run(task_phase, *WORDS, "models/by-data")

    project.write_task(clone, several=several, train=rows)  # the same rows without them
    monkeypatch.setattr(phases, "cached_logits", lambda *given: stated)
    run(task_phase, *WORDS, "models/by-teacher")
    ours, theirs = (load_file(clone / "models" / name / "model.safetensors") for name in ("by-data", "by-teacher"))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_beside_a_teacher_it_is_the_mean_of_both(clone, monkeypatch) -> None:
    project.params(clone, **{"train.soft_labels": "beside"})
    rows = len(load_split(clone / "data/task/train.parquet"))
    shares = some(rows, 2, several=False)
    state_probabilities(clone, shares)
    seen = []
    monkeypatch.setattr(phases, "with_logits", lambda data, logits: seen.append(logits) or data)
    monkeypatch.setattr(phases, "run_phase", lambda *given: None)
    teacher = np.log(some(rows, 2, several=False)[::-1].clip(1e-6))
    monkeypatch.setattr(phases, "cached_logits", lambda *given: teacher)
    project.params(clone, **{"train.soft_labels": "beside", "hinton.distill.temperature": 1.0})
    run(task_phase, *WORDS, "models/out")
    mixed = np.exp(seen[0]) / np.exp(seen[0]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        mixed, (shares + np.exp(teacher) / np.exp(teacher).sum(axis=1, keepdims=True)) / 2, atol=1e-5
    )


def test_a_recipe_that_walks_a_teachers_way_refuses_them(clone, capsys) -> None:
    state_probabilities(clone, some(len(load_split(clone / "data/task/train.parquet")), 2, several=False))
    for seed, name in ((4, "01"), (5, "02")):
        tiny.save(tiny.bert(layers=4, seed=seed), clone / "models/teacher-route" / name)
    words = ("rco", "--data", "data/task", "--teacher", "models/teacher-route", "--out", "models/rco")
    assert "the rows state probabilities, and this recipe learns from a teacher on its way" in refused(
        capsys, task_phase, *words
    )


def test_rows_without_theirs_among_others_are_named(clone) -> None:
    task = load_task(Path("data/task"))
    rows = Dataset.from_dict({"probabilities": [[0.5, 0.5], None]})
    with pytest.raises(InputError, match="training row 2 states no probabilities, and others do"):
        task.kind.stated(rows)


def test_several_labels_of_several_teachers_are_combined_label_by_label() -> None:
    logits = np.array([[[2.0, -1.0]], [[0.0, 3.0]]])  # (K, N, W)
    given = SeveralLabels().combined(logits, mean_of_softmaxes)
    share = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(1 / (1 + np.exp(-given)), share.mean(axis=0), atol=1e-6)
    assert Outcomes().combined(logits, lambda both: both.swapaxes(0, 1)).shape == (1, 2, 2)
    assert SeveralLabels().combined(logits, lambda both: both.swapaxes(0, 1)).tolist() == logits.swapaxes(0, 1).tolist()
