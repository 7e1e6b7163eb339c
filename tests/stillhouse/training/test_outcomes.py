"""Several labels as distributions over no and yes: the losses that are known of them."""

import torch
from torch.nn import functional as F

from stillhouse.training.losses import soft_target_loss, task_loss
from stillhouse.training.outcomes import SeveralLabels, no_and_yes


class Three(SeveralLabels):
    width = 3


def test_the_hard_loss_is_binary_cross_entropy() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([[0, 2], [1, -1], [-1, -1], [0, 1]])
    marks = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]])
    labels = Three().labels({"labels": places})
    assert labels.tolist() == marks.flatten().tolist()
    torch.testing.assert_close(task_loss(no_and_yes(logits), labels), F.binary_cross_entropy_with_logits(logits, marks))


def test_rows_without_any_label_have_zeros() -> None:
    assert Three().labels({"labels": torch.zeros(2, 0)}).tolist() == [0] * 6


def test_with_one_label_distillation_is_that_of_two_classes() -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(8, 2, generator=generator) for _ in range(2))
    # Two classes' probabilities depend on the difference of their logits alone.
    alone = [no_and_yes(each[:, 1:] - each[:, :1]) for each in (student, teacher)]
    torch.testing.assert_close(soft_target_loss(*alone, 3.0), soft_target_loss(student, teacher, 3.0))


def test_several_teachers_stay_apart() -> None:
    logits = torch.arange(12.0).view(2, 2, 3)  # two rows, two teachers, three labels
    both = no_and_yes(logits)
    assert both.shape == (6, 2, 2) and torch.equal(both[..., 1].view(2, 3, 2), logits.transpose(1, 2))
