"""Where a section runs and how large it is; what all measure alike: time, memory, kernels, waits, the peak."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

Row = dict[str, Any]  # what was measured, under the heading of its column; None where it cannot be
WAIT = "called a synchronizing CUDA operation"  # of torch's warning


class NotHereError(Exception):
    """A section, or a part of it, that this machine cannot run: its text says what is missing. No fault."""


@dataclass(frozen=True)
class Setting:
    """Where a section runs, and how large it is.

    device: cuda | cpu.
    tiny: shapes and numbers of steps that only show that a section runs.
    """

    device: str
    tiny: bool

    @property
    def card(self) -> bool:
        return self.device == "cuda"

    @property
    def half(self) -> torch.dtype | None:
        """What autocast computes in."""
        return torch.bfloat16 if not self.card or torch.cuda.is_bf16_supported() else torch.float16

    def wait(self) -> None:
        """Until the device is through with what it was given."""
        if self.card:
            torch.cuda.synchronize()

    def forget(self) -> None:
        """Count the peak of memory from here."""
        if self.card:
            torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> float | None:
        """GiB of the card that tensors have held at a time."""
        return round(torch.cuda.max_memory_allocated() / 2**30, 2) if self.card else None


def textbrewer_lacks() -> str | None:
    """Why TextBrewer cannot be measured; None if it can."""
    try:
        import textbrewer  # noqa: F401
    except ImportError as error:  # it, or something that it imports and does not ask for
        return f"{error}: pip install textbrewer==0.2.1.post1 tensorboard"
    return None


def seconds_a_call(setting: Setting, call: Callable[[], object], *, warmup: int, calls: int, rounds: int = 3) -> float:
    """The median over some rounds of so many calls each, after some that do not count."""
    for _ in range(warmup):
        call()
    found = []
    for _ in range(rounds):
        setting.wait()
        began = time.perf_counter()
        for _ in range(calls):
            call()
        setting.wait()
        found.append((time.perf_counter() - began) / calls)
    return median(found)


def kernels(setting: Setting, call: Callable[[], object]) -> int | None:
    """How many kernels and copies one call has the card run; None without one."""
    if not setting.card:
        return None
    setting.wait()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        call()
        setting.wait()
    there = [event for event in found.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return sum(not event.is_user_annotation for event in there)


@contextmanager
def waits(setting: Setting) -> Iterator[list[str]]:
    """Within it, each place where Python waits for the card is noted, as torch warns of it."""
    seen: list[str] = []
    if not setting.card:
        yield seen
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")
            seen.extend(f"{each.filename}:{each.lineno}" for each in caught if WAIT in str(each.message))


def matrix_peak(setting: Setting, dtype: torch.dtype) -> float:
    """TFLOP/s of a product of large matrices of this type: what the machine can do at most."""
    size, calls = (8192, 20) if setting.card and not setting.tiny else (512, 3)
    one, other = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    seconds = seconds_a_call(setting, lambda: one @ other, warmup=3, calls=calls)
    return 2 * size**3 / seconds / 1e12
