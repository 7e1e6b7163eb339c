"""From the CPU to where a model computes, without Python waiting until the device has done what it was given."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on a device; the CPU's may be changed or forgotten right away.

    A GPU copies out of pinned memory by itself, out of other memory only while the caller waits.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
