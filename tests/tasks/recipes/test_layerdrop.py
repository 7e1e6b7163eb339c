"""layerdrop's three stages at a tiny size."""

import json

import pytest
import torch
from datasets import load_dataset
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
)

from stillhouse.encoders.checkpoint import load_model
from stillhouse.encoders.families import encoder_layers
from stillhouse.training.batches import collate, model_inputs
from tasks import finetune, prune, task_phase
from tasks.phases import pruning
from tasks.recipes import layerdrop
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_corpus, on_task, refused, run

GENERAL = on_corpus("layerdrop")
TASK = on_task(task_phase, "layerdrop", "--phase", "finetune", "--student", "models/general", out="full")
SIZES = {"layerdrop.general.target": 2, "layerdrop.finetune.target": 2, "layerdrop.prune.keep": 2}
# Any model with a head will do to be cut: here the teacher, of four layers.
PRUNE = on_task(prune, "layerdrop", out="layerdrop")
INPUTS = model_inputs(collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0))


@pytest.fixture
def clone(clone):
    project.params(clone, **SIZES)
    return clone


def changed(clone, **changes):
    """Set keys of the phase `prune`, those of `held_out` and of skipping in each phase that has them."""
    several = dict.fromkeys(("rate", "target"), ("general", "finetune")) | {"held_out": ("finetune", "prune")}
    given = {}
    for key, value in changes.items():
        for phase in several.get(key, ("prune",)):
            given[f"layerdrop.{phase}.{key}" + (".share" if key == "held_out" else "")] = value
    project.params(clone, **SIZES | given)


def loaded(name="layerdrop"):
    return load_model(f"models/{name}", AutoModelForSequenceClassification)


def kept():
    """Which layers of the teacher the result has, counted from 1."""
    theirs = [layer.output.dense.weight for layer in encoder_layers(loaded("teacher"))]
    ours = [layer.output.dense.weight for layer in encoder_layers(loaded())]
    return [next(i for i, w in enumerate(theirs, 1) if torch.equal(w, weight)) for weight in ours]


def test_it_goes_from_the_corpus_to_a_plain_model_of_fewer_layers(clone):
    run(*GENERAL)
    general = load_model("models/general", AutoModel)
    assert type(general).__name__ == "BertModel" and general.config.num_hidden_layers == 4
    run(*TASK)
    full = loaded("full")
    assert full.config.num_hidden_layers == 4 and full.config.id2label == {0: "bad", 1: "good"}
    run(prune, "layerdrop", "--data", "data/task", "--teacher", "models/full", "--out", "models/layerdrop")
    model = loaded()
    assert type(model) is BertForSequenceClassification and model.config.num_hidden_layers == 2
    with layerdrop.method.only_layers(full, [0, 2]):
        assert torch.allclose(model(**INPUTS).logits, full(**INPUTS).logits, atol=1e-6)


@pytest.mark.parametrize("words", [GENERAL, TASK], ids=["corpus", "task"])
def test_a_stage_that_was_interrupted_ends_with_the_same_weights(clone, monkeypatch, words):
    tiny.save(tiny.bert(layers=4).bert, clone / "models/general")
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, words, 3)


@pytest.mark.parametrize("kind", ["pair", "regression"])
def test_pairs_and_scores_are_trained_and_cut(clone, kind):
    project.write_task(clone, **{kind: True})
    metric = "pearson" if kind == "regression" else "accuracy"
    numbers = {"evaluate.metric": metric, "teacher.floor": -1.0, "layerdrop.general.phase": None}
    numbers |= SIZES
    project.params(clone, **numbers | {"layerdrop.prune.choose": "search"})
    run(finetune, "--data", "data/task", "--out", "models/teacher", "--route", "models/route")
    run(*GENERAL)
    run(*TASK)
    run(*PRUNE)
    assert loaded().config.num_labels == (1 if kind == "regression" else 2)
    project.params(clone, **numbers | {"layerdrop.prune.choose": "data-driven"})
    run(*PRUNE)
    assert loaded().config.num_hidden_layers == 2


def test_a_roberta_goes_through_all_stages(clone):
    tiny.save_robertas(clone)
    run(*GENERAL)
    run(*TASK)
    run(prune, "layerdrop", "--data", "data/task", "--teacher", "models/full", "--out", "models/layerdrop")
    assert loaded().config.model_type == "roberta" and loaded().config.num_hidden_layers == 2


def trained_rates(monkeypatch):
    seen = []
    drop = layerdrop.method.LayerDrop
    monkeypatch.setattr(layerdrop.method, "LayerDrop", lambda model, rate: seen.append(rate) or drop(model, rate))
    return seen


@pytest.mark.parametrize(("rate", "target", "expected"), [(0.2, 2, 0.2), (None, 1, 0.75), (None, 2, 0.5)])
def test_the_rate_is_the_given_one_or_that_of_the_depth_aimed_at(clone, monkeypatch, rate, target, expected):
    seen = trained_rates(monkeypatch)
    changed(clone, rate=rate, target=target)
    run(*GENERAL)
    run(*TASK)
    assert seen == [expected, expected]


def test_the_corpus_phase_can_be_left_out(clone):
    project.params(clone, **SIZES | {"layerdrop.general.phase": None})
    run(*GENERAL)
    ours, theirs = load_model("models/general", AutoModel), load_model("models/mlm", AutoModel)
    assert all(torch.equal(p, q) for p, q in zip(ours.encoder.parameters(), theirs.encoder.parameters(), strict=True))


