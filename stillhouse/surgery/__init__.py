"""Temporary: until the package of surgery is here."""

import copy

from torch import nn
from transformers import PreTrainedModel

from stillhouse.architecture import encoder_layers


def drop_layers(model: PreTrainedModel, keep: list[int]) -> PreTrainedModel:
    """A new model of the layers `keep`, counted from 0."""
    ours = copy.deepcopy(model)
    layers = encoder_layers(ours)
    kept = nn.ModuleList(layers[i] for i in keep)
    del layers[:]
    layers.extend(kept)
    ours.config.num_hidden_layers = len(keep)
    return ours
