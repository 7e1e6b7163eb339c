"""magnitude at a tiny size: a recovery for each share, before fine-tuning or after it."""

import csv

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import load_model
from stillhouse.methods.magnitude import prunable_weights
from tasks import curve, prune
from tasks.recipes import magnitude
from tests.tasks import project
from tests.tasks.project import on_task, refused, run

PRUNE = on_task(prune, "magnitude", "--curve", "reports/magnitude/curve.csv", out="magnitude")


def changed(clone, **changes):
    project.params(clone, **{f"magnitude.prune.{key}": value for key, value in changes.items()})


def loaded():
    return load_model("models/magnitude", AutoModelForSequenceClassification)


def zeros(model):
    weights = prunable_weights(model).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def rows(clone):
    with (clone / "reports/magnitude/curve.csv").open() as stream:
        return [(row["share"], float(row["before"]), float(row["after"])) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("distill", [True, False])
def test_the_curve_has_every_share_and_the_model_the_one_that_was_asked_for(clone, capsys, when, distill):
    changed(clone, when=when, distill=distill, shares=[0.0, 0.4, 0.8], share=0.4)
    run(*PRUNE)
    assert [share for share, _, _ in rows(clone)] == ["0", "0.4", "0.8"]
    assert zeros(loaded()) == pytest.approx(0.4, abs=0.01)
    assert loaded().config.id2label == {0: "bad", 1: "good"}
    assert ("computing the teacher's logits" in capsys.readouterr().out) == distill


def test_the_share_is_of_each_matrix_or_of_all_together(clone):
    project.write_task(clone, train=16)
    spread = {}
    for scope in ("local", "global"):
        changed(clone, scope=scope, shares=[0.4], share=0.4)
        run(*PRUNE)
        assert zeros(loaded()) == pytest.approx(0.4, abs=0.01)
        each = [float((w == 0).float().mean()) for w in prunable_weights(loaded()).values()]
        spread[scope] = max(each) - min(each)
    assert spread["local"] < 0.01 < spread["global"]


def starts(clone, monkeypatch):
    """The models that were trained, as they were when it began, and when it had ended."""
    seen = []
    plan = magnitude.Plan

    def kept(model, *rest, **options):
        seen.append((model, {name: weight.clone() for name, weight in model.state_dict().items()}))
        return plan(model, *rest, **options)

    monkeypatch.setattr(magnitude, "Plan", kept)
    run(*PRUNE)
    return seen


def test_before_fine_tuning_each_share_is_pruned_once_from_the_same_model(clone, monkeypatch):
    changed(clone, when="before", shares=[0.3, 0.6], share=0.6)
    start = load_model("start", AutoModelForSequenceClassification, num_labels=2)
    for share, (_, weights) in zip([0.3, 0.6], starts(clone, monkeypatch), strict=True):
        for name, weight in start.bert.encoder.state_dict().items():
            pruned = weights[f"bert.encoder.{name}"]
            assert torch.equal(pruned[pruned != 0], weight[pruned != 0]), name
        assert (weights["bert.encoder.layer.0.output.dense.weight"] == 0).float().mean() == pytest.approx(
            share, abs=0.01
        )


def test_after_fine_tuning_each_share_goes_on_from_the_one_before(clone, monkeypatch):
    changed(clone, when="after", shares=[0.3, 0.6], share=0.6)
    (first, one), (_, two) = starts(clone, monkeypatch)
    name = "bert.encoder.layer.0.output.dense.weight"
    teacher = load_model("models/teacher", AutoModelForSequenceClassification).state_dict()[name]
    assert torch.equal(one[name][one[name] != 0], teacher[one[name] != 0])
    recovered = first.state_dict()[name]
    assert torch.equal(two[name][two[name] != 0], recovered[two[name] != 0])
    assert not two[name][one[name] == 0].any(), "what is pruned stays pruned"


@pytest.mark.parametrize(
    ("when", "step"),
    [
        ("after", 3),
        ("before", 5),
        pytest.param("after", 5, marks=pytest.mark.slow),
        pytest.param("before", 3, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_interrupted_ends_with_the_same_model_and_curve(clone, monkeypatch, when, step):
    changed(clone, when=when, shares=[0.3, 0.5], share=0.5)
    run(*PRUNE)
    expected = rows(clone)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, PRUNE, step)
    assert rows(clone) == expected


def test_a_run_that_died_after_a_share_does_not_train_it_again(clone, monkeypatch, capsys):
    changed(clone, shares=[0.3, 0.5], share=0.5)
    prunes = magnitude.method.prune

    def dies(model, share, scope):
        if share == 0.5:
            raise KeyboardInterrupt
        return prunes(model, share, scope)

    with monkeypatch.context() as patch:
        patch.setattr(magnitude.method, "prune", dies)
        with pytest.raises(KeyboardInterrupt):
            run(*PRUNE)
    assert "30% pruned" in capsys.readouterr().out
    run(*PRUNE)
    said = capsys.readouterr().out
    assert "30% pruned" not in said and "50% pruned" in said
    assert [share for share, _, _ in rows(clone)] == ["0.3", "0.5"]


def test_the_curve_is_drawn_and_twice_gives_the_same_picture(clone):
    folder = clone / "reports/magnitude"
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text("share,before,after\n0,0.9,0.9\n0.5,0.6,0.85\n")
    (clone / "reports/teacher").mkdir()
    (clone / "reports/teacher/metrics.json").write_text('{"task_metric": "accuracy", "value": 0.91}')
    words = (curve, "magnitude", "--curve", folder / "curve.csv", "--teacher", "reports/teacher")
    words = (*words, "--out", folder / "curve.png")
    run(*words)
    first = (folder / "curve.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    run(*words)
    assert (folder / "curve.png").read_bytes() == first


def test_a_curve_that_is_not_there_is_refused(clone, capsys):
    (clone / "reports/teacher").mkdir(parents=True)
    (clone / "reports/teacher/metrics.json").write_text('{"task_metric": "accuracy", "value": 0.91}')
    words = ("magnitude", "--curve", "none.csv", "--teacher", "reports/teacher", "--out", "curve.png")
    assert "'none.csv' is missing" in refused(capsys, curve, *words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": [0.0, 1.0]}, "magnitude.prune.shares.1 = 1.0: Input should be less than 1"),
        ({"shares": [-0.1, 0.5]}, "magnitude.prune.shares.0 = -0.1: Input should be greater than or equal to 0"),
        ({"share": 1.5}, "magnitude.prune.share = 1.5: Input should be less than 1"),
        ({"share": 0.55}, "magnitude.prune.share = 0.55 is not one of magnitude.prune.shares [0.0, 0.5]"),
        ({"shares": [0.5, 0.3]}, "shares = [0.5, 0.3] must rise"),
        ({"shares": []}, "there must be at least one"),
        ({"when": "during"}, "magnitude.prune.when = 'during'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(clone, capsys, changes, message):
    changed(clone, **changes)
    assert message in refused(capsys, *PRUNE)
    assert not (clone / "models/magnitude").exists()
