"""fitnets at a tiny size: from text to a plain checkpoint, whole, interrupted and without its hint."""

import pytest
import torch

from stillhouse.training.schedules import Scheduled
from tasks import task_phase
from tests.tasks import project
from tests.tasks.project import loaded, on_task, refused, run

HINT = on_task(task_phase, "fitnets", "--phase", "hint", out="fitnets-hint")
DISTILL = on_task(task_phase, "fitnets", "--student", "models/fitnets-hint", out="fitnets")
DEEP = {
    "layers": 6, "hidden_size": 16, "heads": 2, "intermediate_size": 32, "init": "random", "source_layers": None,
    "from": None,
}  # fmt: skip


@pytest.fixture
def clone(clone):
    project.params(clone, **{"fitnets.hint.student": DEEP})
    return clone


def test_the_student_is_deeper_and_thinner_and_a_plain_model(clone):
    run(*HINT)
    run(*DISTILL)
    student = loaded("models/fitnets")
    assert (student.config.num_hidden_layers, student.config.hidden_size) == (6, 16)
    assert student.config.id2label == {0: "bad", 1: "good"}
    assert not any("regressor" in name for name in student.state_dict())


def test_the_hint_changes_the_lower_half_alone(clone):
    run(*HINT)
    hinted = loaded("models/fitnets-hint").state_dict()
    project.params(clone, **{"fitnets.hint.student": DEEP, "fitnets.hint.phase": None})
    run(*HINT)
    start = loaded("models/fitnets-hint").state_dict()
    project.params(clone, **{"fitnets.hint.student": DEEP})
    upper = ("bert.encoder.layer.3.", "bert.encoder.layer.4.", "bert.encoder.layer.5.", "bert.pooler.", "classifier.")
    for name in ("bert.encoder.layer.2.output.dense.weight", "bert.embeddings.word_embeddings.weight"):
        assert not torch.equal(hinted[name], start[name])
    named = [name for name in hinted if name.startswith(upper)]
    assert len(named) > 40
    assert all(torch.equal(hinted[name], start[name]) for name in named)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [HINT, DISTILL], ids=["hint", "distill"])
def test_an_interrupted_stage_ends_with_the_same_bytes(clone, monkeypatch, stage):
    run(*HINT)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, stage, step=5)


def test_lambda_falls_over_the_second_stage_and_multiplies_the_soft_loss(clone, monkeypatch):
    run(*HINT)
    seen = []
    begin = Scheduled.on_step_begin

    def watch(self, args, state, control, **context):
        begin(self, args, state, control, **context)
        seen.append(self.value)

    monkeypatch.setattr(Scheduled, "on_step_begin", watch)
    run(*DISTILL)
    assert seen == pytest.approx([4.0, 3.5, 3.0, 2.5, 2.0, 1.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fitnets.hint.hint_layer": 5}, "hint_layer = 5: the model has layers 1 to 4"),
        ({"fitnets.hint.guided_layer": 7}, "guided_layer = 7: the model has layers 1 to 6"),
        ({"fitnets.hint.phase": {"epochs": 0.0}}, "fitnets.hint.phase.epochs = 0.0"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(clone, capsys, changes, message):
    project.params(clone, **{"fitnets.hint.student": DEEP}, **changes)
    assert message in refused(capsys, *HINT)


def test_a_phase_does_not_ask_what_another_one_reads(clone, capsys):
    project.params(clone, **{"fitnets.hint.student": DEEP, "fitnets.distill.temperature": 0.0})
    run(*HINT)
    assert "fitnets.distill.temperature = 0.0" in refused(capsys, *DISTILL)
