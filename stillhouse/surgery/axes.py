"""What each axis of each weight of an encoder counts: heads, FFN units, or the width between the layers.

Names are those of a state dict. A linear layer n → m has a weight (m, n) and a bias (m); one of low rank has
`down.weight` (r, n), `up.weight` (m, r) and `up.bias` (m).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.errors import InputError
from stillhouse.families.contract import Axes, Family


@dataclass(frozen=True)
class Axis:
    """kind: width | heads (d_h entries a head) | head (one a head) | qkv | units | glu; layer: of all but the width."""

    kind: str
    layer: int | None = None


WIDTH = Axis("width")
WHOLE_CLASSIFIER = re.compile(r"(?:^|\.)classifier\.weight$")
KEEP = None  # an axis that surgery leaves alone: vocabulary, positions, labels, ranks


def axes(name: str, family: Family) -> tuple[Axis | None, ...]:
    """What the axes of the weight of this name count; None for what surgery leaves alone.

    Raises:
        InputError: a weight that no known model has.
    """
    inside = family.in_layer.match(name)
    layer = int(inside[2]) if inside else None
    for pattern, kinds in family.weights.items():
        if re.search(rf"(?:^|\.)(?:{pattern})$", name):
            return tuple(_axis(kind, layer) for kind in kinds)
    for pattern, kinds in (_matrices(family) if inside else family.linear).items():
        match = re.search(rf"(?:^|\.)(?:{pattern})\.(down\.|up\.)?(weight|bias)$", inside[3] if inside else name)
        if match is None:
            continue
        rows, columns = (_axis(kind, layer) for kind in kinds)
        half, what = match.groups()
        if half == "down.":
            rows = KEEP
        elif half == "up.":
            columns = KEEP
        return (rows,) if what == "bias" else (rows, columns)
    raise InputError(f"weight '{name}' is none that surgery knows: it works on encoders with a standard head")


def take(state: Mapping[str, Tensor], kept: Mapping[Axis, Tensor], family: Family) -> dict[str, Tensor]:
    """Weights with only the kept entries of some axes.

    Args:
        state: a state dict.
        kept: indices along an axis, one for each entry of a weight that counts it (d_h for each head).
        family: of the model.
    """
    out = {}
    # Without a pooler a classifier, which is of tokens then, reads the encoder itself.
    poolers = tuple(f"{pooler}.weight" for pooler in family.poolers)
    pooled = any(name.endswith(poolers) for name in state)
    for name, weight in state.items():
        counted = (KEEP, WIDTH) if not pooled and WHOLE_CLASSIFIER.search(name) else axes(name, family)
        for number, axis in enumerate(counted):
            if axis is not None and axis in kept:
                weight = weight.index_select(number, kept[axis].to(weight.device))
        out[name] = weight.clone()
    return out


def head_axes(layer: int, heads: list[int], head_size: int, count: int) -> dict[Axis, Tensor]:
    """What is kept of each axis that counts these heads, of a layer of `count`."""
    context = spread_heads(heads, head_size)
    width = count * head_size
    return {
        Axis("head", layer): torch.tensor(heads),
        Axis("heads", layer): context,
        Axis("qkv", layer): torch.cat([context, context + width, context + 2 * width]),
    }


def unit_axes(layer: int, units: list[int], count: int) -> dict[Axis, Tensor]:
    """What is kept of each axis that counts these FFN units, of a layer of `count`."""
    kept = torch.tensor(units)
    return {Axis("units", layer): kept, Axis("glu", layer): torch.cat([kept, kept + count])}


def spread_heads(heads: list[int], head_size: int) -> Tensor:
    """The entries of an axis of heads that belong to these heads."""
    return (torch.tensor(heads)[:, None] * head_size + torch.arange(head_size)).flatten()


def _matrices(family: Family) -> dict[str, Axes]:
    return {f"^{re.escape(name)}": (matrix.outputs, matrix.inputs) for name, matrix in family.matrices.items()}


def _axis(kind: str | None, layer: int | None) -> Axis | None:
    if kind is None or kind == "width":
        return WIDTH if kind else None
    return Axis(kind, layer)