@pytest.mark.parametrize(
    ("choose", "keep", "expected"),
    [("every-other", 2, [1, 3]), ("every-other", 3, [1, 2, 3]), ([4, 2], 2, [2, 4]), ("every-other", 4, [1, 2, 3, 4])],
)
def test_the_layers_that_were_asked_for_stay(clone, capsys, choose, keep, expected):
    changed(clone, choose=choose, keep=keep)
    run(*PRUNE)
    assert kept() == expected
    assert f"layers {', '.join(map(str, expected))} of 4 stay" in capsys.readouterr().out


def held_out_accuracy(layers):
    """Accuracy and minus the loss of some layers of the teacher on the rows that the choice is made on."""
    rows = load_dataset("parquet", data_files="data/task/train.parquet", split="train")
    measured = layerdrop.held_out(96, 0.1, 1, "held_out")
    rows = rows.select(measured)
    ids = tiny.tokenizer()(rows["text"][:])["input_ids"]
    model = loaded("teacher")
    with torch.no_grad(), layerdrop.method.only_layers(model, layers):
        logits = model(**model_inputs(collate([{"input_ids": row} for row in ids], 0))).logits
    labels = torch.tensor(rows["label"][:])
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    return (logits.argmax(1) == labels).float().mean().item(), -loss


def test_a_search_keeps_the_layers_that_score_best_on_held_out_training_rows(clone, capsys):
    changed(clone, choose="search")
    run(*PRUNE)
    assert "scored 6 of at most 6 subsets" in capsys.readouterr().out
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    assert kept() == [i + 1 for i in max(pairs, key=held_out_accuracy)]


def test_held_out_rows_are_not_trained_on(clone, monkeypatch):
    tiny.save(tiny.bert(layers=4).bert, clone / "models/general")
    seen = []
    plan = layerdrop.replace
    monkeypatch.setattr(
        layerdrop, "replace",
        lambda given, keep: plan(given, keep=lambda data: seen.append((data, keep(data))) or seen[-1][1]),
    )  # fmt: skip
    run(*TASK)
    (whole, trained), measured = seen[0], layerdrop.held_out(96, 0.1, 1, "held_out")
    assert (len(whole), len(trained), len(measured)) == (96, 86, 10)
    rest = [i for i in range(96) if i not in measured]
    assert trained["input_ids"][:] == [whole["input_ids"][i] for i in rest]


def test_with_nothing_held_out_a_choice_is_made_on_validation_and_all_rows_are_trained_on(clone, monkeypatch):
    asked = []
    scorer = pruning.Bench.scorer
    monkeypatch.setattr(pruning.Bench, "scorer", lambda self, rows: asked.append(len(rows)) or scorer(self, rows))
    changed(clone, choose="search", held_out=0.0)
    run(*PRUNE)
    assert asked == [32, 32]  # the bench's own, and the search's


def test_a_search_that_was_killed_goes_on_and_ends_alike(clone, monkeypatch):
    changed(clone, choose="search")
    run(*PRUNE)
    expected = kept()
    known = []
    inside = layerdrop.method.only_layers

    def dies(model, layers):
        known.append(layers)
        if len(known) == 4:
            raise KeyboardInterrupt
        return inside(model, layers)

    with monkeypatch.context() as patch:
        patch.setattr(layerdrop.method, "only_layers", dies)
        with pytest.raises(KeyboardInterrupt):
            run(*PRUNE)
    (file,) = (clone / ".cache/unfinished").rglob("subsets.json")
    assert len(json.loads(file.read_text())) == 3
    again = []
    monkeypatch.setattr(layerdrop.method, "only_layers", lambda m, layers: again.append(layers) or inside(m, layers))
    run(*PRUNE)
    assert kept() == expected and len(again) == 3


def test_a_data_driven_choice_that_was_interrupted_ends_alike(clone, monkeypatch):
    changed(clone, choose="data-driven")
    seen = []
    choose = layerdrop.method.likeliest_layers

    def kept_shares(rates, batches):
        seen.append(rates.outer.detach().clone())
        return choose(rates, batches)

    monkeypatch.setattr(layerdrop.method, "likeliest_layers", kept_shares)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, PRUNE, 3)
    assert torch.equal(*seen) and seen[0].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 5}, "keep = 5: the model has 4 layers: choose from 1 to 4"),
        ({"choose": [1, 9]}, "layers [1, 9]: the model has layers 1 to 4, not [9]"),
        ({"choose": [2, 2]}, "layers [2, 2] name [2] more than once"),
        ({"choose": [1, 2, 3]}, "layerdrop.prune.choose names 3 layers, and layerdrop.prune.keep = 2"),
        ({"choose": "search", "search_limit": 5}, "limit = 5 is below the 7 subsets that a greedy search"),
        ({"choose": "search", "held_out": 0.001}, "layerdrop.finetune.held_out.share = 0.001 takes 0 of 96 rows"),
        ({"choose": "random"}, "layerdrop.prune.choose"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    changed(clone, **changes)
    assert message in refused(capsys, *PRUNE)
    assert not (clone / "models/layerdrop").exists()


def test_a_depth_to_aim_at_that_the_model_does_not_have_is_refused(clone, capsys):
    changed(clone, target=5)
    assert "the model has 4 layers" in refused(capsys, *GENERAL)


def test_a_model_without_a_masked_lm_head_is_refused_in_one_line(clone, capsys):
    line = refused(capsys, *[word for word in GENERAL if word not in ("--mlm", "models/mlm")])
    assert "layerdrop's model is a BertModel: give a masked LM (--mlm models/mlm)" in line
