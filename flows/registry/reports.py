"""A recipe's reports: read, flattened to numbers, and shown with its teacher's as a table."""

from pathlib import Path
from typing import Any

from tasks.stage.json_files import read_json

REPORTS = Path("reports")
TEACHER = "teacher"


def evaluated(recipe: str) -> Path:
    """The folder of what `evaluate` wrote about a recipe's model."""
    return REPORTS / "evaluated" / recipe


def again(recipe: str) -> str:
    """What to do where a report of a recipe is missing or damaged."""
    return f"run python -m flows.compress {recipe}"


def read_report(recipe: str, name: str) -> dict[str, Any]:
    """Read one JSON report.

    Raises:
        InputError: it is missing or damaged.
    """
    return read_json(evaluated(recipe) / name, again(recipe))


def table(recipe: str, root: Path = Path()) -> str:
    """Teacher and student in a Markdown table, aligned for a terminal; `root` is the project's folder."""
    ours, theirs = root / evaluated(recipe), root / evaluated(TEACHER)
    student, latency = (read_json(ours / name, again(recipe)) for name in ("metrics.json", "latency.json"))
    teacher = read_json(theirs / "metrics.json", again(recipe))
    metric = f"{student['task_metric']} ({student['split']})"
    head = ["", metric, "kept", "parameters", "on disk", "FLOPs", "p50 ms", "p99 ms"]
    # The teacher's latency is the one of the student's run: both under the same load.
    batch = smallest_batch(latency)
    rows = [
        _row(TEACHER, teacher, latency["teacher"][batch]),
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
