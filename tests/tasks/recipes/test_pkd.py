"""pkd at a tiny size."""

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    RobertaForSequenceClassification,
)

from stillhouse.encoders.checkpoint import load_model
from stillhouse.training.batches import collate, model_inputs
from tasks import task_phase
from tasks.recipes import pkd
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_task, refused, run

PKD = on_task(task_phase, "pkd", out="pkd")
INPUTS = model_inputs(collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0))


def loaded():
    return load_model("models/pkd", AutoModelForSequenceClassification)


def test_the_student_is_a_plain_model_that_gives_the_logits_it_had(clone, monkeypatch):
    project.params(clone, **{"train.precision": "fp32"})
    plans = []
    distill = pkd.distill
    monkeypatch.setattr(pkd, "distill", lambda *given: plans.append(distill(*given)) or plans[-1])
    run(*PKD)
    student = loaded()
    assert type(student) is BertForSequenceClassification
    assert student.config.num_hidden_layers == len(student.bert.encoder.layer) == 3
    assert student.config.id2label == {0: "bad", 1: "good"}
    assert torch.equal(student(**INPUTS).logits, plans[0].student(**INPUTS).logits)


def test_the_student_starts_from_the_teachers_first_layers(clone):
    project.params(clone, **{"pkd.distill.phase.learning_rate": 1e-12})
    run(*PKD)
    teacher = load_model("models/teacher", AutoModelForSequenceClassification)
    for ours, theirs in zip(loaded().bert.encoder.layer, teacher.bert.encoder.layer[:3], strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_the_states_the_map_and_the_weights_each_make_another_student(clone):
    seen = set()
    for changes in ({}, {"layers": "last"}, {"layers": [4, 4], "alpha": 1.0}, {"beta": 0.0}):
        project.params(clone, **{f"pkd.distill.{key}": value for key, value in changes.items()})
        run(*PKD)
        seen.add((clone / "models/pkd/model.safetensors").read_bytes())
    assert len(seen) == 4


def test_roberta_is_distilled_as_bert_is(clone):
    torch.manual_seed(0)
    tiny.save(RobertaForSequenceClassification(tiny.roberta(4)), clone / "models/teacher")
    run(*PKD)
    assert type(loaded()) is RobertaForSequenceClassification


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_with_the_same_weights(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, PKD, step=5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "student.hidden_size": 16,
                "student.heads": 2,
                "student.intermediate_size": 32,
                "student.init": "random",
                "student.source_layers": None,
            },
            "pkd.distill.student.hidden_size (16) must be the teacher's 32",
        ),
        ({"layers": [1]}, "layers [1] must name 2 of the teacher's layers 1 to 4"),
        ({"student.layers": 1, "student.source_layers": [1]}, "student.layers (1) leaves no layer below the last one"),
        ({"student.layers": 2}, "source_layers [1, 2, 3] names 3 layers for a student of 2"),
        ({"layers": "first"}, "pkd.distill.layers"),
        ({"beta": -1.0}, "pkd.distill.beta = -1.0"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(clone, capsys, changes, message):
    project.params(clone, **{f"pkd.distill.{key}": value for key, value in changes.items()})
    assert message in refused(capsys, *PKD)
    assert not (clone / "models/pkd").exists()
