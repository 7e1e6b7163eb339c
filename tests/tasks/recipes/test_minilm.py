"""minilm's two stages at a tiny size."""

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import load_model
from tasks import corpus_phase, task_phase
from tests import tiny
from tests.tasks import project
from tests.tasks.project import interrupted_and_resumed_is_the_same, on_task, refused, run

GENERAL = (corpus_phase, "minilm", "--corpus", "data/corpus", "--out", "models/general")
TASK = on_task(task_phase, "minilm", "--student", "models/general", out="minilm")
NARROW = {"layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 32, "init": "random", "source_layers": None}
FIRST_VERSION = {
    "minilm.general.relation_heads": None,
    "minilm.general.weights": {"attention": 1.0, "queries": 0.0, "keys": 0.0, "values": 1.0},
}


def test_a_narrow_student_goes_from_the_corpus_to_a_classifier_and_twice_gives_the_same_bytes(clone):
    project.params(clone, **{"minilm.general.student": NARROW})
    run(*GENERAL)
    assert type(load_model(clone / "models/general", AutoModel)).__name__ == "BertModel"
    run(*TASK)
    student = load_model(clone / "models/minilm", AutoModelForSequenceClassification)
    assert (student.config.hidden_size, student.config.num_attention_heads) == (16, 2)
    assert student.config.id2label == {0: "bad", 1: "good"}
    first = (clone / "models/minilm/model.safetensors").read_bytes()
    torch.manual_seed(99)  # what loading fills a missing pooler with must not matter
    run(*TASK)
    assert (clone / "models/minilm/model.safetensors").read_bytes() == first


def test_the_general_phase_trains_all_but_what_comes_after_the_last_values(clone):
    project.params(clone, **{"minilm.general.phase": None})
    run(*GENERAL)
    start = load_model(clone / "models/general", AutoModel).state_dict()
    project.params(clone)
    run(*GENERAL)
    trained = load_model(clone / "models/general", AutoModel).state_dict()
    changed = {name for name in start if not torch.equal(start[name], trained[name])}
    assert "encoder.layer.2.attention.self.value.weight" in changed
    assert "encoder.layer.1.output.dense.weight" in changed
    assert not [name for name in changed if name.startswith(("encoder.layer.2.output", "encoder.layer.2.inter"))]


@pytest.mark.slow
def test_an_interrupted_general_stage_ends_with_the_same_weights(clone, monkeypatch):
    assert interrupted_and_resumed_is_the_same(monkeypatch, GENERAL, step=3)


@pytest.mark.parametrize(
    "changes",
    [
        FIRST_VERSION,
        {"minilm.general.layer": 2},
        {"minilm.general.student": NARROW, "minilm.general.relation_heads": 1},
    ],
    ids=["first version", "a layer in the middle", "one relation head"],
)
def test_its_variants_run(clone, changes):
    project.params(clone, **changes)
    run(*GENERAL)
    load_model(clone / "models/general", AutoModel)


def test_a_masked_lm_can_teach_and_its_head_is_left_behind(clone):
    run(*GENERAL, "--mlm", "models/mlm")
    student = load_model(clone / "models/general", AutoModel)
    assert type(student).__name__ == "BertModel"
    assert not any("cls" in name or "decoder" in name for name in student.state_dict())


def test_a_roberta_goes_through_both_stages(clone):
    tiny.save_robertas(clone)
    project.params(clone, **{"teacher.model": "models/mlm"})
    run(*GENERAL)
    run(*TASK)
    assert load_model(clone / "models/minilm", AutoModelForSequenceClassification).config.model_type == "roberta"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minilm.general.layer": 5}, "layer (5) is none of the teacher's 1 to 4: give one of them"),
        ({"minilm.general.relation_heads": 7}, "relation_heads (7) must divide the student's hidden_size (32)"),
        (
            {"minilm.general.relation_heads": None, "minilm.general.student": NARROW},
            "student.heads (2) must be the teacher's 4 where relation_heads is null",
        ),
    ],
)
def test_what_does_not_fit_the_teacher_is_refused_in_one_line(clone, capsys, changes, message):
    project.params(clone, **changes)
    assert message in refused(capsys, *GENERAL)
    assert not (clone / "models/general").exists()
