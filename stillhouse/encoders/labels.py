"""A model's classifier in the order of the data's labels: where only the order differs, its rows are reordered."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from stillhouse.encoders.label_names import label_order, named, names_in


def model_labels(model: PreTrainedModel) -> tuple[str, ...] | None:
    """The label names in a model's config, or None where nobody gave them any."""
    names = names_in(model.config.id2label)
    return names if named(names) else None


def set_labels(model: PreTrainedModel, labels: tuple[str, ...]) -> None:
    """Write label names into a model's config."""
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {name: i for i, name in enumerate(labels)}


def align_labels(model: PreTrainedModel, labels: tuple[str, ...]) -> PreTrainedModel:
    """Reorder the rows of a classifier, in place, so that output i stands for `labels[i]`.

    Where nobody has named the model's outputs they are taken to be in the data's order if the counts agree.

    Raises:
        InputError: the names, or the number of them, differ.
    """
    order = label_order(labels, names_in(model.config.id2label))
    if order != list(range(len(order))):
        output = _output_layer(model)
        with torch.no_grad():
            output.weight.copy_(output.weight[order].clone())
            output.bias.copy_(output.bias[order].clone())
    set_labels(model, labels)
    return model


def _output_layer(model: PreTrainedModel) -> nn.Linear:
    head: Any = model.classifier
    linear = [m for m in head.modules() if isinstance(m, nn.Linear)]
    return linear[-1]
