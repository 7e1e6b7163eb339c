"""A recipe's reports: read, flattened to numbers, and shown with its teacher's as a table.

Its model has two forms where `finish.of` names the recipe: the plain student, and the finished one, after its last
links.
"""

from pathlib import Path
from typing import Any

from tasks.evaluation.forms import FINISHED, shown_name
from tasks.links.params import finished_recipes
from tasks.stage.json_files import read_json
from tasks.stage.params import PARAMS

MODELS = Path("models")
REPORTS = Path("reports")
TEACHER = "teacher"


def evaluated(recipe: str, finished: bool = False) -> Path:
    """The folder of what `evaluate` wrote about a form of a recipe's model."""
    folder = REPORTS / "evaluated" / recipe
    return folder / FINISHED if finished else folder


def checkpoint_of(recipe: str, finished: bool = False) -> Path:
    """The checkpoint of a form of a recipe's model."""
    return _form(MODELS, recipe, finished)


def exported_of(recipe: str, finished: bool = False) -> Path:
    """The exported folder of a form of a recipe's model."""
    return _form(MODELS / "exported", recipe, finished)


def _form(folder: Path, recipe: str, finished: bool) -> Path:
    return folder / FINISHED / recipe if finished else folder / recipe


def forms(recipe: str) -> list[bool]:
    """The forms that a recipe's model has, each by whether it is the finished one; plain first."""
    return [False, True] if recipe in finished_recipes(PARAMS) else [False]


def again(recipe: str) -> str:
    """What to do where a report of a recipe is missing or damaged."""
    return f"run python -m flows.compress {recipe}"


def read_report(recipe: str, name: str, finished: bool = False) -> dict[str, Any]:
    """Read one JSON report.

    Raises:
        InputError: it is missing or damaged.
    """
    return read_json(evaluated(recipe, finished) / name, again(recipe))


def table(recipe: str) -> str:
    """Teacher and student, in all its forms, in a Markdown table, aligned for a terminal."""
    students = [
        (read_report(recipe, "metrics.json", finished), read_report(recipe, "latency.json", finished))
        for finished in forms(recipe)
    ]
    student, latency = students[0]
    teacher = read_json(evaluated(TEACHER) / "metrics.json", again(recipe))
    metric = f"{student['task_metric']} ({student['split']})"
    head = ["", metric, "kept", "parameters", "on disk", "FLOPs", "p50 ms", "p99 ms"]
    # The teacher's latency is the one of the plain student's run: both under the same load.
    batch = smallest_batch(latency)
    rows = [_row(TEACHER, teacher, latency["teacher"][batch])]
    rows += [_row(shown_name(metrics), metrics, times["batches"][batch]) for metrics, times in students]
    threads = "1 thread" if latency["threads"] == 1 else f"{latency['threads']} threads"
    note = f"latency: {latency['runtime']}, batch {batch}, {threads}, {latency['hardware']}"
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
