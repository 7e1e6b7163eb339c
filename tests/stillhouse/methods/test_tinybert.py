import copy
import re

import pytest
import torch

from stillhouse.encoders.capture import ScoreCapture
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.methods.tinybert import (
    TransformerDistillation,
    layer_map,
    match_heads,
    prediction_loss,
    transformer_step,
)
from stillhouse.training.batches import collate, model_inputs
from tests import tiny

WEIGHTS = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}


def batch():
    return collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0)


def test_a_student_that_is_the_teacher_has_no_loss():
    teacher = tiny.bert(layers=3)
    model = TransformerDistillation(copy.deepcopy(teacher), 32, range(3), seed=0)
    terms = transformer_step(FrozenTeacher(teacher, 3, range(3)), [1, 2, 3], WEIGHTS)(model, batch())
    assert set(terms) == set(WEIGHTS)
    for term in terms.values():
        assert term.item() == pytest.approx(0, abs=1e-10)


def test_the_losses_do_not_depend_on_how_far_a_batch_is_padded():
    teacher, student = tiny.bert(layers=2, seed=1), tiny.bert(layers=2, seed=2)
    model = TransformerDistillation(student, 32, range(2), seed=0)
    step = transformer_step(FrozenTeacher(teacher, 2, range(2)), [1, 2], WEIGHTS)
    short = batch()
    long = {name: torch.nn.functional.pad(tensor, (0, 8)) for name, tensor in short.items()}
    for name, term in step(model, short).items():
        assert torch.allclose(term, step(model, long)[name], rtol=1e-4), name


def test_captured_scores_are_those_before_the_softmax_and_outputs_stay_the_same():
    model = tiny.bert(layers=2)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    inputs = model_inputs(batch())
    expected = eager(**inputs, output_attentions=True)
    capture = ScoreCapture(model, [1])
    got = model(**inputs)
    assert torch.allclose(got.logits, expected.logits, atol=1e-5)
    assert list(capture.scores) == [1]
    keep = inputs["attention_mask"][:, None, None, :].bool()
    probabilities = capture.scores[1].masked_fill(~keep, -1e30).softmax(-1)
    real = inputs["attention_mask"].bool()
    for row in range(2):
        assert torch.allclose(probabilities[row][:, real[row]], expected.attentions[1][row][:, real[row]], atol=1e-5)


def test_the_teacher_computes_nothing_after_the_last_layer_that_is_read():
    teacher = tiny.bert(layers=4)
    whole = copy.deepcopy(teacher)
    inputs = model_inputs(batch())
    states = FrozenTeacher(teacher, 2, [1])(inputs)
    assert len(states.hidden) == 3
    assert len(teacher.base_model.encoder.layer) == 2
    expected = whole(**inputs, output_hidden_states=True).hidden_states
    assert torch.allclose(states.hidden[2], expected[2], atol=1e-5)
    assert not states.hidden[2].requires_grad


def test_a_narrower_student_is_projected_and_its_projections_learn():
    teacher = tiny.bert(layers=2, width=32)
    student = build_student(
        teacher, layers=2, hidden_size=16, heads=2, intermediate_size=32, source_layers=None, seed=0
    )
    model = TransformerDistillation(student, 32, range(2), seed=0)
    terms = transformer_step(FrozenTeacher(teacher, 2, range(2)), [1, 2], WEIGHTS)(model, batch())
    sum(terms.values()).backward()
    assert model.hidden.weight.shape == (32, 16)
    for projection in (model.hidden, model.embeddings):
        assert projection.weight.grad is not None and projection.weight.grad.abs().sum() > 0


def test_a_term_of_weight_zero_is_left_out():
    teacher = tiny.bert(layers=2)
    model = TransformerDistillation(tiny.bert(layers=2, seed=3), 32, [], seed=0)
    step = transformer_step(FrozenTeacher(teacher, 2, []), [1, 2], {"attention": 0.0, "hidden": 2.0, "embeddings": 0.0})
    assert set(step(model, batch())) == {"hidden"}


def test_groups_of_teacher_heads_are_averaged_and_unmatched_numbers_compare_their_means():
    teacher = torch.arange(4.0)[None, :, None, None]
    _, grouped = match_heads(torch.zeros(1, 2, 1, 1), teacher)
    assert grouped.flatten().tolist() == [0.5, 2.5]
    ours, theirs = match_heads(torch.tensor([1.0, 2.0, 6.0])[None, :, None, None], teacher)
    assert (ours.item(), theirs.item()) == (3.0, 1.5)


def test_prediction_loss_is_soft_cross_entropy_and_squared_error_for_one_output():
    assert prediction_loss(torch.zeros(2, 4), torch.zeros(2, 4), 1.0).item() == pytest.approx(1.386294, rel=1e-5)
    assert prediction_loss(torch.tensor([[1.0]]), torch.tensor([[3.0]]), 1.0).item() == 4.0


@pytest.mark.parametrize(
    ("kind", "student", "teacher", "layers"),
    [("uniform", 4, 12, [3, 6, 9, 12]), ("top", 2, 6, [5, 6]), ("bottom", 2, 6, [1, 2]), ([1, 6], 2, 6, [1, 6])],
)
def test_layer_maps_are_those_of_the_paper(kind, student, teacher, layers):
    assert layer_map(kind, student, teacher) == layers


@pytest.mark.parametrize(
    ("kind", "student", "message"),
    [
        ("uniform", 8, "student.layers (8) is more than the layer map can give: the teacher has 6"),
        ("uniform", 4, "layer_map 'uniform' needs the teacher's 6 layers to be a multiple of the student's 4"),
        ("middle", 2, "layer_map = 'middle' is not one of"),
        ([1, 7], 2, "layer_map [1, 7] must name 2 of the teacher's layers 1 to 6"),
    ],
)
def test_a_map_that_the_depths_do_not_allow_is_refused(kind, student, message):
    with pytest.raises(InputError, match=re.escape(message)):
        layer_map(kind, student, 6)
