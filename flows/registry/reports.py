"""A recipe's reports: read, flattened to numbers, and shown with its teacher's as a table."""

import json
from pathlib import Path
from typing import Any

from flows.registry.kinds import kind_of
from stillhouse.errors import InputError

REPORTS = Path("reports")


def read_report(folder: Path, name: str) -> dict[str, Any]:
    """Read one JSON report.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder / name} is missing: run python -m flows.compress {folder.name}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{folder / name} is not JSON ({error}): run dvc repro evaluate@{folder.name}") from None


def evaluated(recipe: str) -> Path:
    """The folder of what `evaluate` wrote about a recipe's model."""
    return kind_of(recipe).evaluated / recipe


def table(recipe: str) -> str:
    """Teacher and student in a Markdown table, aligned for a terminal."""
    folder, its_teacher = evaluated(recipe), kind_of(recipe).teacher
    teacher, student = (read_report(folder.with_name(name), "metrics.json") for name in (its_teacher, recipe))
    latency = read_report(folder, "latency.json")
    head = ["", student["task_metric"], "kept", "parameters", "on disk", "FLOPs", "p50 ms", "p99 ms"]
    # The teacher's latency is the one of the student's run: both under the same load.
    batch = smallest_batch(latency)
    rows = [
        _row(its_teacher, teacher, latency["teacher"][batch]),
        _row(recipe, student, latency["batches"][batch]),
    ]
    note = f"latency: {latency['runtime']}, batch {batch}, {latency['threads']} threads, {latency['hardware']}"
    return "\n".join([*_aligned([head, *rows]), "", note])


def smallest_batch(latency: dict[str, Any]) -> str:
    """The smallest batch size that was measured, as the reports' key."""
    return min(latency["batches"], key=int)


def numbers(tree: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """All numbers of a report, by their path."""
    flat: dict[str, float] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[f"{prefix}{key}"] = value
    return flat


def _row(name: str, metrics: dict[str, Any], times: dict[str, float]) -> list[str]:
    return [
        name,
        f"{metrics['value']:.4f}",
        f"{metrics.get('kept', 1.0):.1%}",
        f"{metrics['parameters'] / 1e6:.2f} M",
        f"{metrics['checkpoint_bytes'] / 1e6:.1f} MB",
        f"{metrics['flops'] / 1e9:.3f} G",
        f"{times['p50_ms']:.2f}",
        f"{times['p99_ms']:.2f}",
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]
