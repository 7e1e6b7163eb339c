"""theseus at a tiny size: a plain successor, its phases, and its coins after an interruption."""

import pytest
import torch

from stillhouse.training.batches import collate, model_inputs
from tasks import task_phase
from tasks.recipes import theseus
from tests.tasks import project
from tests.tasks.project import loaded, on_task, refused, run

REPLACE = on_task(task_phase, "theseus", "--phase", "replace", out="theseus-replace")
FINETUNE = on_task(task_phase, "theseus", "--phase", "finetune", "--student", "models/theseus-replace", out="theseus")


@pytest.fixture
def clone(clone):
    project.params(clone, **{"theseus.replace.layers": 2})
    return clone


def test_the_successor_is_a_plain_model_of_few_layers_around_the_teachers_embeddings_and_head(clone):
    run(*REPLACE)
    successor, teacher = loaded("models/theseus-replace"), loaded("models/teacher")
    assert successor.config.num_hidden_layers == len(successor.bert.encoder.layer) == 2
    ours, theirs = successor.state_dict(), teacher.state_dict()
    assert set(ours) < set(theirs)
    for name, weight in ours.items():
        if ".encoder." not in name:
            assert torch.equal(weight, theirs[name]), name
    name = "bert.encoder.layer.1.output.dense.weight"
    assert not torch.equal(ours[name], theirs[name])


def test_the_successor_gives_the_logits_that_it_had_inside_the_teacher(clone, monkeypatch):
    plans = []
    replace = theseus.replace
    monkeypatch.setattr(theseus, "replace", lambda *given: plans.append(replace(*given)) or plans[-1])
    run(*REPLACE)
    inputs = model_inputs(collate([{"input_ids": [2, 7, 8, 3]}], pad_id=0))
    inside = plans[0].model.eval().replaced(inputs, [True, True]).logits
    alone = loaded("models/theseus-replace")(**inputs).logits
    assert torch.allclose(alone, inside, atol=1e-5)


def test_fine_tuning_trains_all_of_the_successor_and_can_be_left_out(clone):
    run(*REPLACE)
    run(*FINETUNE)
    before, after = loaded("models/theseus-replace").state_dict(), loaded("models/theseus").state_dict()
    for name in ("classifier.weight", "bert.embeddings.word_embeddings.weight"):
        assert not torch.equal(before[name], after[name])
    project.params(clone, **{"theseus.replace.layers": 2, "theseus.finetune.phase": None})
    run(*FINETUNE)
    assert all(torch.equal(weight, before[name]) for name, weight in loaded("models/theseus").state_dict().items())


@pytest.mark.parametrize(("init", "layers"), [("group", [2, 4]), ("first", [1, 2])])
def test_successors_start_from_their_groups_last_layers_or_from_the_first(clone, init, layers):
    numbers = {"theseus.replace.layers": 2, "theseus.replace.init": init, "theseus.replace.phase.learning_rate": 1e-12}
    project.params(clone, **numbers)
    run(*REPLACE)
    theirs = loaded("models/teacher").bert.encoder.layer
    for ours, source in zip(loaded("models/theseus-replace").bert.encoder.layer, layers, strict=True):
        for a, b in zip(ours.parameters(), theirs[source - 1].parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_each_schedule_makes_another_successor(clone):
    seen = set()
    for schedule in ("constant", "linear", "reversed"):
        project.params(clone, **{"theseus.replace.layers": 2, "theseus.replace.schedule": schedule})
        run(*REPLACE)
        seen.add((clone / "models/theseus-replace/model.safetensors").read_bytes())
    assert len(seen) == 3


@pytest.mark.slow
def test_an_interrupted_replacement_ends_with_the_same_bytes(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, REPLACE, step=5)


def test_layers_that_do_not_divide_the_teachers_are_refused(clone, capsys):
    project.params(clone, **{"theseus.replace.layers": 3})
    assert "layers = 3 must divide the teacher's 4" in refused(capsys, *REPLACE)
