"""Autocast, asked of a device that may have none: torch ends in an error there."""

from contextlib import AbstractContextManager, nullcontext

import torch


def computed_in(device: str) -> torch.dtype | None:
    """What autocast has products computed in.

    Args:
        device: its type, such as cuda.

    Returns:
        The type of the numbers; None where autocast is off, or the device has none.
    """
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def full_precision(device: str) -> AbstractContextManager:
    """Within it, products are computed in their factors' own precision.

    Args:
        device: its type, such as cuda.
    """
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
