"""What a chain may cost and must keep: `--bytes 5MB --latency 1ms --kept 0.97`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stillhouse.errors import InputError

NUMBER = re.compile(r"\s*(?P<number>\d+(\.\d+)?([eE][+-]?\d+)?)\s*(?P<unit>[A-Za-zµ%]*)\s*")
BYTES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
SHARES = {"": 1.0, "%": 0.01}


@dataclass(frozen=True)
class Budget:
    """Limits; None is none.

    Args:
        onnx_bytes: of the ONNX file, at most.
        ms: p50 of the smallest batch that is measured, at most, in milliseconds.
        kept: share of the teacher's metric on validation, at least.
    """

    onnx_bytes: int | None = None
    ms: float | None = None
    kept: float | None = None

    def __str__(self) -> str:
        parts = [
            "" if self.onnx_bytes is None else f"{self.onnx_bytes / 1e6:g} MB",
            "" if self.ms is None else f"{self.ms:g} ms",
            "" if self.kept is None else f"{100 * self.kept:g} % kept",
        ]
        return ", ".join(filter(None, parts))


def read_budget(onnx_bytes: str | None, latency: str | None, kept: str | None) -> Budget:
    """The limits, from words.

    Raises:
        InputError: one is no such quantity, or none is given.
    """
    size = _quantity("bytes", onnx_bytes, BYTES, "5MB, 800kB or 4.5MiB")
    budget = Budget(
        None if size is None else round(size),
        _quantity("latency", latency, MILLISECONDS, "1ms, 800us or 0.01s"),
        _quantity("kept", kept, SHARES, "0.97 or 97%"),
    )
    if budget == Budget():
        raise InputError("no budget: give at least one of --bytes 5MB, --latency 1ms, --kept 0.97")
    return budget


def excess(budget: Budget, onnx_bytes: float, ms: float) -> dict[str, float]:
    """By how much a shape exceeds each limit that there is, as a share of it; 0 or less where it fits."""
    found = {}
    if budget.onnx_bytes is not None:
        found["bytes"] = onnx_bytes / budget.onnx_bytes - 1
    if budget.ms is not None:
        found["latency"] = ms / budget.ms - 1
    return found


def fits(over: Mapping[str, float]) -> bool:
    """Whether no limit is exceeded."""
    return all(share <= 0 for share in over.values())


def _quantity(name: str, text: str | None, units: Mapping[str, float], such: str) -> float | None:
    if text is None:
        return None
    found = NUMBER.fullmatch(text)
    unit = found["unit"].lower() if found else ""
    if not found or unit not in units or (value := float(found["number"]) * units[unit]) <= 0:
        raise InputError(f"{name} = {text!r} is no such quantity: give one such as {such}")
    return value
