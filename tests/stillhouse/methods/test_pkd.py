import copy
import re

import pytest
import torch
from torch.nn import functional as F

from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.methods.pkd import layer_map, patience_loss, patient_step
from stillhouse.training.batches import collate, model_inputs
from tests import tiny

TERMS = {"hard", "soft", "patience"}


def batch(labels=(0, 1), logits=((1.0, -1.0), (0.5, 2.0))):
    rows = [{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}]
    return collate(rows, pad_id=0) | {"labels": torch.tensor(labels), "teacher_logits": torch.tensor(logits)}


@pytest.mark.parametrize(
    ("kind", "student", "teacher", "layers"),
    [
        ("skip", 6, 12, [2, 4, 6, 8, 10]),
        ("last", 6, 12, [7, 8, 9, 10, 11]),
        ("skip", 3, 12, [4, 8]),
        ("last", 3, 6, [4, 5]),
        ("skip", 4, 6, [2, 3, 5]),
        ("skip", 6, 6, [1, 2, 3, 4, 5]),
        ([6, 1], 3, 6, [6, 1]),
    ],
)
def test_the_final_layer_has_no_partner_and_the_others_have_the_papers(kind, student, teacher, layers):
    assert layer_map(kind, student, teacher) == layers


def test_skip_never_names_a_layer_twice():
    for teacher in range(2, 25):
        for student in range(2, teacher + 1):
            layers = layer_map("skip", student, teacher)
            assert layers == sorted(set(layers)) and len(layers) == student - 1 and layers[-1] < teacher


@pytest.mark.parametrize(
    ("kind", "student", "message"),
    [
        ("skip", 1, "student.layers (1) leaves no layer below the last one"),
        ("skip", 7, "student.layers (7) is more than the teacher's 6"),
        ("middle", 3, "layers = 'middle' is not one of skip, last"),
        ([1, 2, 3], 3, "layers [1, 2, 3] must name 2 of the teacher's layers 1 to 6"),
        ([0, 2], 3, "layers [0, 2] must name 2"),
    ],
)
def test_layers_that_the_depths_do_not_allow_are_refused(kind, student, message):
    with pytest.raises(InputError, match=re.escape(message)):
        layer_map(kind, student, 6)


def test_patience_is_the_squared_distance_of_directions_over_the_width_summed_over_layers():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 8), torch.randn(2, 5, 8)  # layers, sentences, width
    expected = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        distances = [2 - 2 * torch.cosine_similarity(a, b, dim=0) for a, b in zip(ours, theirs, strict=True)]
        expected += sum(distances) / len(distances) / 8
    assert torch.allclose(patience_loss(list(student), list(teacher)), expected, atol=1e-6)


def test_patience_does_not_see_the_length_of_a_state():
    student, teacher = [torch.randn(3, 8)], [torch.randn(3, 8)]
    assert torch.allclose(patience_loss([7 * student[0]], teacher), patience_loss(student, teacher), atol=1e-7)
    assert patience_loss([7 * student[0]], student).item() == pytest.approx(0, abs=1e-12)


def test_its_gradient_is_at_right_angles_to_the_state():
    state = torch.randn(4, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(patience_loss([state], [torch.randn(4, 8)]), state)
    assert gradient.norm() > 1e-4
    assert torch.allclose((gradient * state).sum(-1), torch.zeros(4), atol=1e-7)


def test_the_step_is_the_papers_loss_on_the_first_token_of_the_mapped_layers():
    teacher, student = tiny.bert(layers=4, seed=1), tiny.bert(layers=3, seed=2)
    whole = copy.deepcopy(teacher)
    terms = patient_step(FrozenTeacher(teacher, 3, []), [1, 3], 0.7, 10.0, 5.0)(student, batch())
    inputs = model_inputs(batch())
    theirs = whole(**inputs, output_hidden_states=True).hidden_states
    ours = student(**inputs, output_hidden_states=True)
    pairs = [(ours.hidden_states[1], theirs[1]), (ours.hidden_states[2], theirs[3])]
    patience = sum(F.mse_loss(F.normalize(s[:, 0], dim=-1), F.normalize(t[:, 0], dim=-1)) for s, t in pairs)
    target = F.softmax(batch()["teacher_logits"] / 5, -1)
    soft = -25 * (target * F.log_softmax(ours.logits / 5, -1)).sum() / 2
    assert set(terms) == TERMS
    assert torch.allclose(terms["hard"], 0.3 * F.cross_entropy(ours.logits, batch()["labels"]))
    assert torch.allclose(terms["soft"], 0.7 * soft, rtol=1e-5)
    assert torch.allclose(terms["patience"], 10 * patience, rtol=1e-4)


def test_a_student_of_the_teachers_first_layers_has_no_patience_left_for_them():
    teacher = tiny.bert(layers=4)
    student = build_student(teacher, layers=3, source_layers=[1, 2, 3], seed=0)
    terms = patient_step(FrozenTeacher(teacher, 2, []), [1, 2], 0.5, 1.0, 5.0)(student, batch())
    assert terms["patience"].item() == pytest.approx(0, abs=1e-12)


def test_the_loss_does_not_depend_on_how_far_a_batch_is_padded():
    step = patient_step(FrozenTeacher(tiny.bert(layers=3, seed=1), 2, []), [1, 2], 0.5, 10.0, 5.0)
    student = tiny.bert(layers=3, seed=2)
    padded = {n: F.pad(t, (0, 8)) if n in model_inputs(batch()) else t for n, t in batch().items()}
    for name, term in step(student, batch()).items():
        assert torch.allclose(term, step(student, padded)[name], rtol=1e-4), name


def test_patience_teaches_no_layer_above_the_last_that_it_reads_and_never_the_teacher():
    teacher, student = tiny.bert(layers=3, seed=1), tiny.bert(layers=3, seed=2)
    patient_step(FrozenTeacher(teacher, 2, []), [1, 2], 0.5, 1.0, 5.0)(student, batch())["patience"].backward()
    touched = [any(p.grad is not None for p in layer.parameters()) for layer in student.bert.encoder.layer]
    assert touched == [True, True, False]
    assert all(p.grad is None for p in teacher.parameters())


def test_regression_learns_the_teachers_score_and_the_labels():
    teacher, student = tiny.bert(layers=2, labels=(), seed=1), tiny.bert(layers=2, labels=(), seed=2)
    rows = batch(labels=(0.0, 1.0), logits=((2.0,), (3.0,)))
    terms = patient_step(FrozenTeacher(teacher, 1, []), [1], 0.7, 1.0, 5.0)(student, rows)
    score = student(**model_inputs(rows)).logits[:, 0]
    assert torch.allclose(terms["soft"], 0.7 * F.mse_loss(score, torch.tensor([2.0, 3.0])), rtol=1e-5)
    assert torch.allclose(terms["hard"], 0.3 * F.mse_loss(score, torch.tensor([0.0, 1.0])), rtol=1e-5)
