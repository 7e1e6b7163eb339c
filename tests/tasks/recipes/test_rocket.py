"""rocket at a tiny size: the light net that is left loads alone, and its ablations run."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from stillhouse.encoders.checkpoint import load_model
from stillhouse.training.batches import collate, model_inputs
from tasks import task_phase
from tasks.recipes import rocket
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run

LAUNCH = (task_phase, "rocket", "--phase", "launch", "--data", "data/task", "--out", "models/rocket")


def loaded():
    return load_model("models/rocket", AutoModelForSequenceClassification)


def test_the_light_net_is_a_plain_model_that_gives_its_logits_without_the_booster(clone, monkeypatch):
    plans = []
    launch = rocket.launch
    monkeypatch.setattr(rocket, "launch", lambda *given: plans.append(launch(*given)) or plans[-1])
    run(*LAUNCH)
    light = loaded()
    assert type(light) is BertForSequenceClassification
    assert light.config.num_hidden_layers == len(light.bert.encoder.layer) == 3
    assert light.config.id2label == {0: "bad", 1: "good"}
    inputs = model_inputs(collate([{"input_ids": [2, 7, 8, 3]}], pad_id=0))
    assert torch.allclose(light(**inputs).logits, plans[0].student(**inputs).logits, atol=1e-6)
    assert torch.allclose(
        light(**inputs).logits, plans[0].model.eval()(inputs)[0].logits, atol=2e-2
    )  # in bf16 here and there


@pytest.mark.parametrize(("init", "layers"), [("last", [1, 2, 4]), ("next", [1, 2, 3])])
def test_the_booster_is_the_model_before_fine_tuning_and_gives_the_light_net_its_start(clone, init, layers):
    (clone / "models/teacher/model.safetensors").unlink()
    project.params(clone, **{"rocket.launch.phase.learning_rate": 1e-12, "rocket.launch.init": init})
    run(*LAUNCH)
    start = tiny.bert(layers=4).bert.encoder.layer
    for ours, source in zip(loaded().bert.encoder.layer, layers, strict=True):
        for a, b in zip(ours.parameters(), start[source - 1].parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def weights(folder):
    return (folder / "models/rocket/model.safetensors").read_bytes()


def test_the_booster_the_block_and_the_kind_of_hint_each_make_another_light_net(clone):
    project.write_task(clone, train=32)
    seen = set()
    changes = [
        {}, {"gradient_block": False}, {"booster": False}, {"hint": "softmax"}, {"hint": "soft"}, {"init": "random"},
    ]  # fmt: skip
    for change in changes:
        project.params(clone, **{f"rocket.launch.{key}": value for key, value in change.items()})
        run(*LAUNCH)
        seen.add(weights(clone))
    assert len(seen) == len(changes)


@pytest.mark.slow
def test_an_interrupted_launch_ends_with_the_same_bytes(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, LAUNCH, step=5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shared": 4}, "rocket.launch.shared + rocket.launch.light_layers = 5 is more than the booster's 4 layers"),
        ({"shared": 3, "light_layers": 2}, "rocket.launch.shared + rocket.launch.light_layers = 5"),
        ({"gradient_block": "False"}, "rocket.launch.gradient_block = 'False'"),
        ({"hint": "cosine"}, "rocket.launch.hint = 'cosine'"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(clone, capsys, changes, message):
    project.params(clone, **{f"rocket.launch.{key}": value for key, value in changes.items()})
    assert message in refused(capsys, *LAUNCH)


def test_scores_have_no_classes_to_compare(clone, capsys):
    project.write_task(clone, train=32, regression=True)
    project.params(clone, **{"rocket.launch.hint": "softmax"})
    assert "hint = 'softmax' compares classes, and the task has scores: use 'logits'" in refused(capsys, *LAUNCH)
