import pytest
import torch
from torch.nn import functional as F

from stillhouse.methods.hinton import distillation_loss, logit_loss


def gradient(loss_of, logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss_of(logits), logits)[0]


def test_the_soft_gradient_is_t_times_the_difference_of_probabilities_over_the_batch():
    student, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.zeros(6, dtype=torch.long)
    for t in (1.0, 3.0):
        got = gradient(lambda z, t=t: distillation_loss(z, teacher, labels, 1.0, t)["soft"], student)
        expected = t * (F.softmax(student / t, -1) - F.softmax(teacher / t, -1)) / len(student)
        assert torch.allclose(got, expected, atol=1e-6)


def test_at_high_temperature_the_soft_gradient_is_that_of_mse_on_centred_logits():
    student, teacher, labels = torch.randn(6, 4).double(), torch.randn(6, 4).double(), torch.zeros(6, dtype=torch.long)
    student = student - student.mean(-1, keepdim=True)
    teacher = teacher - teacher.mean(-1, keepdim=True)
    # (z − v)/N a sentence, with T² in the loss; mean squared error over N classes has (z − v)·2/N.
    soft = gradient(lambda z: distillation_loss(z, teacher, labels, 1.0, 1000.0)["soft"], student)
    mse = gradient(lambda z: logit_loss(z, teacher, labels, 1.0)["soft"] / 2, student)
    # The losses are computed in fp32: at T = 1000 that leaves about three digits.
    assert torch.allclose(soft, mse, rtol=2e-2, atol=2e-4)


def test_alpha_weighs_the_teacher_and_the_rest_the_labels():
    student, teacher, labels = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, 1, 1])
    terms = distillation_loss(student, teacher, labels, 0.3, 2.0)
    whole = distillation_loss(student, teacher, labels, 1.0, 2.0)
    assert torch.allclose(terms["soft"], 0.3 * whole["soft"])
    assert torch.allclose(terms["hard"], 0.7 * F.cross_entropy(student, labels))


@pytest.mark.parametrize(
    "loss", [lambda s, t, y: distillation_loss(s, t, y, 1.0, 4.0), lambda s, t, y: logit_loss(s, t, y, 1.0)]
)
def test_regression_learns_the_teachers_score(loss):
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]])
    assert loss(student, teacher, torch.tensor([0.0, 0.0]))["soft"].item() == 2.0
