"""Dropout whose coins are sixteen bits each, on CPUs.

torch draws a float for every element, in one thread: a fifteenth of a training step of a small student. Here one draw
of 64 bits gives four coins. A coin is worth 1/65,536, so the rate is off by at most 1/131,072.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COINS = 2**16


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """`x` with each element zeroed with probability `rate` and the others divided by 1 − `rate`, in training.

    On other devices than the CPU this is torch's own dropout.
    """
    if not training or rate == 0.0 or rate == 1.0 or x.device.type != "cpu":
        return F.dropout(x, rate, training)
    count = x.numel()
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    coins = drawn.view(torch.int16)[:count].view(x.shape)  # uniform on −32,768 … 32,767
    kept = coins.ge_(round(rate * COINS) - COINS // 2)  # 0 or 1
    scale = torch.tensor(1 / (1 - rate), dtype=x.dtype)
    if x.dtype.itemsize == 2:
        # The scale's bits or none, as integers: casting and multiplying numbers would take ten times as long.
        return x * kept.mul_(scale.view(torch.int16)).view(x.dtype)
    return x * kept.to(x.dtype).mul_(scale)


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """Within it, the model's dropout modules draw their coins as above."""
    changed = [module for module in model.modules() if type(module) is nn.Dropout and not module.inplace]
    for module in changed:
        module.__class__ = Dropout
    try:
        yield
    finally:
        for module in changed:
            module.__class__ = nn.Dropout
