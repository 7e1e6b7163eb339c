"""Knowledge distillation (Hinton, Vinyals, Dean 2015, arXiv 1503.02531, sections 2 and 2.1).

    L = α·T²·CE(softmax(z_T/T), softmax(z_S/T)) + (1−α)·CE(y, z_S)

T² keeps the size of the soft gradient as T changes: by itself it shrinks as 1/T². As T → ∞ the soft part's gradient
becomes that of ½·MSE on centred logits, ((z_S − mean z_S) − (z_T − mean z_T))/(B·C), which is to be had directly as
`logit_loss` (section 2.1, whose logits are centred already). α weighs the same in both.

Several teachers give one soft target, the arithmetic or the geometric mean of their softmaxes at T: see `combine`.
Text without labels can be the transfer set: it has the soft part alone.

Where we differ: for regression, which the paper does not treat, the soft part is the squared error of the two scores,
and several teachers give their mean score.

Shapes: B sentences, N of a whole data set, C classes, K teachers.
"""

import math

from torch import Tensor

from stillhouse.errors import InputError
from stillhouse.training.losses import logit_error, soft_target_loss, task_loss


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor | None, alpha: float, temperature: float
) -> dict[str, Tensor]:
    """The paper's loss, in its two weighted terms.

    Args:
        student: z_S (B, C); (B, 1) for regression.
        teacher: z_T (B, C).
        labels: y (B,), class indices, or floats for regression; None: there is no second term.
        alpha: α, weight of the teacher.
        temperature: T.
    """
    return _weighted(soft_target_loss(student, teacher, temperature), student, labels, alpha)


def logit_loss(student: Tensor, teacher: Tensor, labels: Tensor | None, alpha: float) -> dict[str, Tensor]:
    """The high-temperature limit: ½·MSE of centred logits in place of the soft part. Arguments as above."""
    return _weighted(logit_error(student, teacher), student, labels, alpha)


def combine(logits: Tensor, temperature: float, mean: str) -> Tensor:
    """Logits (N, C) that stand for several teachers, (K, N, C).

    arithmetic: their softmax at T is the mean of the teachers' softmaxes at T. A softmax leaves logits open by a
    constant a row; here a row keeps the mean that it has over all teachers, so one teacher comes back as it is, and
    T → ∞ gives the other kind. geometric: the mean logits, whose softmax is the normalized geometric mean, whatever T.
    Scores (C = 1) give their mean.

    Raises:
        InputError: an unknown kind of mean.
    """
    if mean not in ("arithmetic", "geometric"):
        raise InputError(f"mean = '{mean}' is not one of arithmetic, geometric")
    average = logits.mean(0)  # (N, C)
    if mean == "geometric" or logits.shape[-1] == 1 or len(logits) == 1:
        return average
    log_mean = (logits / temperature).log_softmax(-1).logsumexp(0) - math.log(len(logits))  # (N, C)
    combined = temperature * log_mean
    return combined + (average - combined).mean(-1, keepdim=True)


def _weighted(soft: Tensor, student: Tensor, labels: Tensor | None, alpha: float) -> dict[str, Tensor]:
    if labels is None:
        return {"soft": alpha * soft}
    return {"soft": alpha * soft, "hard": (1 - alpha) * task_loss(student, labels)}
