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


@dataclass(frozen=True)
class Axis:
    """kind: width | heads | units; layer: of heads and units, from 0."""

    kind: str
    layer: int | None = None


WIDTH = Axis("width")
WHOLE_CLASSIFIER = r"(?:^|\.)classifier\.weight$"
KEEP = None  # an axis that surgery leaves alone: vocabulary, positions, labels, ranks

# Linear layers by the end of their names: (outputs, inputs). "heads" and "units" are of the layer in the name.
LINEAR = {
    r"layer\.(\d+)\.attention\.self\.(?:query|key|value)": ("heads", "width"),
    r"layer\.(\d+)\.attention\.output\.dense": ("width", "heads"),
    r"layer\.(\d+)\.intermediate\.dense": ("units", "width"),
    r"layer\.(\d+)\.output\.dense": ("width", "units"),
    r"embeddings\.word_embeddings\.project": ("width", None),
    r"pooler\.dense": (None, "width"),
    r"predictions\.transform\.dense": ("width", "width"),
    r"predictions\.decoder|lm_head\.decoder": (None, "width"),
    r"lm_head\.dense": ("width", "width"),
    r"classifier\.dense": (None, "width"),  # RoBERTa pools in its head
    r"classifier\.out_proj|seq_relationship|classifier": (None, None),
    r"qa_outputs": (None, "width"),
}
OTHER = {
    r"(?:word|position|token_type)_embeddings\.weight": (KEEP, WIDTH),
    r"word_embeddings\.table\.weight": (KEEP, KEEP),
    r"(?:LayerNorm|layer_norm)\.(?:weight|bias)": (WIDTH,),
    r"(?:predictions|lm_head)\.bias": (KEEP,),
}


def axes(name: str) -> tuple[Axis | None, ...]:
    """What the axes of the weight of this name count; None for what surgery leaves alone.

    Raises:
        InputError: a weight that no known model has.
    """
    for pattern, kinds in OTHER.items():
        if re.search(rf"(?:^|\.)(?:{pattern})$", name):
            return kinds
    for pattern, (outputs, inputs) in LINEAR.items():
        match = re.search(rf"(?:^|\.)(?:{pattern})\.(down\.|up\.)?(weight|bias)$", name)
        if match is None:
            continue
        layer = int(match[1]) if match.re.groups == 3 else None
        rows, columns = _axis(outputs, layer), _axis(inputs, layer)
        half, what = match.groups()[-2:]
        if half == "down.":
            rows = KEEP
        elif half == "up.":
            columns = KEEP
        return (rows,) if what == "bias" else (rows, columns)
    raise InputError(f"weight '{name}' is none that surgery knows: it works on encoders with a standard head")


def take(state: Mapping[str, Tensor], kept: Mapping[Axis, Tensor]) -> dict[str, Tensor]:
    """Weights with only the kept entries of some axes.

    Args:
        state: a state dict.
        kept: indices along an axis, one for each entry of a weight that counts it (d_h for each head).
    """
    out = {}
    # Without a pooler a classifier, which is of tokens then, reads the encoder itself.
    pooled = any("pooler." in name for name in state)
    for name, weight in state.items():
        counted = (KEEP, WIDTH) if not pooled and re.search(WHOLE_CLASSIFIER, name) else axes(name)
        for number, axis in enumerate(counted):
            if axis is not None and axis in kept:
                weight = weight.index_select(number, kept[axis].to(weight.device))
        out[name] = weight.clone()
    return out


def spread_heads(heads: list[int], head_size: int) -> Tensor:
    """The entries of an axis of heads that belong to these heads."""
    return (torch.tensor(heads)[:, None] * head_size + torch.arange(head_size)).flatten()


def _axis(kind: str | None, layer: int | None) -> Axis | None:
    if kind is None or kind == "width":
        return WIDTH if kind else None
    return Axis(kind, layer)
