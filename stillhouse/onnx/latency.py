"""Wall-clock time of exported models, several timed in turns so that a busy machine slows all of them alike."""

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stillhouse.training.threads import usable_cores

WARM_UP = 3  # calls that are not timed: the first of a shape allocates


def time_in_turns(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Time each call `repeats` times, in turns: a, b, a, b, …

    Returns:
        Seconds of each call, (repeats,).
    """
    seconds = {name: np.empty(repeats) for name in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    for i in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name][i] = time.perf_counter() - started
    return seconds


def summary(seconds: np.ndarray, batch_size: int) -> dict[str, float]:
    """p50 and p99 in milliseconds; throughput in sentences a second, at the median."""
    p50, p99 = np.percentile(seconds, [50, 99])
    return {
        "p50_ms": round(float(p50) * 1e3, 4),
        "p99_ms": round(float(p99) * 1e3, 4),
        "throughput_per_s": round(float(batch_size / p50), 2),
    }


def token_batch(batch_size: int, tokens: int, vocabulary: int, pair: bool = False) -> dict[str, np.ndarray]:
    """Random sentences without padding, the same each time. (batch_size, tokens) int64 each.

    With `pair` the later half of the tokens is a second sentence, which only the token types tell.
    """
    ids = np.random.default_rng(0).integers(vocabulary, size=(batch_size, tokens), dtype=np.int64)
    types = np.arange(tokens) >= (tokens // 2 if pair else tokens)
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.broadcast_to(types, ids.shape).astype(np.int64),
    }


def hardware(device: torch.device | str = "cpu") -> str:
    """The processor and its usable cores, and the GPU where `device` is one."""
    text = f"{_processor()}, {usable_cores()} cores"
    if torch.device(device).type == "cuda":
        text += f"; {torch.cuda.get_device_name(device)}"
    return text


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
