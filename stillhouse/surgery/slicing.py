"""Take heads, FFN units or embedding dimensions out of an encoder: what is left is small and fast, not full of zeros.

The sliced model gives the logits of the whole one in which the same parts are masked: heads and units before the matrix
that reads them, embedding dimensions at every LayerNorm, whose mean and variance are then of the dimensions that stay.
Indices count from 0.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.families.find import family_of
from stillhouse.surgery.axes import WIDTH, Axis, head_axes, take, unit_axes
from stillhouse.surgery.rebuild import rebuild, shape_of


def slice_heads(model: PreTrainedModel, keep: Sequence[Sequence[int]]) -> PreTrainedModel:
    """Keep some attention heads of each layer.

    Args:
        model: left as it is.
        keep: for each layer, its heads that stay.

    Raises:
        InputError: a list a layer is not there, is empty, or names a missing or repeated head.
    """
    shape = shape_of(model)
    family = family_of(model)
    family.allow(model, "heads")
    _check("heads", keep, shape.heads, shape.attention_of)
    state, extra = family.heads_apart(dict(model.state_dict()), shape.extra)
    kept: dict[Axis, Tensor] = {}
    for layer, heads in enumerate(keep):
        kept |= head_axes(layer, list(heads), shape.head_size, shape.heads[layer])
    return rebuild(model, replace(shape, heads=_counts(keep), extra=extra), take(state, kept, family))


def slice_ffn(model: PreTrainedModel, keep: Sequence[Sequence[int]]) -> PreTrainedModel:
    """Keep some FFN units of each layer.

    Args:
        model: left as it is.
        keep: for each layer, its units that stay.

    Raises:
        InputError: a list a layer is not there, is empty, or names a missing or repeated unit.
    """
    shape = shape_of(model)
    family = family_of(model)
    family.allow(model, "units")
    _check("FFN units", keep, shape.intermediate, shape.ffn_of)
    kept: dict[Axis, Tensor] = {}
    for layer, units in enumerate(keep):
        kept |= unit_axes(layer, list(units), shape.intermediate[layer])
    return rebuild(model, replace(shape, intermediate=_counts(keep)), take(model.state_dict(), kept, family))


def slice_embedding(model: PreTrainedModel, keep: Sequence[int]) -> PreTrainedModel:
    """Keep some dimensions of the width between the layers, the same everywhere. A classifier's pooled width stays.

    Args:
        model: left as it is.
        keep: dimensions that stay.

    Raises:
        InputError: none stays, or a missing or repeated dimension is named.
    """
    shape = shape_of(model)
    family = family_of(model)
    family.allow(model, "dimensions")
    _check_one("embedding dimensions", keep, shape.hidden_size, "")
    # Word vectors that are not factorized get narrower with the rest.
    own = shape.embedding_size == shape.hidden_size
    thin = replace(
        shape,
        hidden_size=len(keep),
        embedding_size=len(keep) if own else shape.embedding_size,
        pooled_size=shape.pooled_size if family.pooled else len(keep),
    )
    return rebuild(model, thin, take(model.state_dict(), {WIDTH: torch.tensor(list(keep))}, family))


def _counts(keep: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(len(part) for part in keep)


def _check(what: str, keep: Sequence[Sequence[int]], sizes: Sequence[int], used: Sequence[int]) -> None:
    if len(keep) != len(sizes):
        raise InputError(f"{what}: {len(keep)} lists for {len(sizes)} layers: give one a layer")
    for layer, (part, size) in enumerate(zip(keep, sizes, strict=True)):
        _check_one(what, part, size, f" of layer {layer}")
        if list(part) != list(keep[used[layer]]):
            raise InputError(f"{what}: layers {used[layer]} and {layer} share them: keep the same of both")


def _check_one(what: str, keep: Sequence[int], size: int, where: str) -> None:
    if not keep:
        raise InputError(f"{what}{where}: none is kept: leave at least one")
    outside = [index for index in keep if not 0 <= index < size]
    if outside:
        raise InputError(f"{what}{where}: {outside[:5]} are not among 0 to {size - 1}")
    if len(set(keep)) < len(keep):
        raise InputError(f"{what}{where}: an index is named twice in {list(keep)[:10]}")
