"""Losses that several methods share.

Shapes: B sentences, L tokens, d width, C classes. `mask` is (B, L), 1 on real tokens. Every function gives a scalar in
fp32, whatever autocast made of its inputs.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# The logit of an outcome that is none, such as a start at padding. Its softmax is 0, and 0 times its logarithm is 0.
NO_OUTCOME = -1e30


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """CE(softmax(z_T/T), softmax(z_S/T)), summed over classes, mean over sentences, without the factor T².

    Args:
        student: z_S (B, C).
        teacher: z_T (B, C).
        temperature: T.
    """
    target = F.softmax(teacher.float() / temperature, dim=-1)
    return -(target * F.log_softmax(student.float() / temperature, dim=-1)).sum(-1).mean()


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T²·CE(softmax(z_T/T), softmax(z_S/T)); squared error of the scores where C is 1 (regression).

    Args:
        student: z_S (B, C).
        teacher: z_T (B, C).
        temperature: T.
    """
    if student.shape[-1] == 1:
        return F.mse_loss(student.float(), teacher.float())
    return temperature**2 * soft_cross_entropy(student, teacher, temperature)


def logit_error(student: Tensor, teacher: Tensor) -> Tensor:
    """The limit of `soft_target_loss` as T → ∞, up to a constant: ½·squared error of centred logits.

    A distribution's logits are open by a constant, so each side loses its mean. The error is the mean over the outcomes
    that the teacher's distribution has, then over distributions. Squared error of the scores where C is 1 (regression).

    Args:
        student: z_S (N, C).
        teacher: z_T (N, C); NO_OUTCOME where a distribution is shorter.
    """
    if student.shape[-1] == 1:
        return F.mse_loss(student.float(), teacher.float())
    there = teacher > NO_OUTCOME / 2  # (N, C)
    outcomes = there.sum(-1, keepdim=True)  # (N, 1)
    error = torch.where(there, student.float() - teacher.float(), 0)
    error = torch.where(there, error - error.sum(-1, keepdim=True) / outcomes, 0)
    return (error.square() / outcomes).sum(-1).mean() / 2


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy for class indices, squared error for scores (logits (B, 1), labels (B,) of floats)."""
    if labels.is_floating_point():
        return F.mse_loss(logits.float().squeeze(-1), labels.float())
    return F.cross_entropy(logits.float(), labels)


def masked_mse(one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Squared error of two (B, L, d) tensors, mean over real tokens and dimensions: padding does not count."""
    error = (one.float() - other.float()).square().mean(-1)  # (B, L)
    return (error * mask).sum() / mask.sum()


def masked_score_mse(one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Squared error of two (B, h, L, L) score tensors, mean over heads and over pairs of real tokens."""
    pairs = mask[:, :, None] * mask[:, None, :]  # (B, L, L)
    error = (one.float() - other.float()).square().mean(1)  # (B, L, L)
    return (error * pairs).sum() / pairs.sum()
