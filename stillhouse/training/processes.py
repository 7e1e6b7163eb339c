"""What the processes of one training must agree on, where `accelerate launch` started several, one a GPU.

Each has the same rows, the same seeds and the same weights, and trains on its part of every batch. Without a launcher
there is one process, and nothing here does anything.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what only writes files comes by here too, and does without torch
    from torch import Tensor, device


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes what they have made, and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def mean(values: "Tensor") -> "Tensor":
    """The mean of each process's values; all of them must come by here."""
    if count() > 1:
        from torch import distributed

        # gloo has no mean of its own.
        distributed.all_reduce(values)
        values = values / count()
    return values


def any_of(said: bool, device: "device") -> bool:
    """Whether one of the processes said so; all of them must come by here."""
    if count() == 1:
        return said
    import torch

    flag = torch.tensor(float(said), device=device)
    torch.distributed.all_reduce(flag)
    return bool(flag.item())


def wait() -> None:
    """Until all processes have come so far."""
    if count() > 1:
        from torch import distributed

        distributed.barrier()
