"""Label names of data and model must be the same set; where only the order differs, the model's rows are reordered."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError


def label_order(data: tuple[str, ...], model: tuple[str, ...]) -> list[int]:
    """For each label of the data, in order, its row in the model's classifier.

    Raises:
        InputError: the two sets of names differ.
    """
    if set(data) != set(model) or len(data) != len(model):
        raise InputError(
            f"labels differ: the data has {list(data)}, the model has {list(model)}: "
            "rename the labels in the data, or use a model that was trained on them"
        )
    return [model.index(name) for name in data]


def model_labels(model: PreTrainedModel) -> tuple[str, ...] | None:
    """The label names in a model's config, or None where they are the placeholders LABEL_0, LABEL_1, …"""
    id2label: Any = model.config.id2label
    names = tuple(id2label[i] for i in range(len(id2label)))
    placeholder = all(name == f"LABEL_{i}" for i, name in enumerate(names))
    return None if placeholder else names


def set_labels(model: PreTrainedModel, labels: tuple[str, ...]) -> None:
    """Write label names into a model's config."""
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {name: i for i, name in enumerate(labels)}


def align_labels(model: PreTrainedModel, labels: tuple[str, ...]) -> PreTrainedModel:
    """Reorder the rows of a classifier, in place, so that output i stands for `labels[i]`.

    A model with placeholder names is taken to be in the data's order if the counts agree.

    Raises:
        InputError: the names, or the number of them, differ.
    """
    names = model_labels(model)
    if names is None:
        if model.config.num_labels != len(labels):
            raise InputError(f"labels differ: the data has {len(labels)}, the model has {model.config.num_labels}")
    elif (order := label_order(labels, names)) != list(range(len(order))):
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
