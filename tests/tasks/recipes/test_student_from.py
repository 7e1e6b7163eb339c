"""`student.from`: students of another model than the teacher, of another family and with words cut otherwise."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, RobertaForMaskedLM, RobertaModel

from stillhouse.encoders.checkpoint import load_tokenizer
from tasks import corpus_phase, task_phase
from tasks.kinds.find import load_task
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run

LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
TASK = ("--data", "data/task", "--teacher", "models/teacher", "--out")
SAVE = {
    "classes": lambda: tiny.bert(layers=4, seed=3),
    "answers": lambda: tiny.answerer(layers=4, seed=3),
    "tokens": lambda: tiny.tagger(layers=4, seed=3),
}


def spelling() -> BertTokenizerFast:
    """A tokenizer that cuts words into letters."""
    vocabulary = {piece: i for i, piece in enumerate([*tiny.SPECIAL, *LETTERS])}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return BertTokenizerFast(tokenizer_object=core)


def save_speller(folder: Path, model=RobertaModel) -> None:
    """A RoBERTa of three layers that reads letters."""
    torch.manual_seed(5)
    changes = {"vocab_size": len(tiny.SPECIAL) + len(LETTERS), "max_position_embeddings": 80}
    changes |= {"type_vocab_size": 2}
    model(tiny.roberta(3, **changes)).save_pretrained(folder)
    spelling().save_pretrained(folder)


@pytest.mark.parametrize("kind", SAVE)
def test_a_student_of_another_family_and_vocabulary_learns_the_teachers_logits(clone, kind) -> None:
    project.write_task(clone, **({"answers": True} if kind == "answers" else {"tags": kind == "tokens", "train": 32}))
    tiny.save(SAVE[kind](), clone / "models/teacher")
    save_speller(clone / "speller")
    project.params(
        clone,
        **{
            "hinton.distill.student.from": "speller",
            "kinds.answers": {
                **{"max_length": 60, "overlap": 8, "question_length": 12},
                **{"null_threshold": 0.0, "n_best": 3, "max_answer_length": 30},
            },
        },
    )
    run(task_phase, "hinton", *TASK, "models/hinton")
    config = json.loads(Path("models/hinton/config.json").read_text())
    assert config["model_type"] == "roberta" and config["num_hidden_layers"] == 2
    assert load_tokenizer("models/hinton").get_vocab() == spelling().get_vocab()
    task = load_task(Path("data/task"))
    task.kind.load(Path("models/hinton"))


def test_its_layers_are_taken_or_its_shape_alone(clone) -> None:
    tiny.save(tiny.bert(layers=3, seed=8).bert, clone / "other")
    weights = {}
    for name, changes in (("layers", {"source_layers": [1, 3]}), ("random", {"init": "random"})):
        keys = {f"hinton.distill.student.{key}": value for key, value in ({"from": "other"} | changes).items()}
        project.params(clone, **keys, **{"hinton.distill.phase.learning_rate": 1e-12})
        run(task_phase, "hinton", *TASK, f"models/{name}")
        weights[name] = load_task(Path("data/task")).kind.load(clone / "models" / name)
    theirs = tiny.bert(layers=3, seed=8).bert.encoder.layer[2].output.dense.weight
    assert torch.allclose(weights["layers"].bert.encoder.layer[1].output.dense.weight, theirs, atol=1e-6)
    assert not torch.allclose(weights["random"].bert.encoder.layer[1].output.dense.weight, theirs, atol=1e-2)


@pytest.mark.parametrize("slug", ["pkd", "tinybert", "distilbert", "minilm"])
def test_a_recipe_of_states_takes_a_model_of_the_teachers_vocabulary_alone(clone, capsys, slug) -> None:
    phase = "distill" if slug == "pkd" else "general"
    program, words = task_phase, (slug, *TASK, "models/out")
    if phase == "general":
        mlm = ("--mlm", "models/mlm") if slug == "distilbert" else ()
        program, words = corpus_phase, (slug, "--corpus", "data/corpus", *mlm, "--out", "models/out")
    save_speller(clone / "speller", RobertaForMaskedLM if slug == "distilbert" else RobertaModel)
    keys = {f"{slug}.{phase}.student.{key}": value for key, value in {"layers": 2, "source_layers": None}.items()}
    project.params(clone, **keys, **{f"{slug}.{phase}.student.from": "speller", "pkd.distill.layers": "skip"})
    line = refused(capsys, program, *words)
    assert "student.from = 'speller' cuts words otherwise than the teacher, and this recipe compares them token" in line
    torch.manual_seed(9)
    same = RobertaForMaskedLM(tiny.roberta(3)) if slug == "distilbert" else RobertaModel(tiny.roberta(3))
    tiny.save(same, clone / "same")
    project.params(clone, **keys, **{f"{slug}.{phase}.student.from": "same", "pkd.distill.layers": "skip"})
    run(program, *words)
    assert json.loads(Path("models/out/config.json").read_text())["model_type"] == "roberta"


def test_a_model_of_another_task_is_no_start(clone, capsys) -> None:
    tiny.save(tiny.answerer(), clone / "answerer")
    project.params(clone, **{"hinton.distill.student.from": "answerer"})
    line = refused(capsys, task_phase, "hinton", *TASK, "models/out")
    assert "'answerer' is a BertForQuestionAnswering, classes want a model …ForSequenceClassification" in line
