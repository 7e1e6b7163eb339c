"""distilbert's two stages at a tiny size."""

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
)

from stillhouse.encoders.checkpoint import load_model
from stillhouse.methods import distilbert as method
from tasks import task_phase
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_corpus, on_task, refused, run

GENERAL = on_corpus("distilbert")
TASK = on_task(task_phase, "distilbert", "--student", "models/general", out="distilbert")


def test_the_general_student_is_a_bare_encoder_of_every_other_layer(clone):
    project.params(clone, **{"distilbert.general.phase": None})
    run(*GENERAL)
    student = load_model(clone / "models/general", AutoModel)
    teacher = load_model(clone / "models/mlm", AutoModel)
    assert type(student).__name__ == "BertModel"
    for ours, theirs in ((0, 1), (1, 3)):
        one, other = student.encoder.layer[ours], teacher.encoder.layer[theirs]
        assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_it_goes_from_the_corpus_to_a_classifier_and_twice_gives_the_same_bytes(clone):
    run(*GENERAL)
    run(*TASK)
    student = load_model(clone / "models/distilbert", AutoModelForSequenceClassification)
    assert student.config.num_hidden_layers == 2 and student.config.id2label == {0: "bad", 1: "good"}
    assert not any("cls" in name or "decoder" in name for name in student.state_dict())
    first = (clone / "models/distilbert/model.safetensors").read_bytes()
    torch.manual_seed(99)  # what loading fills a missing pooler with must not matter
    run(*TASK)
    assert (clone / "models/distilbert/model.safetensors").read_bytes() == first


@pytest.mark.slow
def test_an_interrupted_general_stage_ends_with_the_same_weights(clone, monkeypatch):
    run(*GENERAL)
    expected = (clone / "models/general/model.safetensors").read_bytes()

    real, calls = method.GeneralDistillation.forward, []

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) == 4:  # after the checkpoint of step 2
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(method.GeneralDistillation, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run(*GENERAL)
    monkeypatch.setattr(method.GeneralDistillation, "forward", real)
    run(*GENERAL)
    assert (clone / "models/general/model.safetensors").read_bytes() == expected


def test_fine_tuning_alone_computes_no_logits_of_the_teacher(clone, capsys):
    project.params(clone, **{"distilbert.distill.task.loss": "finetune", "distilbert.general.phase": None})
    run(*GENERAL)
    run(*TASK)
    assert "computing the teacher's logits" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"distilbert.general.weights.kl": 0.0},
        {"distilbert.general.weights.cosine": 0.0},
        {"distilbert.general.weights.mlm": 0.0},
        {"distilbert.general.student.init": "random"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_papers_ablations_run(clone, changes):
    project.params(clone, **changes)
    run(*GENERAL)
    assert load_model(clone / "models/general", AutoModel).config.num_hidden_layers == 2


def test_a_roberta_goes_through_both_stages(clone):
    tiny.save_robertas(clone)
    run(*GENERAL)
    run(*TASK)
    assert load_model(clone / "models/distilbert", AutoModelForSequenceClassification).config.model_type == "roberta"


def test_a_teacher_without_a_masked_lm_head_is_refused_in_one_line(clone, capsys):
    line = refused(capsys, *[word for word in GENERAL if word not in ("--mlm", "models/mlm")])
    assert "distilbert's teacher is a BertModel: give a masked LM (--mlm models/mlm)" in line
    assert not (clone / "models/general").exists()
