"""An encoder's parts, whatever its family."""

from torch import nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.families.find import family_of


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The transformer layers, first to last.

    Raises:
        InputError: the model's family is not known, or its layers are one.
    """
    return family_of(model).layers(model)


def layer_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that hold the layers' weights, each once.

    Raises:
        InputError: the model's family is not known.
    """
    return family_of(model).blocks(model)


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
    assert 0 <= count <= model.config.num_hidden_layers
    family_of(model).cut(model, count)
    return model


def drop_first_layers(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """Drop the first `count` layers, in place: what is left computes from the states that they gave."""
    family_of(model).cut_below(model, count)
    return model
