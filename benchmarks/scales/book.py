"""Measurements by name in a JSON file, so that a run that was stopped goes on where it was."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.usage import used_by
from tasks.stage.outputs import fresh_file

Figures = dict[str, float]


class Book:
    """What was measured before is not measured again.

    Args:
        file: of JSON; made where it is missing.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, Figures] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def of(self, name: str, measure: Callable[[], Figures]) -> Figures:
        """The figures of that name; measured and kept where they are not there yet."""
        if name not in self.found:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            self.found[name] = measure()
            with fresh_file(self.file) as draft:
                draft.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        return self.found[name]


def measured(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Figures:
    """Seconds by the clock and of CPU of a command, and the most memory held, in bytes. Raises as `used_by` does."""
    used = used_by(command, folder, variables)
    return {"seconds": used.seconds, "cpu": used.cpu, "peak": used.peak}


def bytes_of(folder: Path) -> int:
    """Bytes of all files under a folder; 0 where it is not there."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def line(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Slope and start of the straight line through some points."""
    slope, start = np.polyfit(sizes, values, 1)
    return float(slope), float(start)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table: names to the left, numbers to the right."""
    for cells in (header, ["--", *["--:"] * (len(header) - 1)], *rows):
        yield f"| {' | '.join(cells)} |"
