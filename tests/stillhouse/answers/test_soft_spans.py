"""Distillation of starts and ends: its two terms, and padding, which counts in neither."""

import math

import pytest
import torch
from torch.nn import functional as F

from stillhouse.answers.extract import span_loss
from stillhouse.answers.soft_spans import span_distillation_loss
from stillhouse.training.losses import soft_target_loss

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
PLACES = (torch.tensor([1, 0]), torch.tensor([3, 1]))


def logits(seed: int, width: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(2, width), torch.randn(2, width)


def test_the_hard_term_is_the_loss_of_the_places_and_the_weights_share_one():
    student = logits(1)
    terms = span_distillation_loss(student, logits(2), PLACES, MASK, 0.3, 2.0)
    assert terms["hard"].item() == pytest.approx(0.7 * span_loss(*student, *PLACES, MASK).item(), rel=1e-6)
    assert span_distillation_loss(student, logits(2), PLACES, MASK, 1.0, 2.0)["hard"] == 0
    assert span_distillation_loss(student, logits(2), PLACES, MASK, 0.0, 2.0)["soft"] == 0


def test_without_padding_the_soft_term_is_hintons_for_starts_and_for_ends():
    student, teacher = logits(1), logits(2)
    terms = span_distillation_loss(student, teacher, PLACES, torch.ones_like(MASK), 0.4, 3.0)
    wanted = sum(soft_target_loss(ours, theirs, 3.0) for ours, theirs in zip(student, teacher, strict=True)) / 2
    assert terms["soft"].item() == pytest.approx(0.4 * wanted.item(), rel=1e-6)


def test_the_soft_term_written_out_in_full():
    student, teacher = (torch.tensor([[1.0, 3.0, 9.0]]),) * 2, (torch.tensor([[2.0, 0.0, -7.0]]),) * 2
    mask, places = torch.tensor([[1, 1, 0]]), (torch.tensor([0]), torch.tensor([0]))
    p = 1 / (1 + math.exp(-1))  # of the first token, at T = 2
    q = 1 / (1 + math.exp(1))
    given = span_distillation_loss(student, teacher, places, mask, 1.0, 2.0)["soft"]
    assert given.item() == pytest.approx(-4 * (p * math.log(q) + (1 - p) * math.log(1 - q)), rel=1e-6)


def test_what_stands_at_padding_changes_nothing_and_gets_no_gradient():
    student, teacher = logits(1), logits(2)
    terms = span_distillation_loss(student, teacher, PLACES, MASK, 0.5, 4.0)
    wild = tuple(values.masked_fill(MASK == 0, 1e4).requires_grad_() for values in student)
    filled = tuple(values.masked_fill(MASK == 0, -1) for values in teacher)
    again = span_distillation_loss(wild, filled, PLACES, MASK, 0.5, 4.0)
    assert {name: term.item() for name, term in again.items()} == pytest.approx(
        {name: term.item() for name, term in terms.items()}, rel=1e-6
    )
    sum(again.values()).backward()
    for values in wild:
        assert torch.isfinite(values.grad).all() and (values.grad[1, 2:] == 0).all() and (values.grad[0] != 0).all()


def test_the_students_batch_may_be_padded_further_than_the_teachers():
    student, teacher = logits(1), logits(2)
    wider = tuple(F.pad(values, (0, 2), value=5.0) for values in student)
    one = span_distillation_loss(student, teacher, PLACES, MASK, 0.5, 4.0)
    other = span_distillation_loss(wider, teacher, PLACES, F.pad(MASK, (0, 2)), 0.5, 4.0)
    assert one["soft"].item() == pytest.approx(other["soft"].item(), rel=1e-6)
    assert one["hard"].item() == pytest.approx(other["hard"].item(), rel=1e-6)


def test_the_teachers_own_logits_have_the_least_soft_loss():
    teacher = logits(2)
    own = tuple(values.clone().requires_grad_() for values in teacher)
    least = span_distillation_loss(own, teacher, PLACES, MASK, 1.0, 4.0)["soft"]
    least.backward()
    assert all(values.grad.abs().max() < 1e-6 for values in own)
    assert span_distillation_loss(logits(1), teacher, PLACES, MASK, 1.0, 4.0)["soft"] > least
