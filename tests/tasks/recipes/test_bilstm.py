"""The bilstm recipe at a tiny size: augmentation, training, export, evaluation, and serving what came out."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from tasks import augment_words, evaluate, export, task_phase
from tasks.data.schema import kind_of
from tasks.recipes import bilstm as recipe
from tests import tiny
from tests.tasks import project
from tests.tasks.exported.readme import given, predicted, rows
from tests.tasks.project import on_task, refused, run

AUGMENT = (augment_words, "bilstm", "--data", "data/task", "--out", "data/bilstm-augmented")
DISTILL = on_task(task_phase, "bilstm", "--rows", "data/bilstm-augmented/train.parquet", out="bilstm")
KINDS = {"sentences": {}, "pairs": {"pair": True}, "scores": {"regression": True}}


def evaluated(name: str, *teacher: str) -> dict:
    run(export, "--kind", "classes", "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    run(
        evaluate, name, "--data", "data/task", "--model", f"models/{name}", "--onnx", f"models/onnx/{name}",
        *teacher, "--out", f"reports/{name}", "--exported", f"models/exported/{name}",
    )  # fmt: skip
    return json.loads(Path(f"reports/{name}/metrics.json").read_text())


def served(name: str, rows: pd.DataFrame) -> list[dict]:
    """What the registry's model answers."""
    from flows.registry.files import served_digests
    from flows.serving.labels import OnnxClassifier

    artifacts = {"checkpoint": f"models/{name}", "onnx": f"models/onnx/{name}"}
    config = {"kind": kind_of(Path("data/task/train.parquet"))}
    config |= served_digests({part: Path(folder) for part, folder in artifacts.items()})
    context = SimpleNamespace(artifacts=artifacts, model_config=config)
    model = OnnxClassifier()
    model.load_context(context)
    return model.predict(context, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_recipe_from_text_to_answers(clone, kind):
    project.write_task(clone, **KINDS[kind])
    if kind == "scores":
        tiny.save(tiny.bert(layers=4, labels=("score",)), clone / "models/teacher")
        project.params(clone, **{"evaluate.metric": "pearson"})
    run(*AUGMENT)
    run(*DISTILL)
    evaluated("teacher")
    figures = evaluated("bilstm", "--teacher", "reports/teacher", "--teacher-onnx", "models/onnx/teacher")
    assert figures["onnx_max_difference"] < 1e-5
    model = load_model(clone / "models/bilstm", AutoModelForSequenceClassification)
    tokenizer = load_tokenizer(clone / "models/bilstm")
    assert figures["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert model.config.pair == (kind == "pairs") and model.config.vocab_size == len(tokenizer) == figures["vocabulary"]
    texts = ["the film is good", "\u200b", "a very dull story and a bad plot"]
    sides = [texts, texts[::-1]] if kind == "pairs" else [texts]
    with torch.no_grad():
        logits = model(**tokenizer(*sides, padding=True, return_tensors="pt")).logits
    found = given(rows(), "models/exported/bilstm")
    if kind == "scores":
        np.testing.assert_allclose(found, np.array(predicted("reports/bilstm"), dtype=float), atol=2e-4)
    else:
        assert found == predicted("reports/bilstm")
    answers = served("bilstm", pd.DataFrame(dict(zip(("text", "text_pair"), sides, strict=False))))
    if kind == "scores":
        assert model.config.num_labels == 1
        np.testing.assert_allclose([answer["score"] for answer in answers], logits[:, 0], atol=1e-5)
    else:
        assert model.config.id2label == {0: "bad", 1: "good"}
        shares = [[answer["scores"][name] for name in ("bad", "good")] for answer in answers]
        np.testing.assert_allclose(shares, logits.softmax(-1), atol=1e-5)


def test_the_student_learns_the_teachers_logits(clone):
    phase = {"epochs": 30, "batch_size": 16, "learning_rate": 1e-2, "seed": 1}
    shape = {"embedding_size": None, "hidden_size": 24, "dense_size": 24, "dropout": 0.0}
    project.params(clone, **{"bilstm.distill.phase": phase, "bilstm.distill.student": shape})
    run(*AUGMENT)
    run(*DISTILL)
    data, names = Path("data/bilstm-augmented/train.parquet"), ("models/teacher", "models/bilstm")
    texts = pd.read_parquet(data)["text"].tolist()
    theirs, ours = (
        load_model(clone / name, AutoModelForSequenceClassification)(
            **load_tokenizer(clone / name)(texts, padding=True, return_tensors="pt")
        ).logits.detach()
        for name in names
    )
    assert (theirs - ours).square().mean() < 0.3 * theirs.var(0).mean()


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_with_the_same_weights(clone, monkeypatch):
    project.params(clone, **{"bilstm.distill.student.dropout": 0.2})
    run(*AUGMENT)
    run(*DISTILL)
    expected = (clone / "models/bilstm/model.safetensors").read_bytes()
    real, calls = recipe.method.distillation_loss, 0

    def dies(*arguments):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(recipe.method, "distillation_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        run(*DISTILL)
    run(*DISTILL)
    assert (clone / "models/bilstm/model.safetensors").read_bytes() == expected


def test_the_vocabulary_is_that_of_the_training_rows_and_start_vectors_the_teachers(clone, monkeypatch):
    starts = []
    monkeypatch.setattr(task_phase, "train_student", lambda plan, *_: starts.append(plan))
    project.params(clone, **{"bilstm.distill.student.embedding_size": None})
    run(*AUGMENT)
    run(*DISTILL)
    table = starts[0].student.embeddings.weight
    assert table.shape == (len(starts[0].tokenizer), 32)
    teacher = load_model(clone / "models/teacher", AutoModelForSequenceClassification).get_input_embeddings().weight
    vocabulary, theirs = starts[0].tokenizer.get_vocab(), tiny.tokenizer().get_vocab()
    assert "[MASK]" in vocabulary and "film" in vocabulary and "with" not in vocabulary, "no training row has it"
    for word in ("film", "good"):
        assert torch.cosine_similarity(table[vocabulary[word]], teacher[theirs[word]], dim=0) > 0.9999
    assert table[vocabulary["[PAD]"]].abs().sum() == 0


def test_word_vectors_come_from_a_file(clone, monkeypatch):
    starts = []
    monkeypatch.setattr(task_phase, "train_student", lambda plan, *_: starts.append(plan))
    Path("glove.txt").write_text("film 1 2 3\ngood -1 0.5 2\nunseen 1 1 1\nthe 0 1 0\n")
    shape = {"embedding_size": None, "hidden_size": 4, "dense_size": 4, "dropout": 0.0}
    project.params(clone, **{"bilstm.distill.vectors": "glove.txt", "bilstm.distill.student": shape})
    run(*AUGMENT)
    run(*DISTILL)
    table, vocabulary = starts[0].student.embeddings.weight, starts[0].tokenizer.get_vocab()
    assert table.shape[1] == 3
    for word, vector in (("film", [1.0, 2, 3]), ("good", [-1, 0.5, 2]), ("the", [0.0, 1, 0])):
        assert torch.cosine_similarity(table[vocabulary[word]], torch.tensor(vector), dim=0) > 0.9999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bilstm.distill.vectors": "none.txt"}, "bilstm.distill.vectors = 'none.txt': no such file"),
        (
            {"bilstm.distill.vectors": "random", "bilstm.distill.student.embedding_size": None},
            "random vectors have no width of their own",
        ),
        (
            {"bilstm.distill.student.embedding_size": 99},
            "student.embedding_size (99) is more than the word vectors' width (32)",
        ),
        ({"bilstm.distill.min_count": 999}, "min_count = 999: no word of the texts is left"),
        ({"bilstm.distill.alpha": 1.5}, "bilstm.distill.alpha = 1.5"),
    ],
)
def test_bad_numbers_are_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    project.params(clone, **changes)
    shutil.copytree("data/task", "data/bilstm-augmented")
    assert message in refused(capsys, *DISTILL)
    assert not Path("models/bilstm").exists()
