"""FitNets (Romero et al. 2015, arXiv 1412.6550, sections 2.2 and 2.3): hints for students deeper and thinner.

    stage 1    ½‖u_h(x) − r(v_g(x))‖²                        trains the student up to its guided layer, and r   (eq. 3)
    stage 2    CE(y, z_S) + λ·CE(softmax(z_T/τ), softmax(z_S/τ))             trains the whole student           (eq. 2)

u_h is the teacher's hint layer, v_g the student's guided layer, both the middle ones unless others are given; r, the
regressor, is left behind. λ falls linearly, from 4 to 1 in the paper, with τ = 3. There is no factor τ² (Hinton's keeps
the soft gradient's size as τ changes): equation 2 has none, and the paper's λ was chosen without it.

Where we differ: the paper's regressor is convolutional. Over a sentence its counterpart is one linear map, with bias,
shared by all positions. The norm is summed over the width as in the paper, and averaged over the real positions of the
batch: padding does not count. For regression, which the paper does not treat, both terms of stage 2 are squared errors.

Shapes: B sentences, L tokens, d width of the student, d_T of the teacher, C classes.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.encoders.families import keep_first_layers
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import soft_cross_entropy, task_loss
from stillhouse.training.step import Step


def middle_layer(name: str, layer: int | None, depth: int) -> int:
    """A layer counted from 1: the one given, or the middle one of `depth`.

    Args:
        name: of the parameter, for the error.

    Raises:
        InputError: there is no such layer.
    """
    if layer is None:
        return max(1, depth // 2)
    if not 1 <= layer <= depth:
        raise InputError(f"{name} = {layer}: the model has layers 1 to {depth}: name one of them, or null")
    return layer


def hint_loss(hint: Tensor, regressed: Tensor, mask: Tensor) -> Tensor:
    """½‖u_h − r(v_g)‖², summed over the width, mean over real positions.

    Args:
        hint: u_h (B, L, d_T).
        regressed: r(v_g) (B, L, d_T).
        mask: (B, L), 1 on real tokens.
    """
    error = (hint.float() - regressed.float()).square().sum(-1) / 2  # (B, L)
    return (error * mask).sum() / mask.sum()


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, weight: float, temperature: float
) -> dict[str, Tensor]:
    """The loss of the second stage, in its two weighted terms.

    Args:
        student: z_S (B, C); (B, 1) for regression.
        teacher: z_T (B, C).
        labels: y (B,), class indices, or floats for regression.
        weight: λ.
        temperature: τ.
    """
    if labels.is_floating_point():
        soft = F.mse_loss(student.float(), teacher.float())
    else:
        soft = soft_cross_entropy(student, teacher, temperature)
    return {"soft": weight * soft, "hard": task_loss(student, labels)}


class GuidedStudent(nn.Module):
    """The student up to its guided layer, with the regressor: what the hint stage trains.

    The layers above are not part of it, so they neither compute nor change. Its weights are the student's own.

    Args:
        student: the whole student; its embeddings and lower layers are trained.
        guided_layer: g, counted from 1.
        teacher_width: d_T.
        seed: of the regressor's random weights.
    """

    def __init__(self, student: PreTrainedModel, guided_layer: int, teacher_width: int, seed: int) -> None:
        super().__init__()
        self.lower = _first_layers(student, guided_layer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.regressor = nn.Linear(student.config.hidden_size, teacher_width)  # r

    def forward(self, inputs: Batch) -> Tensor:
        """r(v_g(x)) (B, L, d_T)."""
        return self.regressor(self.lower(**inputs).last_hidden_state)


def hint_step(teacher: FrozenTeacher) -> Step:
    """The step of the hint stage, for `fit`.

    Args:
        teacher: cut after the hint layer.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs = model_inputs(batch)
        return {"hint": hint_loss(teacher(inputs).hidden[-1], model(inputs), batch["attention_mask"])}

    return step


def _first_layers(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """The encoder up to layer `count`, without pooler and head, around the very parameters of `model`."""
    base = model.base_model
    assert isinstance(base, PreTrainedModel)
    lower: Any = copy.deepcopy(base, {id(weight): weight for weight in base.parameters()})
    if hasattr(lower, "pooler"):
        lower.pooler = None
    return keep_first_layers(lower, count)
