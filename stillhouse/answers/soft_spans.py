"""Distillation of extractive question answering: the teacher's logits of where an answer begins and where it ends.

Shapes: B windows, L tokens; the teacher's logits may be shorter, W ≤ L, where the batch is padded further.
"""

from torch import Tensor
from torch.nn import functional as F

from stillhouse.answers.extract import span_loss


def span_distillation_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    places: tuple[Tensor, Tensor],
    mask: Tensor,
    alpha: float,
    temperature: float,
) -> dict[str, Tensor]:
    """α·T²·½ Σ CE(softmax(z_T/T), softmax(z_S/T)) over starts and ends, and (1 − α) of the loss of the answer's places.

    Hinton 2015, section 2, once for starts and once for ends; padding takes part in no softmax.

    Args:
        student: z_S of starts and of ends, (B, L) each.
        teacher: z_T, (B, W) each; what stands at padding does not count.
        places: of the answer's first and last token, (B,) each.
        mask: (B, L) 1 at tokens, 0 at padding.
        alpha: weight of the teacher.
        temperature: T.

    Returns:
        The two weighted terms, `soft` and `hard`.
    """
    soft = [_soft_cross_entropy(*pair, mask, temperature) for pair in zip(student, teacher, strict=True)]
    return {
        "soft": alpha * temperature**2 * (soft[0] + soft[1]) / 2,
        "hard": (1 - alpha) * span_loss(*student, *places, mask),
    }


def _soft_cross_entropy(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """CE(softmax(z_T/T), softmax(z_S/T)) over the tokens that are no padding, the mean over windows."""
    width = teacher.shape[1]
    padding = mask[:, :width] == 0
    target = F.softmax((teacher.float() / temperature).masked_fill(padding, float("-inf")), dim=-1)
    given = F.log_softmax((student[:, :width].float() / temperature).masked_fill(padding, float("-inf")), dim=-1)
    return -(target * given.masked_fill(padding, 0)).sum(-1).mean()
