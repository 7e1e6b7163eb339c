"""Where an encoder keeps its parts, for the families that the methods know."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.models.family import family

FAMILIES = ("bert", "roberta", "xlm-roberta", "electra", "camembert")


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The transformer layers, first to last.

    Raises:
        InputError: the model's family is not known.
    """
    _check_family(model)
    base: Any = model.base_model
    return base.encoder.layer


def encoder(model: PreTrainedModel) -> PreTrainedModel:
    """The model without its head."""
    base = model.base_model
    assert isinstance(base, PreTrainedModel)
    return base


def word_embeddings(model: PreTrainedModel) -> nn.Embedding:
    """The token embedding table, V×d.

    Raises:
        InputError: it is factorized.
    """
    table = model.get_input_embeddings()
    if not isinstance(table, nn.Embedding):
        raise InputError("the model's word vectors are factorized, there is no V×d table: use a model before that step")
    return table


def keep_first_layers(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """Drop every layer after the first `count`, in place: what a frozen teacher need not compute.

    The logits of a model cut this way mean nothing; its hidden states up to `count` are unchanged.
    """
    layers = encoder_layers(model)
    assert 0 <= count <= len(layers)
    del layers[count:]
    model.config.num_hidden_layers = count
    return model


def _check_family(model: PreTrainedModel) -> None:
    name = family(model.config.model_type)
    if name not in FAMILIES:
        raise InputError(f"model family '{name}' is not one of {', '.join(FAMILIES)}: use an encoder of one of these")
