"""What products are computed in: the precision that a machine has, and autocast of a device that may have none."""

from contextlib import AbstractContextManager, nullcontext

import torch

from stillhouse.errors import InputError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


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


def computing_in(device: str, precision: str) -> AbstractContextManager:
    """Within it, products are computed in a precision that `choose_precision` gave.

    Args:
        device: its type, such as cuda.
        precision: fp32 | bf16 | fp16.
    """
    return full_precision(device) if precision == "fp32" else torch.autocast(device, DTYPES[precision])


def choose_precision(precision: str) -> str:
    """Resolve `auto`, and refuse what the hardware cannot do.

    bf16 without hardware for it is emulated: about a hundredth of the fp32 speed on an AVX2 CPU.

    Raises:
        InputError: fp16 without a GPU, or an unknown name.
    """
    if precision == "auto":
        return "bf16" if bf16_hardware() else "fp32"
    if precision not in ("fp32", "bf16", "fp16"):
        raise InputError(f"precision = '{precision}' is not one of auto, fp32, bf16, fp16")
    if precision == "fp16" and not torch.cuda.is_available():
        raise InputError("precision = 'fp16' needs a CUDA device: use auto, fp32 or bf16")
    return precision


def bf16_hardware() -> bool:
    """Whether this machine's training device computes in bf16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
