"""lowrank's two stages at a tiny size."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import RobertaForSequenceClassification

from stillhouse.encoders.measure import parameters
from stillhouse.training.batches import collate, model_inputs
from tasks import export, factorize, task_phase
from tests import tiny
from tests.tasks import project
from tests.tasks.project import loaded, on_task, refused, run

FACTORIZE = on_task(factorize, "lowrank", out="lowrank-factorize")
RECOVER = on_task(task_phase, "lowrank", "--phase", "recover", "--student", "models/lowrank-factorize", out="lowrank")

FRESH = """
import sys, torch, stillhouse
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
print(type(model).__name__, model(torch.tensor([[2, 7, 8, 3]])).logits.flatten().tolist())
"""


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(**model_inputs(collate([{"input_ids": [2, 7, 8, 3]}], pad_id=0))).logits


@pytest.mark.slow
def test_the_student_has_the_budgets_weights_and_reloads_in_a_process_that_only_imports_stillhouse(clone, capsys):
    run(*FACTORIZE)
    said = capsys.readouterr().out
    assert "validation accuracy: " in said and " before recovery, teacher " in said and "matrices: " in said
    run(*RECOVER)
    model, teacher = loaded("models/lowrank"), loaded("models/teacher")
    matrices = 4 * (4 * 32 * 32 + 2 * 32 * 64) + 33 * 32
    assert parameters(model) <= parameters(teacher) - matrices + int(0.6 * matrices)
    assert model.config.model_type == "compact-bert" and model.config.id2label == {0: "bad", 1: "good"}
    command = [sys.executable, "-c", FRESH, "models/lowrank"]
    env = {**os.environ, "PYTHONPATH": str(project.ROOT)}
    name, _, numbers = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.partition(
        " "
    )
    assert name == "CompactBertForSequenceClassification"
    assert np.allclose([float(part) for part in numbers.strip(" []\n").split(",")], logits(model)[0], atol=1e-6)


def test_recovery_trains_both_factors_and_null_leaves_it_out(clone):
    run(*FACTORIZE)
    run(*RECOVER)
    before, after = loaded("models/lowrank-factorize").state_dict(), loaded("models/lowrank").state_dict()
    assert set(before) == set(after)
    factors = [name for name in before if ".down." in name or ".up.weight" in name or ".table." in name]
    assert len(factors) > 8 and not any(torch.equal(before[name], after[name]) for name in factors)
    project.params(clone, **{"lowrank.recover.phase": None})
    run(*RECOVER)
    assert all(torch.equal(weight, before[name]) for name, weight in loaded("models/lowrank").state_dict().items())


@pytest.mark.parametrize(
    ("changes", "ranks", "embedding"),
    [
        ({"rule": "rank", "ranks": {"layers": 5, "embedding": 7}}, {5}, 7),
        ({"rule": "rank", "ranks": {"layers": 5, "embedding": 7}, "fisher": None}, {5}, 7),
        ({"rule": "rank", "ranks": {"layers": 5, "embedding": 7}, "layers": False}, set(), 7),
        ({"rule": "rank", "ranks": {"layers": 5, "embedding": 7}, "embedding": False}, {5}, None),
    ],
    ids=["fisher", "plain", "word vectors", "layers"],
)
def test_ranks_reach_the_layers_and_the_word_vectors_that_were_asked_for(clone, changes, ranks, embedding):
    project.params(clone, **{f"lowrank.factorize.{key}": value for key, value in changes.items()})
    run(*FACTORIZE)
    config = loaded("models/lowrank-factorize").config
    assert set((config.ranks or {}).values()) == ranks and len(config.ranks or {}) in (0, 24)
    assert config.embedding_size == (embedding or 32)


def test_fisher_information_makes_another_model_than_plain_svd_of_the_same_shape(clone):
    rank = {"lowrank.factorize.rule": "rank", "lowrank.factorize.ranks": {"layers": 5, "embedding": 7}}
    models = []
    for fisher in (None, {"rows": 8, "floor": 0.01, "seed": 1}):
        project.params(clone, **rank, **{"lowrank.factorize.fisher": fisher})
        run(*FACTORIZE)
        models.append(loaded("models/lowrank-factorize"))
    assert models[0].config.ranks == models[1].config.ranks
    assert not torch.allclose(logits(models[0]), logits(models[1]))


def test_a_budget_of_the_model_counts_all_of_its_parameters(clone):
    project.params(clone, **{"lowrank.factorize.budget_of": "model", "lowrank.factorize.budget": 0.7})
    run(*FACTORIZE)
    left, whole = parameters(loaded("models/lowrank-factorize")), parameters(loaded("models/teacher"))
    assert 0.7 * whole - 200 < left <= 0.7 * whole


def test_the_energy_rule_takes_less_for_less(clone):
    counts = []
    for energy in (0.5, 0.6):
        project.params(clone, **{"lowrank.factorize.rule": "energy", "lowrank.factorize.energy": energy})
        run(*FACTORIZE)
        counts.append(parameters(loaded("models/lowrank-factorize")))
    assert counts[0] < counts[1] < parameters(loaded("models/teacher"))


def test_a_roberta_is_factorized_and_exported(clone):
    torch.manual_seed(0)
    tiny.save(RobertaForSequenceClassification(tiny.roberta(initializer_range=0.2)), clone / "models/teacher")
    run(*FACTORIZE)
    run(*RECOVER)
    assert loaded("models/lowrank").config.model_type == "compact-roberta"
    run(
        export, "--kind", "classes", "--model", "models/lowrank", "--out", "models/onnx"
    )  # compares the graph's logits with torch's


def test_the_exported_graph_gives_the_students_logits(clone):
    import onnxruntime

    run(*FACTORIZE)
    run(export, "--kind", "classes", "--model", "models/lowrank-factorize", "--out", "models/onnx")
    session = onnxruntime.InferenceSession(str(next(Path("models/onnx").glob("*.onnx"))))
    ids = np.array([[2, 7, 8, 9, 3], [2, 11, 5, 6, 3]])
    given = {one.name: ids if one.name == "input_ids" else np.ones_like(ids) for one in session.get_inputs()}
    if "token_type_ids" in given:
        given["token_type_ids"] = np.zeros_like(ids)
    with torch.no_grad():
        ours = loaded("models/lowrank-factorize")(torch.tensor(ids)).logits
    assert np.allclose(session.run(None, given)[0], ours, atol=1e-3)


@pytest.mark.slow
def test_an_interrupted_recovery_ends_with_the_same_bytes(clone, monkeypatch):
    run(*FACTORIZE)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, RECOVER, step=4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": "rank", "ranks": {"layers": 16, "embedding": 4}}, "rank = 16 of '0.attention.self.query' (32×32)"),
        ({"rule": "rank", "ranks": {"layers": 4, "embedding": 40}}, "rank = 40 of 'word_embeddings' (33×32)"),
        ({"rule": "energy", "energy": 1.0}, "energy = 1.0: no matrix has fewer weights"),
        ({"budget_of": "model", "budget": 0.05}, "give a share between the two"),
        ({"layers": False, "embedding": False}, "layers and embedding are both false"),
    ],
    ids=["layers", "word vectors", "energy", "budget", "nothing"],
)
def test_what_saves_nothing_is_refused_in_one_line(clone, capsys, changes, words):
    project.params(clone, **{f"lowrank.factorize.{key}": value for key, value in changes.items()})
    assert words in refused(capsys, *FACTORIZE)
    assert not Path("models/lowrank-factorize").exists()
