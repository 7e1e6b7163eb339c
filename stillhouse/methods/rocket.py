"""Rocket Launching (Zhou et al. 2018, arXiv 1708.04106, section 3): a booster trains with the light net and is dropped.

    L = CE(y, l) + CE(y, z) + λ·‖l − sg(z)‖²

l are the light net's logits, z the booster's. The two share the embeddings and the lowest layers, and train together
from the start; only the light net is kept. The hint, by its kind:

    logits     ‖l − z‖², summed over the classes                     best in the paper
    softmax    ‖softmax(l) − softmax(z)‖², summed over the classes
    soft       T²·CE(softmax(z/T), softmax(l/T))                     T² keeps its gradient's size as T changes

Gradient block, sg: the hint gives nothing through z, so the booster's own layers and head follow their labels alone.
Through l it reaches everything under l, the shared layers among them: these get CE(y, l), CE(y, z) and the hint's
gradient with respect to l, never the one with respect to z. Without the block the hint pulls the booster too.

Where we differ: the nets are encoders, and the booster is a model before fine-tuning, where the paper trains both from
random weights. For regression both CE are squared errors, and the hint is that of the logits.

Shapes: B sentences, L tokens, d width, C classes.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.encoders.families import drop_first_layers, encoder_layers
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch
from stillhouse.training.losses import soft_cross_entropy, task_loss

HINTS = ("logits", "softmax", "soft")


def hint_loss(light: Tensor, booster: Tensor, kind: str, temperature: float, *, gradient_block: bool) -> Tensor:
    """The hint, mean over sentences.

    Args:
        light: l (B, C).
        booster: z (B, C).
        kind: logits, softmax or soft.
        temperature: T, of `soft` alone.
        gradient_block: whether z is taken as a constant.

    Raises:
        InputError: an unknown kind, or one that compares classes where there is one output.
    """
    if kind not in HINTS:
        raise InputError(f"hint = '{kind}' is not one of {', '.join(HINTS)}")
    if kind != "logits" and light.shape[-1] == 1:
        raise InputError(f"hint = '{kind}' compares classes, and the task has scores: use 'logits'")
    light, booster = light.float(), booster.float()
    if gradient_block:
        booster = booster.detach()
    if kind == "logits":
        return (light - booster).square().sum(-1).mean()
    if kind == "softmax":
        return (F.softmax(light, -1) - F.softmax(booster, -1)).square().sum(-1).mean()
    return temperature**2 * soft_cross_entropy(light, booster, temperature)


def launch_loss(
    light: Tensor,
    booster: Tensor,
    labels: Tensor,
    kind: str,
    weight: float,
    temperature: float,
    *,
    gradient_block: bool,
) -> dict[str, Tensor]:
    """The joint loss, in its three terms.

    Args:
        labels: y (B,), class indices, or floats for regression.
        weight: λ.
        light, booster, kind, temperature, gradient_block: as in `hint_loss`.
    """
    return {
        "light": task_loss(light, labels),
        "booster": task_loss(booster, labels),
        "hint": weight * hint_loss(light, booster, kind, temperature, gradient_block=gradient_block),
    }


def share_lowest(light: PreTrainedModel, booster: PreTrainedModel, shared: int) -> None:
    """Give the light net the booster's own embeddings and lowest layers, in place: the same modules in both.

    Raises:
        InputError: the booster has no layer above those.
    """
    ours, theirs = encoder_layers(light), encoder_layers(booster)
    if not 0 <= shared < len(theirs):
        raise InputError(f"shared = {shared}: the booster has {len(theirs)} layers, one must be its own: lower it")
    assert shared <= len(ours)
    for name in _below_the_layers(booster):
        setattr(light.base_model, name, getattr(booster.base_model, name))
    for index in range(shared):
        ours[index] = theirs[index]


class Rocket(nn.Module):
    """The light net, whole, and of the booster what stands above the shared layers, which run once for both.

    Args:
        light: shares its lowest layers with the booster, see `share_lowest`.
        booster: taken apart: its shared layers are left to the light net.
        shared: how many layers they share, besides the embeddings.
    """

    def __init__(self, light: PreTrainedModel, booster: PreTrainedModel, shared: int) -> None:
        super().__init__()
        self.light = light
        self.shared = shared
        self.trunk = _Trunk()
        for name in _below_the_layers(booster):
            setattr(booster.base_model, name, self.trunk if name == "embeddings" else nn.Identity())
        self.booster = drop_first_layers(booster, shared)

    def forward(self, inputs: Batch) -> tuple[Any, Any]:
        """The outputs of the light net and of the booster."""
        light = self.light(**inputs, output_hidden_states=True)
        self.trunk.states = light.hidden_states[self.shared]
        booster = self.booster(**inputs)
        self.trunk.states = None
        return light, booster


class _Trunk(nn.Module):
    """Stands where the booster's embeddings were, and gives what the shared layers gave."""

    def __init__(self) -> None:
        super().__init__()
        self.states: Tensor | None = None  # (B, L, d)

    def forward(self, *_: Any, **__: Any) -> Tensor:
        assert self.states is not None
        return self.states


def _below_the_layers(model: PreTrainedModel) -> list[str]:
    """The embeddings, and ELECTRA's projection of them."""
    return [name for name, _ in model.base_model.named_children() if name.startswith("embeddings")]
