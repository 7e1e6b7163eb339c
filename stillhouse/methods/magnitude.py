"""Magnitude pruning (Gordon, Duh, Andrews 2020, arXiv 2002.08307, section 3; Han et al. 2015 for the schedule).

The smallest weights of each matrix (local), or of all matrices together (global), become zero: word embeddings, and
Q, K, V, O and both feed-forward matrices of every layer. The masks are applied again after every optimizer step, since
momentum and weight decay would move the zeros. Either

    before   the pretrained model is pruned to a share, once, and then fine-tuned on the task
    after    the fine-tuned model is pruned to a share that rises in steps, with training between them to recover

Where we differ: the number pruned of each matrix is rounded down to a whole weight; ties at the threshold are broken by
position, so that the share is exact. The paper also trains the pruned pretrained model on its corpus before it is
fine-tuned; here the task's training is what recovers. A mask is the set of non-zero weights: it needs no file of its
own, and a run that resumes from a checkpoint finds it in the weights.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback

from stillhouse.encoders.families import layer_blocks, word_embeddings
from stillhouse.errors import InputError

SCOPES = ("local", "global")


def prunable_weights(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The matrices that the paper prunes, by their names in the model."""
    linear = [module for layer in layer_blocks(model) for module in layer.modules() if isinstance(module, nn.Linear)]
    chosen = {id(module.weight) for module in (*linear, word_embeddings(model))}
    return {name: weight for name, weight in model.named_parameters() if id(weight) in chosen}


def magnitude_masks(weights: Mapping[str, Tensor], share: float, scope: str) -> dict[str, Tensor]:
    """Masks, True where a weight stays, that zero the `share` of weights smallest in magnitude.

    Args:
        weights: matrices by name.
        share: of the weights that go, in [0, 1).
        scope: local (that share of each matrix) or global (of all together).

    Raises:
        InputError: a share outside [0, 1), or an unknown scope.
    """
    if not 0 <= share < 1:
        raise InputError(f"share = {share} must be in [0, 1)")
    if scope not in SCOPES:
        raise InputError(f"scope = '{scope}' is not one of {', '.join(SCOPES)}")
    if scope == "local":
        return {name: _keep_largest(weight.detach().abs(), share) for name, weight in weights.items()}
    flat = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    parts = _keep_largest(flat, share).split([weight.numel() for weight in weights.values()])
    return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}


def _keep_largest(magnitudes: Tensor, share: float) -> Tensor:
    mask = torch.ones(magnitudes.numel(), dtype=torch.bool, device=magnitudes.device)
    mask[magnitudes.flatten().argsort(stable=True)[: int(share * magnitudes.numel())]] = False
    return mask.view_as(magnitudes)


@torch.no_grad()
def prune(model: PreTrainedModel, share: float, scope: str) -> dict[str, Tensor]:
    """Zero the smallest weights of a model, in place, and give the masks."""
    weights = prunable_weights(model)
    masks = magnitude_masks(weights, share, scope)
    apply_masks(weights, masks)
    return masks


@torch.no_grad()
def apply_masks(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Zero the masked weights, in place."""
    for name, mask in masks.items():
        weights[name].mul_(mask)


def check_shares(shares: Sequence[float]) -> None:
    """Raise InputError unless there are shares, and they rise."""
    if not shares or any(later <= earlier for earlier, later in pairwise(shares)):
        raise InputError(f"shares = {list(shares)} must rise, and there must be at least one")


class HeldZeros(TrainerCallback):
    """Keeps the weights at zero that are zero when `fit` begins, or goes on.

    Args:
        model: what is trained, pruned.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.weights = prunable_weights(model)
        self.masks: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.masks = {name: weight != 0 for name, weight in self.weights.items()}

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        apply_masks(self.weights, self.masks)


class GradualPruning(HeldZeros):
    """Raises the share along a schedule while `fit` trains, and keeps pruned weights at zero.

    The steps are divided evenly among the shares: at the start of each part the model is pruned to its share, the rest
    of the part recovers.

    Args:
        model: what is trained.
        shares: rising shares in [0, 1).
        scope: local or global.
        report: called as (share, "before" or "after" recovery), with the model in the state that it names.

    Raises:
        InputError: no shares, or shares that do not rise.
    """

    def __init__(
        self, model: PreTrainedModel, shares: Sequence[float], scope: str, report: Callable[[float, str], None]
    ) -> None:
        check_shares(shares)
        super().__init__(model)
        self.model = model
        self.shares = list(shares)
        self.scope = scope
        self.report = report

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.max_steps < len(self.shares):
            raise InputError(f"{state.max_steps} steps are fewer than the {len(self.shares)} shares: raise 'epochs'")
        if state.global_step:
            super().on_train_begin(args, state, control)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for part, share in enumerate(self.shares):
            if state.global_step == self.first_step(part, state.max_steps):
                if part:
                    self.report(self.shares[part - 1], "after")
                self.masks = prune(self.model, share, self.scope)
                self.report(share, "before")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.report(self.shares[-1], "after")

    def first_step(self, part: int, steps: int) -> int:
        """The optimizer step before which the model is pruned to `shares[part]`."""
        return part * steps // len(self.shares)
