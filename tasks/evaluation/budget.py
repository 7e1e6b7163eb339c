"""What a compressed model should be, and whether one is. A missed budget is said, and is no error."""

from collections.abc import Mapping
from typing import Any


def against(
    onnx_bytes: int, teacher_onnx_bytes: int, kept: float, *, smaller_asked: float | None, kept_asked: float | None
) -> dict[str, Any]:
    """A student held against the budget: what it reaches, what was asked for, and whether all of that is met.

    Args:
        onnx_bytes, teacher_onnx_bytes: of the two ONNX files.
        kept: share of the teacher's metric.
        smaller_asked: how many times the student's file goes into the teacher's, at least; None: nothing is asked.
        kept_asked: the share to be kept at least; None: nothing is asked.
    """
    smaller = teacher_onnx_bytes / onnx_bytes
    met = (smaller_asked is None or smaller >= smaller_asked) and (kept_asked is None or kept >= kept_asked)
    return {
        "smaller": smaller,
        "smaller_asked": smaller_asked,
        "kept": kept,
        "kept_asked": kept_asked,
        "met": met,
    }


def sentence(figures: Mapping[str, Any]) -> str:
    """Whether the budget is met, and how far, in a few words."""
    smaller, kept = figures["smaller_asked"], figures["kept_asked"]
    parts = [
        f"{figures['smaller']:.2f}× smaller" + ("" if smaller is None else f" ({smaller:g}× asked)"),
        f"{figures['kept']:.2%} kept" + ("" if kept is None else f" ({100 * kept:g}% asked)"),
    ]
    return f"{'met' if figures['met'] else 'missed'}: {', '.join(parts)}"
