"""Patient knowledge distillation (Sun, Cheng, Gan, Liu 2019, arXiv 1908.09355, section 3).

    L = (1−α)·CE(y, z_S) + α·KD(T) + β·PT

    KD  T²·CE(softmax(z_T/T), softmax(z_S/T))
    PT  Σ over m = 1 … M−1 of MSE(h_S[m]/‖h_S[m]‖, h_T[g(m)]/‖h_T[g(m)]‖)     h: the first token's state, [CLS]

The student's last layer is left to KD. It starts from the teacher's first M layers.

T² stands in the reference code, not in the paper's equation. The paper's PT sums squares over the width; its reference
code takes the mean, and the published β (10 to 1000) are for that, so it is the mean here too: a sum's β is this one's
divided by the width.

Where we differ: PT is the sum over layers, as in the paper; the reference code takes their mean as well, so its β is
M−1 of ours. KD is the mean over sentences, not also over classes, as the reference code's default reduction has it. For
regression CE and KD are squared errors of the score.

Shapes: B sentences, L tokens, d width, C classes; M layers of the student, N of the teacher.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stillhouse.encoders.student import spread_layers
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import soft_target_loss, task_loss
from stillhouse.training.outcomes import ROWS, Outcomes
from stillhouse.training.step import Step


def layer_map(kind: str | Sequence[int], student: int, teacher: int) -> list[int]:
    """g(1) … g(M−1): for each layer of the student but its last, the teacher's layer it learns from, counted from 1.

    Args:
        kind: skip (evenly spaced: `spread_layers`), last (the M−1 before the teacher's last), or the layers themselves.
        student: M.
        teacher: N.

    Raises:
        InputError: an unknown kind, or a map that the two depths do not allow.
    """
    if student < 2:
        raise InputError(f"student.layers ({student}) leaves no layer below the last one: use at least 2")
    if not isinstance(kind, str):
        layers = list(kind)
        if len(layers) != student - 1 or any(not 1 <= n <= teacher for n in layers):
            raise InputError(
                f"layers {layers} must name {student - 1} of the teacher's layers 1 to {teacher}, "
                "one for each layer of the student but its last"
            )
        return layers
    if student > teacher:
        raise InputError(f"student.layers ({student}) is more than the teacher's {teacher}: lower it")
    if kind == "skip":
        return spread_layers(student, teacher)[:-1]
    if kind == "last":
        return list(range(teacher - student + 1, teacher))
    raise InputError(f"layers = '{kind}' is not one of skip, last, or a list of layers")


def patience_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """PT: of the states of the first token, (B, d) each, in the order of the layer map.

    Padding has no part in it: only the first token's states are read.
    """
    errors = [
        F.mse_loss(F.normalize(ours.float(), dim=-1), F.normalize(theirs.float(), dim=-1))
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(errors).sum()


def patient_step(
    teacher: FrozenTeacher,
    mapping: Sequence[int],
    alpha: float,
    beta: float,
    temperature: float,
    outcomes: Outcomes = ROWS,
) -> Step:
    """The step of the only phase, for `fit`; the batch brings the teacher's logits.

    Args:
        teacher: keeps the states of the mapped layers, in the student's width.
        mapping: `layer_map`'s result.
        alpha: α, weight of KD; the labels have 1 − α.
        beta: β, weight of PT.
        temperature: T.
        outcomes: of the task.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs = model_inputs(batch)
        theirs = teacher(inputs).hidden
        ours = model(**inputs, output_hidden_states=True)
        logits = outcomes.predicted(ours, batch)  # (N, C)
        states = [ours.hidden_states[m][:, 0] for m in range(1, len(mapping) + 1)]  # (B, d) each
        return {
            "hard": (1 - alpha) * task_loss(logits, outcomes.labels(batch)),
            "soft": alpha * soft_target_loss(logits, outcomes.taught(batch), temperature),
            "patience": beta * patience_loss(states, [theirs[n][:, 0] for n in mapping]),
        }

    return step
