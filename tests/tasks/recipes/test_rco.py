"""rco at a tiny size."""

import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, Trainer

from stillhouse.encoders.checkpoint import load_model
from stillhouse.methods import rco as method
from stillhouse.training.batches import collate, model_inputs
from tasks import finetune, task_phase
from tasks.phases.held_out import same_steps
from tasks.recipes import rco
from tasks.stage.params import Phase
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_task, refused, run

RCO = on_task(task_phase, "rco", out="rco", teacher="models/route")
HINTON = on_task(task_phase, "hinton", out="hinton", teacher="models/route/04")
INPUTS = model_inputs(collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0))
GREEDY = {
    "rco.distill.anchors": "greedy",
    "rco.distill.delta": 0.01,
    "rco.distill.count": 3,
    "rco.distill.held_out": 0.25,
}


@pytest.fixture
def clone(clone):
    for stop in range(1, 5):
        tiny.save(tiny.bert(layers=4, seed=stop), clone / f"models/route/{stop:02d}")
    return clone


def loaded():
    return load_model("models/rco", AutoModelForSequenceClassification)


def walked(text: str) -> list[tuple[int, int]]:
    """(step, anchor) of what a run said about its route."""
    lines = [line.split() for line in text.splitlines() if "of the route" in line and line.startswith("step")]
    return [(int(words[1].rstrip(":")), int(words[3])) for words in lines]


def steps(text: str) -> int:
    """How many steps a run had."""
    return int([line for line in text.splitlines() if "loss" in line][-1].split()[1].partition("/")[2])


def test_the_student_is_a_plain_model_that_gives_the_logits_it_had(clone, monkeypatch):
    project.params(clone, **{"train.precision": "fp32"} | GREEDY)
    plans = []
    distill = rco.distill
    monkeypatch.setattr(rco, "distill", lambda *given: plans.append(distill(*given)) or plans[-1])
    run(*RCO)
    student = loaded()
    assert type(student) is BertForSequenceClassification and student.config.num_hidden_layers == 3
    assert student.config.id2label == {0: "bad", 1: "good"}
    assert "anchor" not in student.state_dict()
    assert torch.equal(student(**INPUTS).logits, plans[0].student(**INPUTS).logits)
    assert int(plans[0].model.anchor) == 3


def test_equal_anchors_take_their_turns_and_the_last_is_the_teacher(clone, capsys):
    project.params(clone, **{"rco.distill.count": 4, "rco.distill.phase.epochs": 2})
    run(*RCO)
    assert walked(capsys.readouterr().out) == [(0, 1), (3, 2), (6, 3), (9, 4)]


@pytest.mark.parametrize("anchors", ["equal", "greedy"])
def test_each_anchor_has_a_learning_rate_schedule_of_its_own(clone, monkeypatch, anchors):
    seen = []
    trains = Trainer.training_step

    def watch(self, *batch):
        seen.append(self.optimizer.param_groups[0]["lr"])
        return trains(self, *batch)

    monkeypatch.setattr(Trainer, "training_step", watch)
    changes = {"anchors": anchors, "count": 3, "held_out": 0.25, "phase.epochs": 2, "phase.learning_rate": 0.006}
    project.params(clone, **{f"rco.distill.{key}": value for key, value in changes.items()}, **{"train.warmup": 0.25})
    run(*RCO)
    # Twelve steps in three parts of four, a quarter of each warm-up.
    assert seen == pytest.approx([0, 0.006, 0.004, 0.002] * 3)


