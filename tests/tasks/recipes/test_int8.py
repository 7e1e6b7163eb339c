"""int8's stage at a tiny size."""

import json
from pathlib import Path

import pytest
import torch

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.student import build_student
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.surgery import dequantize
from stillhouse.text.wordpiece import train_wordpiece
from tasks import evaluate, export, task_phase
from tests import tiny
from tests.tasks import project
from tests.tasks.project import loaded, on_task, refused, run


def source(folder: str) -> tuple:
    """The stage with another checkpoint to quantize."""
    return on_task(task_phase, "int8", "--phase", "quantize", "--student", folder, out="int8")


QUANTIZE = source("models/teacher")


def weights(folder: str) -> dict[str, torch.Tensor]:
    return dequantize(loaded(folder)).state_dict()


@pytest.mark.parametrize("activations", ["dynamic", "static", "trained"])
def test_the_checkpoint_is_int8_and_keeps_the_rows_within_half_a_step_unless_trained(clone, activations, capsys):
    project.params(clone, **{"int8.quantize.activations": activations})
    run(*QUANTIZE)
    assert "switched off" not in capsys.readouterr().out
    stated = loaded("models/int8").config.quantization
    assert stated["weights"] == "int8" and stated["activations"] == activations.replace("trained", "static")
    key = "bert.encoder.layer.0.intermediate.dense.weight"
    before, after = loaded("models/teacher").state_dict()[key], weights("models/int8")[key]
    if activations != "trained":
        assert ((after - before).abs() <= before.abs().amax(1, keepdim=True) / 254 * 1.01).all()
    assert (Path("models/int8/model.safetensors").stat().st_size
            < 0.6 * Path("models/teacher/model.safetensors").stat().st_size)  # fmt: skip


def test_training_changes_what_is_rounded(clone):
    project.params(clone, **{"int8.quantize.activations": "static"})
    run(*QUANTIZE)
    rounded = weights("models/int8")
    train = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-2, "seed": 1}
    project.params(clone, **{"int8.quantize.phase": train})
    run(*QUANTIZE)
    moved = weights("models/int8")
    assert set(moved) == set(rounded)
    assert not any(torch.equal(moved[name], rounded[name]) for name in moved if name.endswith("dense.weight"))


def test_an_interrupted_training_ends_with_the_same_bytes(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, QUANTIZE, step=2)


@pytest.mark.parametrize("activations", ["dynamic", "trained"])
def test_evaluation_says_how_far_the_graph_is_and_how_far_rounding_moves(clone, activations):
    project.params(clone, **{"int8.quantize.activations": activations})
    run(*QUANTIZE)
    run(export, "--kind", "classes", "--model", "models/int8", "--out", "models/onnx/int8")
    run(evaluate, "int8", "--data", "data/task", "--model", "models/int8", "--onnx", "models/onnx/int8",
        "--out", "reports/int8")  # fmt: skip
    figures = json.loads(Path("reports/int8/metrics.json").read_text(encoding="utf-8"))
    assert figures["onnx_rounding"] > 0 and figures["onnx_max_difference"] <= figures["onnx_rounding"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "float8"}, "weights = 'float8' with activations = 'trained'"),
        ({"activations": "whole"}, "weights = 'int8' with activations = 'whole'"),
        ({"weights": "float8", "activations": "whole"}, "needs a CUDA device of capability 8.9"),
        (
            {"activations": "static", "calibration": {"rows": 4, "momentum": None, "max_length": 999, "seed": 1}},
            "calibration.max_length = 999, but the model reads",
        ),
        ({"calibration": {"rows": 0, "momentum": None, "max_length": 32, "seed": 1}}, "int8.quantize.calibration.rows"),
    ],
    ids=["float8 trained", "int8 whole", "no float8", "too long", "no rows"],
)
def test_what_does_not_fit_is_refused_in_one_line(clone, capsys, monkeypatch, changes, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    project.params(clone, **{f"int8.quantize.{key}": value for key, value in changes.items()})
    assert words in refused(capsys, *QUANTIZE)
    assert not Path("models/int8").exists()


@pytest.mark.parametrize("activations", ["static", "trained"])
def test_a_student_with_a_vocabulary_of_its_own_is_quantized_in_it(clone, activations):
    ours = train_wordpiece(["the film is good", "a dull plot"], tiny.tokenizer(), 30)
    student = build_student(
        tiny.bert(), layers=2, hidden_size=16, heads=2, intermediate_size=32, tokenizer=ours, source_layers=None, seed=1
    )
    save_model(student, ours, clone / "models/own")
    project.params(clone, **{"int8.quantize.activations": activations})
    run(*source("models/own"))
    assert load_tokenizer(clone / "models/int8").get_vocab() == ours.get_vocab()
    assert loaded("models/int8").config.vocab_size == len(ours)


def test_a_source_of_another_family_keeps_its_own_head(clone):
    roberta = tiny.other_family("roberta")
    tiny.save(roberta, clone / "models/roberta")
    project.params(clone, **{"int8.quantize.activations": "dynamic"})
    run(*source("models/roberta"))
    head = roberta.classifier.dense.weight
    after = weights("models/int8")["classifier.dense.weight"]
    assert ((after - head).abs() <= head.abs().amax(1, keepdim=True) / 254 * 1.01).all()


def test_a_source_with_its_labels_in_another_order_is_put_into_the_datas(clone):
    tiny.save(tiny.bert(layers=4, labels=("good", "bad"), seed=3), clone / "models/turned")
    project.params(clone, **{"int8.quantize.activations": "dynamic"})
    run(*source("models/turned"))
    model, before = loaded("models/int8"), loaded("models/turned")
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert torch.equal(model.classifier.bias, before.classifier.bias.flip(0))


def test_a_bilstm_is_refused_in_one_line(clone, capsys):
    shape = {"embedding_size": 8, "hidden_size": 8, "dense_size": 8, "pair": False, "dropout": 0.0}
    config = BiLstmConfig(vocab_size=33, pad_token_id=0, num_labels=2, **shape)
    tiny.save(BiLstmForSequenceClassification(config), clone / "models/bilstm")
    assert "model family 'stillhouse-bilstm' is not one of bert, roberta" in refused(capsys, *source("models/bilstm"))
    assert not Path("models/int8").exists()


def test_a_model_that_finds_answers_is_refused_and_not_given_another_head(clone, capsys):
    tiny.save(tiny.answerer(), clone / "models/answerer")
    line = refused(capsys, *source("models/answerer"))
    assert (
        "'models/answerer' is a BertForQuestionAnswering: give a model …ForSequenceClassification, or an encoder"
        in line
    )
    assert not Path("models/int8").exists()


def test_an_int8_checkpoint_is_not_quantized_again(clone, capsys):
    run(*QUANTIZE)
    again = (*source("models/int8")[:-1], "models/again")
    assert "quantized" in refused(capsys, *again)
    assert not Path("models/again").exists()
