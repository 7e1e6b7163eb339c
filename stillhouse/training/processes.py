"""What the processes of one training must agree on, where `accelerate launch` started several, one a GPU.

Each has the same rows, the same seeds and the same weights, and trains on its part of every batch. Without a launcher
there is one process, and nothing here does anything.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # programs that only write files import this module too, and do not need torch
    from torch import Tensor, device


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes files and messages for all of them."""
    return os.environ.get("RANK", "0") == "0"


def mean(values: "Tensor") -> "Tensor":
    """The mean of each process's values; every process must call it."""
    if count() > 1:
        from torch import distributed

        # gloo has no mean of its own.
        distributed.all_reduce(values)
        values = values / count()
    return values


def any_of(said: bool, device: "device") -> bool:
    """Whether `said` is true in one of the processes; every process must call it."""
    if count() == 1:
        return said
    import torch

    flag = torch.tensor(float(said), device=device)
    torch.distributed.all_reduce(flag)
    return bool(flag.item())


def wait() -> None:
    """Wait until all processes have called it."""
    if count() > 1:
        from torch import distributed

        distributed.barrier()
