"""Put a model's weights into eight bits: the last step of a chain, for no other surgery works on what comes out.

Symmetric, a scale a row: w ≈ q·s, s = max|w|/127, q from −127 to 127. How activations are rounded with int8 weights
stands in `stillhouse.models.quantized_modules`. float8 (e4m3) is for devices that have it, with a scale a row as well.
"""

from collections.abc import Mapping

import torch
from torch import nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.quantization import Quantization
from stillhouse.models.quantized_lstm import MATRICES, QuantizedLSTM
from stillhouse.models.quantized_modules import (
    LARGEST,
    QuantizedEmbedding,
    QuantizedLinear,
    grid,
    restore_rows,
    round_rows,
)
from stillhouse.models.quantizing import quantized_names
from stillhouse.surgery.rebuild import rounded, shape_of

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
    check_quantizable(model)
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
    largest = REDUCED if reduce_range else LARGEST
    for name in quantized_names(model, embeddings):
        for weight, scale in _matrices(model.get_submodule(name), name):
            state[weight], state[scale] = round_rows(state[weight], weights, largest)
        if kind.activations == "static" and isinstance(model.get_submodule(name), nn.Linear):
            assert ranges is not None
            if name not in ranges:
                raise InputError(f"'{name}' has no calibrated range: calibrate on this model")
            step, zero_point = grid(*(torch.tensor(bound, dtype=torch.float32) for bound in ranges[name]))
            state[f"{name}.input_scale"], state[f"{name}.input_zero_point"] = step, zero_point.to(torch.uint8)
    return rounded(model, kind, state)


def _matrices(part: nn.Module, name: str) -> list[tuple[str, str]]:
    """Of a module, the names in a state of each matrix and of its scales."""
    if isinstance(part, nn.LSTM | QuantizedLSTM):
        return [(f"{name}.{matrix}", f"{name}.{matrix}_scale") for matrix in MATRICES]
    return [(f"{name}.weight", f"{name}.scale")]


def dequantize(model: PreTrainedModel) -> PreTrainedModel:
    """The model in full precision that a quantized one stands for; one that is not quantized comes back as it is."""
    if quantized(model) is None:
        return model
    state = dict(model.state_dict())
    for name, part in model.named_modules():
        if isinstance(part, QuantizedLinear | QuantizedEmbedding | QuantizedLSTM):
            for weight, scale in _matrices(part, name):
                state[weight] = restore_rows(state[weight], state.pop(scale))
            for buffer in ("input_scale", "input_zero_point"):
                state.pop(f"{name}.{buffer}", None)
    return rounded(model, None, state)


def check_quantizable(model: PreTrainedModel) -> None:
    """Whether a model is of a kind that can be quantized: of a shape that surgery knows, or a BiLSTM, and no other yet.

    Raises:
        InputError: it is not.
    """
    if not isinstance(model.config, BiLstmConfig):
        shape_of(model)
    elif (weights := quantized(model)) is not None:
        raise InputError(f"the model is quantized ({weights}): quantize the one before it")


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
