"""Quantization-aware training (Q8BERT: Zafrir, Boudoukh, Izsak, Wasserblat 2019, arXiv 1910.06188, section 3).

Training goes forward with rounded numbers and backward as if nothing was rounded: every linear layer's weights and
inputs, and the word vectors, are rounded to eight bits; LayerNorm, softmax and GELU stay as they are. Of an input x

    x ≈ s·(q − z),  q = clamp(round(x/s) + z, 0, 255),  ∂x̂/∂x = 1 inside the range, 0 outside (straight-through)

where scale s and zero point z come from a moving average of the smallest and the largest number seen. Calibration gives
such ranges without any training.

Where we differ: the paper has one scale a weight matrix, here one a row (a vector of the embeddings); its activations
are symmetric around 0, here 0 … 255 with a zero point, which are the kernels that ONNX Runtime has. The teacher's
logits may teach besides the labels.

Shapes: m outputs, n inputs, V vocabulary, d width; B sentences, L tokens.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.families.find import family_of
from stillhouse.models.quantized_modules import LARGEST, grid, round_activation, round_rows, tensor_range
from stillhouse.models.quantizing import quantized_names
from stillhouse.models.shape import Shape
from stillhouse.surgery.quantizing import REDUCED, Range, quantize
from stillhouse.surgery.rebuild import rebuild, shape_of
from stillhouse.training.autocast import computed_in, full_precision
from stillhouse.training.batches import Batch, model_inputs

BUFFERS = ("low", "high", "seen")


def straight_through_activation(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """x/s, rounded and clamped: whole numbers q − z. Its gradient is 1/s inside the range and 0 outside."""
    lowest, highest = -zero_point * scale, (255 - zero_point) * scale
    inside = torch.minimum(torch.maximum(x.float(), lowest), highest) / scale
    return _pass_through(round_activation(x, scale, zero_point), inside)


def straight_through_rows(weight: Tensor, largest: int = LARGEST) -> tuple[Tensor, Tensor]:
    """(m, n) to whole numbers (m, n) and the scale (m,) of each row. The gradient of the former is 1/scale."""
    rounded, scale = round_rows(weight, largest=largest)
    return _pass_through(rounded.float(), weight.float() / scale[:, None]), scale


class FakeQuantizedLinear(nn.Linear):
    """A linear layer that computes as its int8 self would; weights and bias are the given layer's own.

    Args:
        momentum: of the range: high ← momentum·high + (1 − momentum)·max(x), in training; the first batch sets it.
        largest: of the weights' integers.
        one_type: whether what comes out has the type of a linear layer's product under autocast; else it is fp32.
    """

    def __init__(self, layer: nn.Linear, momentum: float, largest: int = LARGEST, one_type: bool = False) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.momentum, self.largest, self.one_type = momentum, largest, one_type
        self.low: Tensor
        self.high: Tensor
        self.seen: Tensor
        for name in BUFFERS:  # a checkpoint keeps them, so a resumed run goes on with its ranges
            self.register_buffer(name, torch.zeros((), device=layer.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) to (…, m)."""
        if self.training:
            self.observe(x)
        scale, zero_point = grid(self.low, self.high)
        rounded = straight_through_activation(x, scale, zero_point)
        integers, rows = straight_through_rows(self.weight, self.largest)
        whole = _whole_product(rounded, integers)
        product = whole * (scale * rows)
        product = product if self.bias is None else product + self.bias
        return product.to(whole.dtype) if self.one_type else product

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Move the range towards that of x."""
        keep = torch.where(self.seen > 0, self.momentum, 0.0)
        for bound, now in zip((self.low, self.high), tensor_range(x), strict=True):
            bound.copy_(keep * bound + (1 - keep) * now)
        self.seen.fill_(1)


class FakeQuantizedEmbedding(nn.Embedding):
    """Word vectors that are rounded as they are read; the table is the given one's own."""

    def __init__(self, table: nn.Embedding, largest: int = LARGEST) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, table.padding_idx, device="meta")
        self.weight = table.weight
        self.largest = largest

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids to (B, L, d)."""
        words = F.embedding(ids, self.weight, self.padding_idx)  # a vector's scale is its own: the rest need not round
        integers, rows = straight_through_rows(words.flatten(0, -2), self.largest)
        return (integers * rows[:, None]).view_as(words)


def fake_quantize(
    model: PreTrainedModel, *, embeddings: bool, momentum: float, reduce_range: bool = False
) -> PreTrainedModel:
    """A copy of a model that computes with rounded numbers and can be trained.

    Args:
        embeddings: the word vectors too.
        momentum: of the moving ranges.
        reduce_range: as `quantize` takes it.

    Raises:
        InputError: a quantized model, or one of a family that surgery does not know.
    """
    shape_of(model)
    fake, one_type = copy.deepcopy(model), family_of(model).one_type
    largest = REDUCED if reduce_range else LARGEST
    for name in quantized_names(fake, embeddings):
        part: Any = fake.get_submodule(name)
        words = isinstance(part, nn.Embedding)
        new = FakeQuantizedEmbedding(part, largest) if words else FakeQuantizedLinear(part, momentum, largest, one_type)
        fake.set_submodule(name, new.train(part.training))
    return fake


def convert(fake: PreTrainedModel) -> PreTrainedModel:
    """The int8 checkpoint of a `fake_quantize`d model, static, with the logits that it has in eval mode.

    Raises:
        InputError: it has seen no batch in training mode.
    """
    layers = {name: part for name, part in fake.named_modules() if isinstance(part, FakeQuantizedLinear)}
    if not all(layer.seen for layer in layers.values()):
        raise InputError("quantization-aware training has seen no batch: its ranges are not known")
    ranges = {name: (layer.low.item(), layer.high.item()) for name, layer in layers.items()}
    ours = {f"{name}.{buffer}" for name in layers for buffer in BUFFERS}
    state = {name: weight for name, weight in fake.state_dict().items() if name not in ours}
    embeddings = any(isinstance(part, FakeQuantizedEmbedding) for part in fake.modules())
    reduced = any(layer.largest == REDUCED for layer in layers.values())
    whole = rebuild(fake, Shape.of(fake.config), state)
    return quantize(whole, embeddings=embeddings, ranges=ranges, reduce_range=reduced)


@torch.no_grad()
def calibrate(model: PreTrainedModel, batches: Iterable[Batch], momentum: float | None) -> dict[str, Range]:
    """The range of what goes into each linear layer, by its name, for `quantize`.

    Args:
        model: in full precision.
        batches: of real text; (B, L) inputs each.
        momentum: of a moving average of the batches' ranges; None: the smallest and largest number of all.

    Raises:
        InputError: no batches.
    """
    ranges: dict[str, Range] = {}

    def watch(name: str) -> Any:
        def see(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            low, high = (bound.item() for bound in tensor_range(given[0]))
            if name in ranges:
                old = ranges[name]
                if momentum is None:
                    low, high = min(old[0], low), max(old[1], high)
                else:
                    low, high = (momentum * a + (1 - momentum) * b for a, b in zip(old, (low, high), strict=True))
            ranges[name] = (low, high)

        return see

    linear = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    hooks = [part.register_forward_pre_hook(watch(name)) for name, part in linear]
    training = model.training
    model.eval()
    try:
        for batch in batches:
            model(**{name: tensor.to(model.device) for name, tensor in model_inputs(batch).items()})
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if not ranges:
        raise InputError("no rows to calibrate on: raise the number of calibration rows")
    return ranges


def _pass_through(rounded: Tensor, smooth: Tensor) -> Tensor:
    """The first's value, to the last bit, and the second's gradient."""
    return rounded.detach() + (smooth - smooth.detach())


def _whole_product(x: Tensor, weight: Tensor) -> Tensor:
    """x·Wᵀ of whole numbers up to 255: bf16 holds them exactly, fp16 would overflow on their sums."""
    device = x.device.type
    if computed_in(device) == torch.float16:
        with full_precision(device):
            return F.linear(x, weight)
    return F.linear(x, weight)
