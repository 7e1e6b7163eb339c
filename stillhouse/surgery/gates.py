"""Gates on parts of an encoder: numbers that attention heads, FFN units and dimensions of the width are multiplied by.

A head's gate multiplies its context before the output projection, a unit's gate its activation before the second matrix
of the feed-forward part. A dimension's gate z multiplies the width at every LayerNorm, whose mean and variance are then
of the gated dimensions: μ = Σ z·x / Σ z, σ² = Σ z·(x − μ)² / Σ z, y = z·(γ·(x − μ)/√(σ² + ε) + β). So with gates of 0
and 1 a model gives the logits of the one that surgery slices to the ones, whatever attention it runs.

The model itself is not changed: hooks are there for the time of a forward pass.

Shapes: B sentences, L tokens, d width, d_h width of a head, n gates of a kind (of all layers, one after the other).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder_layers
from stillhouse.errors import InputError
from stillhouse.families.find import family_of
from stillhouse.models.shape import Shape

GATE_KINDS = ("heads", "units", "dimensions")


def gate_sizes(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """How many gates of each kind a model has: of heads and units a number a layer, of dimensions one.

    Raises:
        InputError: layers share their weights, or the family is not known.
    """
    shape = Shape.of(model.config)
    family_of(model).allow(model, "heads", "units")
    own = tuple(range(shape.layers))
    if shape.attention_of != own or shape.ffn_of != own:
        raise InputError("the model's layers share weights, so a gate would be of several: prune first, then share")
    return {"heads": shape.heads, "units": shape.intermediate, "dimensions": (shape.hidden_size,)}


@contextmanager
def gated(model: PreTrainedModel, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, the model's forward pass goes through these gates.

    Args:
        model: an encoder with any head.
        values: gates by kind, (n,), or (B, n) for gates of each sentence's own; a kind that is missing has none.
    """
    shape, sizes, family = Shape.of(model.config), gate_sizes(model), family_of(model)
    if "dimensions" in values:
        family.allow(model, "dimensions")
    hooks: list[Any] = []
    try:
        for kind in ("heads", "units"):
            if kind not in values:
                continue
            wide = shape.head_size if kind == "heads" else 1
            parts = values[kind].split(list(sizes[kind]), dim=-1)
            for layer, part in zip(encoder_layers(model), parts, strict=True):
                matrix = layer.get_submodule(family.gated(kind))
                hooks.append(matrix.register_forward_pre_hook(_multiply(part.repeat_interleave(wide, dim=-1))))
        if "dimensions" in values:
            hooks.extend(
                module.register_forward_hook(_normalize(values["dimensions"]))
                for module in model.modules()
                if isinstance(module, nn.LayerNorm)
            )
        yield
    finally:
        for hook in hooks:
            hook.remove()


def gated_layer_norm(x: Tensor, gates: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """LayerNorm whose mean and variance are of the gated dimensions, its output times the gates.

    Args:
        x: (…, d).
        gates: z, of a shape that goes with x, not all 0.
        weight, bias: γ and β (d,); None where there is no β.
        eps: ε.
    """
    x, gates = x.float(), gates.to(x.device).float()
    total = gates.sum(-1, keepdim=True)
    centred = x - (gates * x).sum(-1, keepdim=True) / total
    variance = (gates * centred.square()).sum(-1, keepdim=True) / total
    scaled = weight * centred * torch.rsqrt(variance + eps)
    return gates * (scaled if bias is None else scaled + bias)


def masks(keep: Mapping[str, Sequence[Sequence[int]]], sizes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Gates of 0 and 1, (n,) by kind, for what stays: of each kind a list of indices a layer."""
    made = {}
    for kind, layers in keep.items():
        parts = [torch.zeros(size) for size in sizes[kind]]
        for part, indices in zip(parts, layers, strict=True):
            part[list(indices)] = 1
        made[kind] = torch.cat(parts)
    return made


def _multiply(gates: Tensor) -> Callable[[nn.Module, tuple], tuple]:
    gates = _of_rows(gates)

    def hook(module: nn.Module, given: tuple) -> tuple:
        return (given[0] * gates.to(given[0]), *given[1:])

    return hook


def _normalize(gates: Tensor) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
    gates = _of_rows(gates)

    def hook(module: nn.Module, given: tuple, out: Tensor) -> Tensor:
        norm: Any = module
        return gated_layer_norm(given[0], gates, norm.weight, norm.bias, norm.eps).to(out.dtype)

    return hook


def _of_rows(gates: Tensor) -> Tensor:
    """(B, n) to (B, 1, n), for all tokens of a sentence."""
    return gates[:, None] if gates.dim() == 2 else gates
