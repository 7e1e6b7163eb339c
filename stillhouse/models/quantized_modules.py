"""Linear layers and embeddings whose weights are kept in eight bits, with a scale a row.

A weight is q·s: q an integer from −127 to 127 (or a float8 number), s the scale of its row, so 0 is 0. What goes into
an int8 matrix product is rounded too, to x ≈ (q − z)·s with q from 0 to 255, scale s and zero point z of the tensor:
`dynamic`, from the tensor's own smallest and largest number, or `static`, fixed by calibration. These are ONNX's
DynamicQuantizeLinear and QuantizeLinear, and that is what is exported: MatMulInteger on the checkpoint's own integers.

m outputs, n inputs, V vocabulary, d width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 255  # of an activation: 0 … 255
LARGEST = 127  # of a weight's magnitude
FLOAT8 = torch.float8_e4m3fn
DTYPES = {"int8": torch.int8, "float8": FLOAT8}


class QuantizedLinear(nn.Module):
    """A linear layer n → m.

    Args:
        inputs, outputs: n, m.
        weights: int8 | float8; the latter is multiplied as the floats that it stands for.
        activations: of int8 weights, dynamic | static; None leaves them as they are.
        bias: whether there is one; it stays in fp32.
    """

    def __init__(
        self, inputs: int, outputs: int, weights: str, activations: str | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.activations = inputs, outputs, activations
        self.weight = _empty(outputs, inputs, weights)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("scale", torch.ones(outputs))
        if activations == "static":
            self.register_buffer("input_scale", torch.ones(()))
            self.register_buffer("input_zero_point", torch.zeros((), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) to (…, m)."""
        product = _product(x, self)
        return product if self.bias is None else product + self.bias


class QuantizedEmbedding(nn.Module):
    """A table of V vectors of width d, with a scale a vector."""

    def __init__(self, vocabulary: int, width: int, weights: str, padding: int | None) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = vocabulary, width, padding
        self.weight = _empty(vocabulary, width, weights)
        self.register_buffer("scale", torch.ones(vocabulary))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids to (B, L, d)."""
        scale: Any = self.scale
        return F.embedding(ids, self.weight).to(scale.dtype) * F.embedding(ids, scale[:, None])


def round_rows(weight: Tensor, weights: str = "int8", largest: int = LARGEST) -> tuple[Tensor, Tensor]:
    """A matrix (m, n) in eight bits, and the scale (m,) of each row: max|w| / largest. A row of zeros has scale 1.

    Args:
        weights: int8 | float8.
        largest: of the integers; 63 leaves a bit free, for processors whose kernels would overflow.
    """
    top = float(torch.finfo(FLOAT8).max) if weights == "float8" else largest
    scale = weight.detach().abs().amax(dim=1).float() / top
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    scaled = weight.detach().float() / scale[:, None]
    if weights == "float8":
        return scaled.to(FLOAT8), scale
    return scaled.round().clamp(-largest, largest).to(torch.int8), scale


def restore_rows(weight: Tensor, scale: Tensor) -> Tensor:
    """The matrix (m, n) that `round_rows` stands for, in fp32."""
    return weight.float() * scale[:, None]


def tensor_range(x: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest number of a tensor, and 0 among them."""
    low, high = x.detach().float().aminmax()
    return low.clamp(max=0), high.clamp(min=0)


def grid(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point, whole and within 0 … 255, of a range around 0. A range of 0 has scale 1."""
    scale = (high - low) / LEVELS
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, (-low / scale).round().clamp(0, LEVELS)


def round_activation(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """q − z, whole numbers in fp32."""
    return (x.float() / scale).round().clamp(-zero_point, LEVELS - zero_point)


def _product(x: Tensor, layer: Any) -> Tensor:
    if layer.activations is None:
        return F.linear(x, restore_rows(layer.weight, layer.scale).to(x.dtype))
    if layer.activations == "static":
        given = (layer.input_scale, layer.input_zero_point)
        if torch.onnx.is_in_onnx_export():
            return _Static.apply(x, layer.weight, layer.scale, *given)
        return _static(x, layer.weight, layer.scale, *given)
    if torch.onnx.is_in_onnx_export():
        return _Dynamic.apply(x, layer.weight, layer.scale)
    return _dynamic(x, layer.weight, layer.scale)


def _dynamic(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return _static(x, weight, scale, *grid(*tensor_range(x)))


def _static(x: Tensor, weight: Tensor, scale: Tensor, input_scale: Tensor, zero_point: Tensor) -> Tensor:
    rounded = round_activation(x, input_scale, zero_point.float())
    return F.linear(rounded, weight.float()) * (input_scale * scale)


class _Dynamic(torch.autograd.Function):
    """`_dynamic` as the exporter sees it."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        return _dynamic(*tensors)

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, scale: Any) -> Any:
        rounded, input_scale, zero_point = g.op("DynamicQuantizeLinear", x, outputs=3)
        return _integer_product(g, rounded, zero_point, weight, g.op("Mul", input_scale, scale))


class _Static(torch.autograd.Function):
    """`_static` as the exporter sees it."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        return _static(*tensors)

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, scale: Any, input_scale: Any, zero_point: Any) -> Any:
        rounded = g.op("QuantizeLinear", x, input_scale, zero_point)
        return _integer_product(g, rounded, zero_point, weight, g.op("Mul", input_scale, scale))


def _integer_product(g: Any, rounded: Any, zero_point: Any, weight: Any, scale: Any) -> Any:
    sums = g.op("MatMulInteger", rounded, g.op("Transpose", weight, perm_i=[1, 0]), zero_point)  # int32
    return g.op("Mul", g.op("Cast", sums, to_i=torch.onnx.TensorProtoDataType.FLOAT), scale)


def _empty(rows: int, columns: int, weights: str) -> nn.Parameter:
    return nn.Parameter(torch.zeros(rows, columns, dtype=DTYPES[weights]), requires_grad=False)
