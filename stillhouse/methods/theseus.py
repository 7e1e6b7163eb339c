"""BERT-of-Theseus (Xu et al. 2020, arXiv 2002.02925, section 3): replace a model's layers while it computes.

The predecessor's N layers stand in M groups of N/M; each group has a successor layer. Per group i and batch a coin
r ~ Bernoulli(p) decides which of the two computes:

    y_{i+1} = r·scc_i(y_i) + (1 − r)·prd_i(y_i)

The loss is that of the task alone, and trains the successors: predecessor, embeddings and head are frozen. Afterwards
the successors, with embeddings and head, are a model of M layers, which is fine-tuned by itself. p by its schedule,
where t of T steps are done:

    constant    p = b
    linear      p = min(1, k·t + b)              the paper's curriculum
    reversed    p = min(1, k·(T − t) + b)        the same in reverse order: from 1 down to b

In the paper the successors start from the predecessor's first M layers.

As in the reference code the predecessor's dropout is on while it is being replaced, so that successors learn among
inputs of one kind. A group whose coin is 0 gives its successor a gradient of zero, as the formula has it, not none.

Where we differ: k is given as the share of the steps after which the linear schedule reaches 1, `ramp`, so that it fits
any number of steps: k = (1 − b)/(ramp·T). In the last stage all weights of the successor train; in the reference code
embeddings and head stay as they were.

Shapes: B sentences, L tokens, d width, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder_layers
from stillhouse.errors import InputError
from stillhouse.families.contract import Family
from stillhouse.families.find import family_of
from stillhouse.training.batches import Batch

SCHEDULES = ("constant", "linear", "reversed")


def group_size(predecessor: int, successor: int) -> int:
    """N/M, the predecessor's layers that one successor layer stands for.

    Raises:
        InputError: M does not divide N.
    """
    if predecessor % successor:
        raise InputError(
            f"layers = {successor} must divide the teacher's {predecessor}: each successor layer stands for one group"
        )
    return predecessor // successor


def replacement_schedule(kind: str, base: float, ramp: float) -> Callable[[float], float]:
    """p by the share t/T of training that is done.

    Args:
        kind: constant, linear or reversed.
        base: b in [0, 1]; p itself where it is constant.
        ramp: share of the steps, in (0, 1], over which the linear schedule rises from b to 1.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in SCHEDULES:
        raise InputError(f"schedule = '{kind}' is not one of {', '.join(SCHEDULES)}")
    if kind == "constant":
        return lambda done: base

    def rising(done: float) -> float:
        return min(1.0, (1 - base) * done / ramp + base)

    return rising if kind == "linear" else lambda done: rising(1 - done)


class Theseus(nn.Module):
    """The predecessor with a coin at each group of its layers.

    Args:
        predecessor: frozen, and changed in place: its layers are grouped.
        successor: a model of M layers; those layers are trained, in place.

    Raises:
        InputError: M does not divide N, or a group has no layer of its successor's kind.
    """

    def __init__(self, predecessor: PreTrainedModel, successor: PreTrainedModel) -> None:
        super().__init__()
        layers, successors = encoder_layers(predecessor), encoder_layers(successor)
        size = group_size(len(layers), len(successors))
        predecessor.requires_grad_(False)
        family = family_of(predecessor)
        self.groups = [_Group(list(layers[i * size : (i + 1) * size])) for i in range(len(successors))]
        places = [
            place
            for group, layer in zip(self.groups, successors, strict=True)
            for place in _places(group, layer, family)
        ]
        del layers[:]
        layers.extend(places)
        self.predecessor = predecessor

    def forward(self, inputs: Batch, rate: float) -> Any:
        """The predecessor's outputs, with each group replaced with probability `rate`.

        The coins come from torch's global CPU generator, which a checkpoint keeps.
        """
        return self.replaced(inputs, (torch.rand(len(self.groups)) < rate).tolist())

    def replaced(self, inputs: Batch, coins: Sequence[bool]) -> Any:
        """Its outputs where group i computes by its successor if coins[i]."""
        for group, coin in zip(self.groups, coins, strict=True):
            group.coin = coin
        return self.predecessor(**inputs)


@dataclass
class _Group:
    """A group of the predecessor's layers, and whether its successor computes in their place."""

    predecessor: list[nn.Module]
    coin: bool = False


def _places(group: _Group, successor: nn.Module, family: Family) -> list["_Place"]:
    """The group's layers with their coin. The successor stands at the first of its kind: that gets what it reads."""
    kinds = [family.kind(layer) for layer in group.predecessor]
    kind = family.kind(successor)
    if kind not in kinds:
        raise InputError(f"init: a successor layer of {kind} stands for layers of {kinds}: start each from its group's")
    return [
        _Place(group, layer, successor if number == kinds.index(kind) else None, family)
        for number, layer in enumerate(group.predecessor)
    ]


class _Place(nn.Module):
    """A layer of the predecessor; with coin 1 the successor computes at one place of a group, none at the others."""

    def __init__(self, group: _Group, predecessor: nn.Module, successor: nn.Module | None, family: Family) -> None:
        super().__init__()
        self.group, self.family = group, family
        self.predecessor = predecessor
        self.successor = successor

    def __getattr__(self, name: str) -> Any:
        """What an encoder reads of a layer, such as what kind it is."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("predecessor"), name)

    def forward(self, hidden: Tensor, *rest: Any, **options: Any) -> Any:  # (B, L, d) -> what a layer returns
        if self.group.coin:
            if self.successor is None:
                return self.family.output(hidden)
            return self.successor(hidden, *rest, **options)
        output = self.predecessor(hidden, *rest, **options)
        if self.successor is None:
            return output
        # Adds a gradient of zero: with no coin 1 the loss would have none at all, and DDP waits for every weight's.
        hidden = self.family.states(output)
        hidden = hidden + 0 * torch.stack([weight.flatten()[0] for weight in self.successor.parameters()]).sum()
        return self.family.output(hidden)
