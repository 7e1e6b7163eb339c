"""A new model of another shape around weights that were cut to it."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.models.compact import COMPACT
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.quantization import Quantization
from stillhouse.models.shape import Shape

PLAIN = {made: plain for plain, made in COMPACT.items()}


def shape_of(model: PreTrainedModel) -> Shape:
    """The shape of a model that surgery is to change.

    Raises:
        InputError: a family that surgery does not know, or a quantized model.
    """
    shape = Shape.of(model.config)
    if shape.quantization is not None:
        raise InputError(
            f"the model is quantized ({shape.quantization.weights}): change its shape first, then quantize"
        )
    return shape


def rebuild(model: PreTrainedModel, shape: Shape, state: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model of the given model's kind, of this shape, with these weights.

    Plain where transformers' own class can have the shape, else compact. Attention implementation, device and mode are
    the given model's.

    Raises:
        InputError: the model's class is none that surgery knows.
    """
    kind = type(model)
    plain = PLAIN.get(kind, kind)
    if plain not in COMPACT:
        known = ", ".join(sorted(each.__name__ for each in COMPACT))
        raise InputError(f"'{kind.__name__}' is none of the models whose shape can be changed: {known}")
    shape.check(shape.layers)
    config = shape.write(model.config)
    config._attn_implementation = model.config._attn_implementation
    with torch.random.fork_rng(devices=[]):  # its first weights are overwritten: they should cost no random numbers
        made = (plain if shape.plain else COMPACT[plain])(config)
    if made.base_model is made and not any(name.startswith("pooler.") for name in state):
        made.pooler = None  # type: ignore[assignment]
    made.load_state_dict(dict(state), strict=True)
    made.to(model.device)  # type: ignore[arg-type]
    return made.train(model.training)


def rounded(model: PreTrainedModel, quantization: Quantization | None, state: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model as `rebuild` makes it, of the same shape with its numbers rounded otherwise; also a BiLSTM.

    Raises:
        InputError: as `rebuild`.
    """
    if not isinstance(model.config, BiLstmConfig):
        return rebuild(model, replace(Shape.of(model.config), quantization=quantization), state)
    config = copy.deepcopy(model.config)
    config.quantization = asdict(quantization) if quantization else None
    with torch.random.fork_rng(devices=[]):
        made = type(model)(config)
    made.load_state_dict(dict(state), strict=True)
    made.to(model.device)  # type: ignore[arg-type]
    return made.train(model.training)
