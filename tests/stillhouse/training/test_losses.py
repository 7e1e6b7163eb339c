import math

import torch
from torch.nn import functional as F

from stillhouse.training.losses import masked_mse, masked_score_mse, soft_cross_entropy, soft_target_loss, task_loss


def test_soft_cross_entropy_is_kl_plus_the_teachers_entropy():
    student, teacher = torch.randn(5, 3), torch.randn(5, 3)
    t = 2.5
    p = F.softmax(teacher / t, -1)
    kl = F.kl_div(F.log_softmax(student / t, -1), p, reduction="batchmean")
    entropy = -(p * p.log()).sum(-1).mean()
    assert torch.allclose(soft_cross_entropy(student, teacher, t), kl + entropy, atol=1e-6)


def test_soft_cross_entropy_sums_over_classes_so_uniform_logits_give_log_c():
    uniform = torch.zeros(4, 7)
    assert math.isclose(soft_cross_entropy(uniform, uniform, 1.0).item(), math.log(7), rel_tol=1e-6)


def test_the_soft_target_loss_keeps_its_gradient_when_the_temperature_rises_and_is_squared_error_for_scores():
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    sizes = [torch.autograd.grad(soft_target_loss(student, teacher, t), student)[0].norm() for t in (50.0, 100.0)]
    assert math.isclose(*sizes, rel_tol=0.05)
    assert soft_target_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]]), 9.0).item() == 2.0


def test_masked_mse_does_not_see_padding():
    one, other = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    garbage = one.clone()
    garbage[mask == 0] = 1e6
    expected = torch.cat([(one - other)[0, :3], (one - other)[1, :2]]).square().mean()
    assert torch.allclose(masked_mse(garbage, other, mask), expected)


def test_masked_score_mse_does_not_see_pairs_with_padding():
    one, other = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    mask = torch.tensor([[1, 1, 0]])
    garbage = one.clone()
    garbage[:, :, 2, :] = 1e6
    garbage[:, :, :, 2] = -1e6
    expected = (one - other)[:, :, :2, :2].square().mean()
    assert torch.allclose(masked_score_mse(garbage, other, mask), expected)


def test_task_loss_is_squared_error_for_scores_and_cross_entropy_for_classes():
    scores = torch.tensor([[1.0], [3.0]])
    assert task_loss(scores, torch.tensor([2.0, 3.0])).item() == 0.5
    logits = torch.tensor([[0.0, 0.0]])
    assert math.isclose(task_loss(logits, torch.tensor([1])).item(), math.log(2), rel_tol=1e-6)


def test_losses_are_fp32_whatever_autocast_made_of_their_inputs():
    half = torch.randn(2, 3, dtype=torch.bfloat16)
    assert soft_cross_entropy(half, half, 1.0).dtype == torch.float32
    assert masked_mse(half[None], half[None], torch.ones(1, 2)).dtype == torch.float32
