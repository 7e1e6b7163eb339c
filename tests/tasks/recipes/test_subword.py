"""subword's two stages at a tiny size."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.methods import subword as method
from tasks import task_phase
from tests import tiny
from tests.tasks import project
from tests.tasks.project import on_corpus, on_task, refused, run

GENERAL = on_corpus("subword")
TASK = on_task(task_phase, "subword", "--student", "models/general", out="subword")


def test_it_goes_from_the_corpus_to_a_classifier_with_a_vocabulary_of_its_own(clone):
    run(*GENERAL)
    general = load_model(clone / "models/general", AutoModel)
    assert (general.config.hidden_size, general.config.num_hidden_layers) == (24, 4)
    assert not any("projection" in name or "teacher" in name for name in general.state_dict())
    run(*TASK)
    student = load_model(clone / "models/subword", AutoModelForSequenceClassification)
    tokenizer = load_tokenizer(clone / "models/subword")
    assert student.config.vocab_size == len(tokenizer) != len(tiny.tokenizer())
    assert student.config.id2label == {0: "bad", 1: "good"}
    assert len(student(**tokenizer(["the film is good"], return_tensors="pt")).logits[0]) == 2
    first = (clone / "models/subword/model.safetensors").read_bytes()
    torch.manual_seed(99)
    run(*TASK)
    assert (clone / "models/subword/model.safetensors").read_bytes() == first


def test_an_interrupted_general_stage_ends_with_the_same_weights_and_vocabulary(clone, monkeypatch):
    run(*GENERAL)
    files = [clone / "models/general" / name for name in ("model.safetensors", "tokenizer.json")]
    expected = [file.read_bytes() for file in files]
    real, calls = method.DualTraining.forward, []

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) == 4:  # after the checkpoint of step 2
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(method.DualTraining, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run(*GENERAL)
    monkeypatch.setattr(method.DualTraining, "forward", real)
    run(*GENERAL)
    assert [file.read_bytes() for file in files] == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"subword.general.projection": "up", "subword.general.start": "random"},
        {"subword.general.projection": "none"},
        {"subword.general.weight": 0.0},
        {"subword.general.dual": 0.0},
        {"subword.general.phase": None},
    ],
    ids=str,
)
def test_the_variants_and_ablations_run(clone, changes):
    project.params(clone, **{"subword.general.layer_map": [4]} | changes)
    run(*GENERAL)
    assert load_model(clone / "models/general", AutoModel).config.num_hidden_layers == 1


def test_without_projection_the_student_does_not_depend_on_the_teacher(clone):
    project.params(clone, **{"subword.general.layer_map": [4], "subword.general.projection": "none"})
    run(*GENERAL)
    first = (clone / "models/general/model.safetensors").read_bytes()
    torch.manual_seed(7)
    tiny.save(BertForMaskedLM(tiny.bert(layers=4).config), clone / "models/mlm")
    run(*GENERAL)
    assert (clone / "models/general/model.safetensors").read_bytes() == first


def test_fine_tuning_alone_computes_no_logits_of_the_teacher(clone, capsys):
    project.params(clone, **{"subword.distill.task.loss": "finetune", "subword.general.phase": None})
    run(*GENERAL)
    run(*TASK)
    assert "computing the teacher's logits" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subword.general.layer_map": [1, 9]}, "layer_map [1, 9] must name some of the teacher's layers 1 to 4"),
        ({"subword.general.vocabulary": 30}, "vocabulary (30) is less than the"),
        (
            {"subword.general.student.hidden_size": 25},
            "student.hidden_size (25) must be divisible by student.heads (2)",
        ),
        ({"subword.general.dual": 1.5}, "subword.general.dual = 1.5"),
    ],
)
def test_bad_numbers_are_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    project.params(clone, **changes)
    assert message in refused(capsys, *GENERAL)
    assert not (clone / "models/general").exists()


def test_teachers_of_another_kind_are_refused(clone, capsys):
    line = refused(capsys, *[word for word in GENERAL if word not in ("--mlm", "models/mlm")])
    assert "subword's teacher is a BertModel: give a BERT that is a masked LM" in line
    config = RobertaConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0)
    tiny.save(RobertaForMaskedLM(config), clone / "models/mlm")
    assert "subword's teacher is a RobertaForMaskedLM" in refused(capsys, *GENERAL)
    tiny.save(BertForMaskedLM(tiny.bert(layers=4).config), clone / "models/mlm")
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, mask_token="[MASK]", pad_token="[PAD]")
    tokenizer.save_pretrained(clone / "models/mlm")
    assert "has a WordLevel tokenizer: this method needs BERT's WordPiece" in refused(capsys, *GENERAL)