def test_each_step_reads_the_logits_of_the_checkpoint_that_its_anchor_names(clone, monkeypatch):
    seen = []
    kept = method.divergence
    monkeypatch.setattr(method, "divergence", lambda s, a, t: seen.append(a) or kept(s, a, t))
    project.params(clone, **{"rco.distill.count": 2})
    run(*RCO)
    rows = [{"input_ids": ids} for ids in tiny.tokenizer()(tiny.sentences(96, seed=1)[0])["input_ids"]]
    for logits, stop in ((seen[0], "02"), (seen[-1], "04")):
        teacher = load_model(clone / "models/route" / stop, AutoModelForSequenceClassification)
        every = teacher(**model_inputs(collate(rows, pad_id=0))).logits
        nearest = (logits[:, None] - every[None]).abs().amax(-1).amin(1)
        assert nearest.max().item() < 1e-4


def test_the_route_takes_as_many_steps_as_distillation_from_the_teacher_alone(clone, capsys):
    run(*HINTON)
    plain = steps(capsys.readouterr().out)
    for changes in ({}, GREEDY):
        project.params(clone, **changes)
        run(*RCO)
        assert steps(capsys.readouterr().out) == plain == 6


@pytest.mark.parametrize("rows", [95, 96, 97, 2400])
@pytest.mark.parametrize("epochs", [0.3, 1.0, 3.0])
def test_rows_that_are_held_out_cost_no_steps(rows, epochs):
    phase = Phase(epochs=epochs, batch_size=16, learning_rate=1.0, seed=0)
    for after in (1, 16, 17, rows - 1):
        batches = math.ceil(after / 16)
        assert math.ceil(same_steps(phase, rows, after).epochs * batches) == math.ceil(epochs * math.ceil(rows / 16))


def test_greedy_measures_on_rows_that_it_does_not_train_on(clone, monkeypatch):
    project.params(clone, **GREEDY)
    measured, trained = [], []
    keep, loop = method.Greedy.hold_out, rco.Plan
    monkeypatch.setattr(method.Greedy, "hold_out", lambda self, rows: measured.append(rows) or keep(self, rows))

    def plan(*given, keep, **rest):
        return loop(*given, keep=lambda data: trained.append(keep(data)) or trained[-1], **rest)

    monkeypatch.setattr(rco, "Plan", plan)
    run(*RCO)
    assert (len(measured[0]), len(trained[0])) == (24, 72)
    both = [list(rows["teacher_logits"]) for rows in (measured[0], trained[0])]
    assert len(both[0][0]) == 4  # all anchors
    whole = [ids for part in (measured[0], trained[0]) for ids in part["input_ids"]]
    assert sorted(whole) == sorted(tiny.tokenizer()(tiny.sentences(96, seed=1)[0])["input_ids"])


@pytest.mark.parametrize(
    ("changes", "step"),
    # A checkpoint every second step, and parts of three, two and four steps.
    [({"rco.distill.count": 2}, 5), (GREEDY, 3), (GREEDY | {"rco.distill.phase.epochs": 2}, 7)],
    ids=["equal, amid a part", "greedy, where it chooses", "greedy, amid a part"],
)
def test_a_run_that_was_interrupted_ends_with_the_same_weights(clone, monkeypatch, changes, step):
    project.params(clone, **changes)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, RCO, step)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 5}, "count (5) is more than the 4 checkpoints of the route: lower it, or raise teacher.route"),
        ({"count": 7, "anchors": "greedy"}, "6 steps are fewer than the 7 parts of the route"),
        ({"held_out": 0.001, "anchors": "greedy"}, "rco.distill.held_out = 0.001 takes 0 of 96 rows"),
        ({"held_out": 1.0}, "rco.distill.held_out = 1.0"),
        ({"anchors": "some"}, "rco.distill.anchors = 'some'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(clone, capsys, changes, message):
    project.params(clone, **{f"rco.distill.{key}": value for key, value in changes.items()})
    assert message in refused(capsys, *RCO)


def test_an_empty_route_is_refused_with_the_way_out(clone, capsys):
    project.params(clone, **{"teacher.route": 0})
    run(finetune, "--data", "data/task", "--out", "models/teacher", "--route", "models/route")
    assert "'models/route' holds no checkpoint" in refused(capsys, *RCO)
