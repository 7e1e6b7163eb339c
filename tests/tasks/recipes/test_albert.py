"""albert's two stages at a tiny size."""

import onnx
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
)

from stillhouse.encoders.checkpoint import load_model
from stillhouse.encoders.families import encoder_layers
from stillhouse.encoders.measure import parameters
from tasks import export, task_phase
from tasks.recipes import albert
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_corpus, on_task, refused, run

GENERAL = on_corpus("albert", corpus="data/pairs")
TASK = on_task(task_phase, "albert", "--student", "models/general", out="albert")


@pytest.fixture
def clone(clone):
    changed(clone)
    texts = tiny.sentences(96, seed=3)[0]
    (clone / "data/pairs").mkdir()
    Dataset.from_dict({"text": texts[:48], "text_pair": texts[48:]}).to_parquet(clone / "data/pairs/corpus.parquet")
    return clone


def changed(clone, **changes):
    project.params(
        clone, **{f"albert.general.{key}": value for key, value in ({"embedding_size": 8} | changes).items()}
    )


def loaded(name="albert"):
    return load_model(f"models/{name}", AutoModelForSequenceClassification)


def test_it_goes_from_the_corpus_to_a_classifier_of_two_groups_and_onnx(clone, capsys):
    run(*GENERAL)
    general = load_model("models/general", AutoModel)
    assert type(general).__name__ == "CompactBertModel" and general.config.attention_of == [0, 0, 2, 2]
    assert not any("order" in name or "cls" in name for name in general.state_dict())
    said = capsys.readouterr().out
    assert f"parameters without a head: {parameters(general) - 32 * 33:,} of " in said  # loading adds a pooler
    run(*TASK)
    student, teacher = loaded(), loaded("teacher")
    assert student.config.num_hidden_layers == 4 and student.config.id2label == {0: "bad", 1: "good"}
    assert student.config.embedding_size == 8
    two_layers = sum(weight.numel() for weight in encoder_layers(teacher)[:2].parameters())
    assert parameters(teacher) - parameters(student) == two_layers + 33 * 32 - (33 * 8 + 8 * 32)
    run(
        export, "--kind", "classes", "--model", "models/albert", "--out", "models/onnx"
    )  # compares the graph's logits with torch's
    sizes = [(clone / f"models/{name}/model.safetensors").stat().st_size for name in ("albert", "teacher")]
    assert sizes[0] < 0.7 * sizes[1]
    weights = onnx.load(clone / "models/onnx/model.onnx").graph.initializer
    assert sum(len(weight.raw_data) for weight in weights) <= 4 * parameters(student), "shared weights stand there once"


@pytest.mark.slow
def test_an_interrupted_corpus_phase_ends_with_the_same_weights(clone, monkeypatch):
    assert project.interrupted_and_resumed_is_the_same(monkeypatch, GENERAL, 2)


def test_the_general_phase_can_be_left_out_and_the_start_is_then_the_masked_lms_layers(clone):
    changed(clone, phase=None, start=2, share="ffn", embedding_size=None)
    run(*GENERAL)
    ours, theirs = (load_model(f"models/{name}", AutoModel) for name in ("general", "mlm"))
    layers, source = encoder_layers(ours), encoder_layers(theirs)
    assert ours.config.ffn_of == [1, 1, 3, 3] and ours.config.attention_of == [0, 1, 2, 3]
    assert torch.equal(layers[1].output.dense.weight, source[1].output.dense.weight)
    assert torch.equal(layers[0].attention.self.query.weight, source[0].attention.self.query.weight)


def test_nothing_shared_and_nothing_factorized_is_a_plain_model(clone):
    changed(clone, share="none", embedding_size=None, weights={"mlm": 1.0, "sop": 0.0})
    run(*GENERAL)
    project.params(clone, **{"albert.distill.task.loss": "finetune"})
    run(*TASK)
    assert type(loaded()).__name__ == "BertForSequenceClassification"


def test_a_roberta_goes_through_both_stages(clone):
    tiny.save_robertas(clone, type_vocab_size=2)
    run(*GENERAL)
    run(*TASK)
    assert loaded().config.model_type == "compact-roberta" and loaded().config.ffn_of == [0, 0, 2, 2]


def test_of_a_pair_that_is_too_long_the_longer_segment_is_cut(clone):
    data = Dataset.from_dict({"text": ["the film is very good"], "text_pair": ["it was bad"]})
    (row,) = albert.segments(data, tiny.tokenizer(), 9)
    assert (row["first"], row["second"], row["length"]) == (3, 3, 9)
    assert tiny.tokenizer().decode(row["input_ids"]) == "[CLS] the film is [SEP] it was bad [SEP]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "groups = 3 do not divide the model's 4 layers: choose from [1, 2, 4]"),
        ({"start": 4}, "start = 4: a group has layers 1 to 2: choose one of them, or average"),
        ({"embedding_size": 17}, "embedding_size = 17: word vectors 33×32 get smaller by 1 to 16 alone"),
        ({"start": "median"}, "albert.general.start"),
        ({"share": "heads"}, "albert.general.share"),
    ],
    ids=["groups", "start", "E", "start's name", "share"],
)
def test_a_shape_that_does_not_fit_is_refused_in_one_line(clone, capsys, changes, message):
    changed(clone, **changes)
    assert message in refused(capsys, *GENERAL)
    assert not (clone / "models/general").exists()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (("--mlm", "models/mlm"), "albert's model is a BertModel: give a masked LM (--mlm models/mlm)"),
        (("data/pairs",), "albert's corpus has single texts: give pairs of segments (--corpus data/corpus-pairs)"),
    ],
    ids=["no head", "no pairs"],
)
def test_what_the_corpus_phase_cannot_use_is_refused_in_one_line(clone, capsys, gone, message):
    words = [word for word in GENERAL if word not in gone]
    if "data/pairs" in gone:
        words.insert(words.index("--corpus") + 1, "data/corpus")
    assert message in refused(capsys, *words)
    assert not (clone / "models/general").exists()
