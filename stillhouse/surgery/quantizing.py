"""Put a model's weights into eight bits: the last step of a chain, for no other surgery works on what comes out.

Symmetric, a scale a row: w ≈ q·s, s = max|w|/127, q from −127 to 127. How activations are rounded with int8 weights
stands in `stillhouse.models.quantized_modules`. float8 (e4m3) is for devices that have it, with a scale a row as well.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.models.compact import quantized_names
from stillhouse.models.quantized_modules import LARGEST, grid, restore_rows, round_rows
from stillhouse.models.shape import Quantization, Shape
from stillhouse.surgery.rebuild import rebuild, shape_of

FLOAT8_CAPABILITY = (8, 9)
REDUCED = 63  # 255·63·2 fits into the 16 bits that AVX2 kernels add pairs in; 255·127·2 does not
Range = tuple[float, float]


def quantize(
    model: PreTrainedModel,
    *,
    weights: str = "int8",
    embeddings: bool = True,
    ranges: Mapping[str, Range] | None = None,
    reduce_range: bool = False,
) -> PreTrainedModel:
    """A model of eight-bit weights.

    Args:
        model: left as it is; with a head for a task, or none.
        weights: int8 | float8.
        embeddings: the word vectors too.
        ranges: of what goes into each linear layer, (low, high) by its name: static; None for dynamic.
        reduce_range: integers of −63 … 63: processors with AVX2 alone overflow with more (with VNNI they do not).

    Raises:
        InputError: quantized already, a masked LM, a layer without a range, or float8 on a device that has none.
    """
    shape = shape_of(model)
    if weights == "float8":
        check_float8()
    if model.get_output_embeddings() is not None:
        raise InputError(f"'{type(model).__name__}' predicts words with its word vectors: quantize a model of a task")
    if weights == "int8":
        kind = Quantization(weights, embeddings, "dynamic" if ranges is None else "static")
    else:
        kind = Quantization(weights, embeddings, None)
    kind.check()
    state = dict(model.state_dict())
    for name in quantized_names(model, embeddings):
        largest = REDUCED if reduce_range else LARGEST
        state[f"{name}.weight"], state[f"{name}.scale"] = round_rows(state[f"{name}.weight"], weights, largest)
        if kind.activations == "static" and isinstance(model.get_submodule(name), nn.Linear):
            assert ranges is not None
            if name not in ranges:
                raise InputError(f"'{name}' has no calibrated range: calibrate on this model")
            scale, zero_point = grid(*(torch.tensor(bound, dtype=torch.float32) for bound in ranges[name]))
            state[f"{name}.input_scale"], state[f"{name}.input_zero_point"] = scale, zero_point.to(torch.uint8)
    return rebuild(model, replace(shape, quantization=kind), state)


def dequantize(model: PreTrainedModel) -> PreTrainedModel:
    """The model in full precision that a quantized one stands for; one that is not quantized comes back as it is."""
    if quantized(model) is None:
        return model
    shape = Shape.of(model.config)
    state = dict(model.state_dict())
    for key in [key for key in state if key.endswith(".scale")]:
        name = key.removesuffix(".scale")
        state[f"{name}.weight"] = restore_rows(state[f"{name}.weight"], state.pop(key))
        for buffer in ("input_scale", "input_zero_point"):
            state.pop(f"{name}.{buffer}", None)
    return rebuild(model, replace(shape, quantization=None), state)


def quantized(model: PreTrainedModel) -> str | None:
    """What a model's weights are kept in, int8 | float8; None in full precision, of whatever family."""
    stated = getattr(model.config, "quantization", None)
    return stated["weights"] if stated else None


def check_float8() -> None:
    """Whether the device computes in float8.

    Raises:
        InputError: it does not.
    """
    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    if capability is None or capability < FLOAT8_CAPABILITY:
        found = "there is none" if capability is None else f"this one has {capability[0]}.{capability[1]}"
        raise InputError(f"weights = 'float8' needs a CUDA device of capability 8.9 or more ({found}): use int8")
