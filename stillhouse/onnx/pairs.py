"""An int8 graph for OpenVINO and TensorRT: symmetric pairs of QuantizeLinear and DequantizeLinear around each product.

These runtimes look for such pairs, and for a zero point of 0, to run a product in eight bits. MatMulInteger, which is
ONNX Runtime's fastest and what an int8 model is exported as otherwise, they run slower than fp32. Of a linear layer

    y = (s·q) (sᵢ·qᵢ)ᵀ + b,  q = clamp(round(x/s), −128, 127),  s = max|x| / 127 as calibrated,  sᵢ = max|wᵢ| / 127

and word vectors are s·q a row. What is made here is exported and not kept: no checkpoint has this form.

m outputs, n inputs, V vocabulary, d width.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.models.quantized_modules import LARGEST, restore_rows, round_rows
from stillhouse.models.quantizing import quantized_names
from stillhouse.surgery.quantizing import Range


def with_pairs(model: PreTrainedModel, ranges: Mapping[str, Range]) -> PreTrainedModel:
    """A copy of a full-precision model whose linear layers and word vectors are exported as such pairs.

    Args:
        ranges: of what goes into each linear layer, (low, high) by its name, as `stillhouse.methods.int8.calibrate`
            gives them.

    Raises:
        InputError: it has an LSTM, which has no such form, or a layer without a range.
    """
    made = copy.deepcopy(model)
    for name in quantized_names(model, embeddings=True):
        part = model.get_submodule(name)
        if isinstance(part, nn.LSTM):
            raise InputError(f"'{name}' is an LSTM, which has no symmetric int8 form in ONNX: use another format")
        if isinstance(part, nn.Embedding):
            made.set_submodule(name, PairedEmbedding(part))
        elif isinstance(part, nn.Linear):
            if name not in ranges:
                raise InputError(f"'{name}' has no calibrated range: calibrate on this model")
            made.set_submodule(name, PairedLinear(part, ranges[name]))
    return made


class PairedLinear(nn.Module):
    """A linear layer n → m whose inputs are rounded to s·q.

    Args:
        given: the smallest and the largest input that calibration saw.
    """

    def __init__(self, layer: nn.Linear, given: Range) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight, rows = round_rows(layer.weight)
        top = max(abs(bound) for bound in given)
        self.weight: Tensor
        self.register_buffer("weight", weight)
        self.register_buffer("rows", rows)
        self.register_buffer("scale", torch.tensor(top / LARGEST if top > 0 else 1.0))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int8))
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) to (…, m)."""
        product = _Product.apply(x, self.weight, self.rows, self.scale, self.zero_point)
        return product if self.bias is None else product + self.bias


class PairedEmbedding(nn.Module):
    """A table of V vectors of width d, with a scale a vector."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim
        self.weight: Tensor
        weight, rows = round_rows(table.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("rows", rows)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids to (B, L, d)."""
        return _Words.apply(ids, self.weight, self.rows)


class _Product(torch.autograd.Function):
    """A linear layer's product, and how the exporter writes it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rows: Tensor, scale: Tensor, zero: Tensor) -> Any:
        rounded = (x / scale).round().clamp(-LARGEST - 1, LARGEST) * scale
        return F.linear(rounded, restore_rows(weight, rows))

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, rows: Any, scale: Any, zero: Any) -> Any:
        rounded = g.op("QuantizeLinear", x, scale, zero)
        given = g.op("DequantizeLinear", rounded, scale, zero)
        matrix = g.op("DequantizeLinear", g.op("Transpose", weight, perm_i=[1, 0]), rows, axis_i=1)
        return g.op("MatMul", given, matrix)


class _Words(torch.autograd.Function):
    """The look-up of word vectors, and how the exporter writes it."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, rows: Tensor) -> Any:
        return F.embedding(ids, restore_rows(weight, rows))

    @staticmethod
    def symbolic(g: Any, ids: Any, weight: Any, rows: Any) -> Any:
        return g.op("Gather", g.op("DequantizeLinear", weight, rows, axis_i=0), ids, axis_i=0)
