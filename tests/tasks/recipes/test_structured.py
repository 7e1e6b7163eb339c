"""structured and structured-distil at a tiny size: what stays, slices that load and export, interruptions."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from stillhouse.errors import InputError
from stillhouse.methods.structured import slice_model
from stillhouse.models.shape import Shape
from stillhouse.surgery.cost import layer_flops
from tasks import export, structured
from tests import tiny
from tests.tasks import project
from tests.tasks.project import loaded, on_task, refused, run

GATES = on_task(structured, "structured", "--phase", "gates", out="structured-gates")
RETRAIN, DISTIL = (
    on_task(structured, name, "--gates", "models/structured-gates", out=name)
    for name in ("structured", "structured-distil")
)
IDS = [[2, 7, 8, 3], [2, 11, 12, 3]]


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor(IDS)).logits


def stays(clone):
    return json.loads((clone / "models/structured-gates/gates.json").read_text())


@pytest.mark.parametrize("choose", ["l0", "gain", "random"])
def test_each_chooser_meets_the_shares_and_leaves_the_teachers_weights_alone(clone, choose):
    remove = {"heads": 0.5, "units": 0.25, "dimensions": 0.25}
    project.params(
        clone, **{"structured.gates.choose": choose, "structured.gates.remove": remove, "structured.gates.multiple": 1}
    )
    run(*GATES)
    keep = stays(clone)
    assert [sum(map(len, keep[kind])) for kind in ("heads", "units", "dimensions")] == [8, 192, 24]
    assert torch.equal(logits(loaded("models/structured-gates")), logits(loaded("models/teacher")))
    sliced = Shape.of(slice_model(loaded("models/teacher"), {kind: keep[kind] for kind in remove}).config)
    assert keep["flops_share"] == pytest.approx(
        layer_flops(sliced, 16) / layer_flops(Shape.of(loaded("models/teacher").config), 16), abs=1e-6
    )


def test_trained_weights_are_handed_on_and_so_is_a_share_of_the_flops(clone):
    project.params(
        clone,
        **{"structured.gates.l0.weights": "trained", "structured.gates.latency": 0.6, "structured.gates.multiple": 1},
    )
    run(*GATES)
    assert 0.5 < stays(clone)["flops_share"] <= 0.6
    assert not torch.equal(logits(loaded("models/structured-gates")), logits(loaded("models/teacher")))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [pytest.param(RETRAIN, id="plain"), pytest.param(DISTIL, id="distil")])
def test_the_sliced_model_has_the_shape_of_what_stays_and_a_fresh_process_gives_its_logits(clone, stage):
    project.params(clone, **{"structured.gates.remove.dimensions": 0.2})
    run(*GATES)
    run(*stage)
    keep, model = stays(clone), loaded(stage[-1])
    shape = Shape.of(model.config)
    assert shape.heads == tuple(map(len, keep["heads"])) and shape.intermediate == tuple(map(len, keep["units"]))
    assert shape.hidden_size == len(keep["dimensions"][0]) == 26
    before = slice_model(loaded("models/teacher"), {kind: keep[kind] for kind in ("heads", "units", "dimensions")})
    assert not torch.allclose(logits(model), logits(before), atol=1e-4), "it was retrained"
    script = (
        "import stillhouse, torch; from transformers import AutoModelForSequenceClassification as Auto;"
        f"model = Auto.from_pretrained('{stage[-1]}').eval();"
        f"print(model(input_ids=torch.tensor({IDS})).logits.tolist())"
    )
    given = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert torch.allclose(torch.tensor(json.loads(given)), logits(model), atol=1e-6)


def test_the_sliced_model_exports_to_onnx(clone):
    run(*GATES)
    run(*RETRAIN)
    run(export, "--kind", "classes", "--model", "models/structured", "--out", "models/onnx/structured")
    from stillhouse.onnx.sessions import feed, open_session

    session = open_session(clone / "models/onnx/structured/model.onnx", threads=1)
    ids = np.array(IDS)
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    (given,) = session.run(None, feed(session, batch))
    assert np.abs(given - logits(loaded("models/structured")).numpy()).max() < 1e-3


def test_a_phase_of_null_only_slices_and_the_recipes_share_what_stays(clone):
    project.params(clone, **{"structured.retrain.phase": None, "structured-distil.retrain.phase": None})
    run(*GATES)
    run(*RETRAIN)
    run(*DISTIL)
    keep = {kind: stays(clone)[kind] for kind in ("heads", "units", "dimensions")}
    wanted = logits(slice_model(loaded("models/teacher"), keep))
    assert torch.equal(logits(loaded("models/structured")), wanted)
    assert torch.equal(logits(loaded("models/structured-distil")), wanted)


def test_a_roberta_goes_through_all_stages(clone):
    teacher = tiny.other_family("roberta", layers=4)
    teacher.config.id2label, teacher.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    tiny.save(teacher, clone / "models/teacher")
    for stage in (GATES, RETRAIN):
        run(*stage)
    assert loaded("models/structured").config.model_type == "compact-roberta"


@pytest.mark.parametrize(
    "numbers",
    [
        {"choose": "l0", "l0.weights": "trained"},
        pytest.param({"choose": "l0"}, marks=pytest.mark.slow),
        pytest.param({"choose": "gain"}, marks=pytest.mark.slow),
    ],
)
def test_interrupted_gates_end_with_the_same_bytes(clone, monkeypatch, numbers):
    project.params(clone, **{f"structured.gates.{name}": value for name, value in numbers.items()})
    run(*GATES)
    whole = stays(clone)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, GATES, step=5)
    assert stays(clone) == whole


@pytest.mark.slow
def test_an_interrupted_retraining_ends_with_the_same_bytes(clone, monkeypatch):
    run(*GATES)
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, DISTIL, step=5)


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ({"remove": {"heads": 0.9, "units": 0.0, "dimensions": 0.0}}, "remove.heads = 0.9 leaves 2 for 4 layers"),
        ({"remove": {"heads": 0.0, "units": 0.0, "dimensions": 0.0}}, "remove takes nothing away"),
        ({"latency": 0.01}, "latency = 0.01 of the FLOPs is out of reach"),
    ],
)
def test_what_cannot_go_is_said_before_anything_is_trained(clone, capsys, numbers, line):
    project.params(clone, **{f"structured.gates.{name}": value for name, value in numbers.items()})
    assert line in refused(capsys, *GATES)


def test_a_missing_or_damaged_gates_file_is_said_in_one_line(clone, capsys):
    run(*GATES)
    (clone / "models/structured-gates/gates.json").write_text("{}")
    assert "gates.json' cannot be read" in refused(capsys, *RETRAIN)
    with pytest.raises(InputError, match="cannot be read"):
        structured.read_keep(clone / "nowhere")
