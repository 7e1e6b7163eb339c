"""What the processes of one training must agree on, where several were started, one a GPU, on one machine or more.

Each has the same rows, the same seeds and the same weights, and trains on its part of every batch. Without a launcher
there is one process, and nothing here does anything.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # programs that only write files import this module too, and do not need torch
    from torch import Tensor, device


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes files and messages for all of them."""
    return os.environ.get("RANK", "0") == "0"


def machines() -> int:
    """On how many machines they are."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))


def machine() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("GROUP_RANK", "0"))


def is_first_here() -> bool:
    """Whether this process is the one that writes on its machine what the first of all has written on another."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


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


def said_by(rank: int, data: bytes) -> bytes:
    """What one of the processes says, given to all; every process must call it.

    Args:
        rank: of that process.
        data: what it says; of the others nothing is read.
    """
    import torch
    from torch import distributed

    device = "cuda" if torch.cuda.is_available() else "cpu"
    length = torch.tensor(len(data), device=device)
    distributed.broadcast(length, rank)
    if not length:
        return b""
    if os.environ["RANK"] == str(rank):
        said = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(device)
    else:
        said = torch.empty(int(length), dtype=torch.uint8, device=device)
    distributed.broadcast(said, rank)
    return said.cpu().numpy().tobytes()


def any_of_each(said: Sequence[bool]) -> list[bool]:
    """For each position whether it is true in one of the processes; every process must call it, with as many."""
    import torch

    flags = torch.tensor(said, dtype=torch.float32, device="cuda" if torch.cuda.is_available() else "cpu")
    if len(flags):
        torch.distributed.all_reduce(flags)
    return [bool(flag) for flag in flags.tolist()]


def lost(error: Exception) -> bool:
    """Whether a process fails because it cannot reach another, which may have ended."""
    from torch.distributed import DistError

    # gloo's errors have no class of their own.
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
