"""Which parts of a model are kept in eight bits, and putting such parts in the place of its own."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from stillhouse.models.compact_modules import FactorizedEmbedding
from stillhouse.models.quantization import Quantization
from stillhouse.models.quantized_lstm import QuantizedLSTM
from stillhouse.models.quantized_modules import QuantizedEmbedding, QuantizedLinear


def quantized_names(model: PreTrainedModel, embeddings: bool) -> list[str]:
    """The modules of a full-precision model that quantization is about, by name: linear layers, LSTMs, word vectors."""
    words: Any = model.get_input_embeddings()
    table = words.table if isinstance(words, FactorizedEmbedding) else words
    return [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | nn.LSTM) or (embeddings and part is table)
    ]


def build_quantized(model: PreTrainedModel, quantization: Quantization) -> None:
    """Give a model such parts, with weights of zeros."""
    for name in quantized_names(model, quantization.embeddings):
        model.set_submodule(name, _quantized(model.get_submodule(name), quantization))


def _quantized(part: Any, quantization: Quantization) -> nn.Module:
    weights = quantization.weights
    if isinstance(part, nn.Embedding):
        return QuantizedEmbedding(part.num_embeddings, part.embedding_dim, weights, part.padding_idx)
    if isinstance(part, nn.LSTM):
        return QuantizedLSTM(part.input_size, part.hidden_size, weights)
    bias = part.bias is not None
    return QuantizedLinear(part.in_features, part.out_features, weights, quantization.activations, bias)
