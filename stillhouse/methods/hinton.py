"""Knowledge distillation (Hinton, Vinyals, Dean 2015, arXiv 1503.02531, sections 2 and 2.1).

    L = α·T²·CE(softmax(z_T/T), softmax(z_S/T)) + (1−α)·CE(y, z_S)

T² keeps the size of the soft gradient as T changes: by itself it shrinks as 1/T². As T → ∞ the soft part's gradient
becomes that of ½·MSE on centred logits, which is to be had directly as `logit_loss` (section 2.1).

Where we differ: for regression, which the paper does not treat, the soft part is the squared error of the two scores.

Shapes: B sentences, C classes.
"""

from torch import Tensor
from torch.nn import functional as F

from stillhouse.losses import soft_cross_entropy, task_loss


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float
) -> dict[str, Tensor]:
    """The paper's loss, in its two weighted terms.

    Args:
        student: z_S (B, C); (B, 1) for regression.
        teacher: z_T (B, C).
        labels: y (B,), class indices, or floats for regression.
        alpha: α, weight of the teacher.
        temperature: T.
    """
    if labels.is_floating_point():
        return logit_loss(student, teacher, labels, alpha)
    soft = temperature**2 * soft_cross_entropy(student, teacher, temperature)
    return {"soft": alpha * soft, "hard": (1 - alpha) * task_loss(student, labels)}


def logit_loss(student: Tensor, teacher: Tensor, labels: Tensor, alpha: float) -> dict[str, Tensor]:
    """The high-temperature limit: squared error of the logits in place of the soft part. Arguments as above."""
    soft = F.mse_loss(student.float(), teacher.float())
    return {"soft": alpha * soft, "hard": (1 - alpha) * task_loss(student, labels)}
