"""An LSTM whose matrices are kept in eight bits, with a scale a row.

Their products are of the numbers that they stand for: what goes in is not rounded, for a state that is rounded at each
word would add up its errors.

B sentences, L words, E width of the word vectors, H units.
"""

from typing import Any

import torch
from torch import Tensor, nn

from stillhouse.models.quantized_modules import DTYPES, restore_rows

MATRICES = ("weight_ih_l0", "weight_hh_l0")  # (4H, E) and (4H, H), as `nn.LSTM` calls them


class QuantizedLSTM(nn.Module):
    """One layer in one direction, batch first.

    Args:
        inputs, units: E, H.
        weights: int8 | float8.
    """

    def __init__(self, inputs: int, units: int, weights: str) -> None:
        super().__init__()
        self.input_size, self.hidden_size = inputs, units
        for name, width in zip(MATRICES, (inputs, units), strict=True):
            empty = torch.zeros(4 * units, width, dtype=DTYPES[weights])
            self.register_parameter(name, nn.Parameter(empty, requires_grad=False))
            self.register_buffer(f"{name}_scale", torch.ones(4 * units))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(4 * units))
        self.bias_hh_l0 = nn.Parameter(torch.zeros(4 * units))

    def forward(self, words: Tensor) -> tuple[Tensor]:
        """(B, L, E) to the states, (B, L, H); in a tuple, as `nn.LSTM` gives them."""
        weights = [each for name in MATRICES for each in (getattr(self, name), getattr(self, f"{name}_scale"))]
        given = (words, *weights, self.bias_ih_l0, self.bias_hh_l0)
        return (_Exported.apply(*given) if torch.onnx.is_in_onnx_export() else _states(*given),)


def _states(words: Tensor, *weights: Tensor) -> Tensor:
    from_words, words_scale, from_state, state_scale, *biases = weights
    matrices = [restore_rows(from_words, words_scale), restore_rows(from_state, state_scale)]
    start = words.new_zeros(1, words.shape[0], from_state.shape[1])
    return torch.lstm(words, (start, start), [*matrices, *biases], True, 1, 0.0, False, False, True)[0]


class _Exported(torch.autograd.Function):
    """`_states` as the exporter sees it: the file keeps the integers, in ONNX's order of gates."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        return _states(*given)

    @staticmethod
    def symbolic(g: Any, words: Any, *weights: Any) -> Any:
        units = weights[0].type().sizes()[0] // 4
        from_words, words_scale, from_state, state_scale, *biases = (_ordered(g, each, units) for each in weights)
        matrices = [
            _in_front(g, _restored(g, matrix, scale))
            for matrix, scale in ((from_words, words_scale), (from_state, state_scale))
        ]
        bias = _in_front(g, g.op("Concat", *biases, axis_i=0))
        ahead = g.op("Transpose", words, perm_i=[1, 0, 2])  # (L, B, E)
        states = g.op("LSTM", ahead, *matrices, bias, hidden_size_i=units)  # (L, 1, B, H), of its outputs the first
        return g.op("Transpose", g.op("Squeeze", states, _axes(g, 1)), perm_i=[1, 0, 2])


def _ordered(g: Any, rows: Any, units: int) -> Any:
    """Gates of torch (input, forget, cell, output) as ONNX has them (input, output, forget, cell)."""
    spans = ((0, 1), (3, 4), (1, 3))
    parts = [g.op("Slice", rows, *(_axes(g, bound) for bound in (low * units, high * units, 0))) for low, high in spans]
    return g.op("Concat", *parts, axis_i=0)


def _restored(g: Any, matrix: Any, scale: Any) -> Any:
    """`restore_rows`: a runtime does it once, as it opens the file.

    The exporter would do it itself, and write the numbers in full, but for an operator that it does not compute: a
    matrix, flattened to one, is itself. DequantizeLinear says it in one word, but ONNX Runtime, told to widen products
    of eight bits (`stillhouse.onnx.sessions`), rewrites its matrices, and fails where two share a zero point.
    """
    whole = g.op("Cast", g.op("Flatten", matrix, axis_i=1), to_i=torch.onnx.TensorProtoDataType.FLOAT)
    return g.op("Mul", whole, g.op("Unsqueeze", scale, _axes(g, 1)))


def _in_front(g: Any, weight: Any) -> Any:
    """With an axis of directions."""
    return g.op("Unsqueeze", weight, _axes(g, 0))


def _axes(g: Any, *numbers: int) -> Any:
    return g.op("Constant", value_t=torch.tensor(numbers))
