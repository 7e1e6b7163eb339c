"""Measurements by name in a JSON file, so that a run that was stopped goes on where it was."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tasks.stage.outputs import fresh_file

Figures = dict[str, float]
SAID = "said.log"  # what a measured command said, in the folder that it ran in
# The kernel's peak of a process begins with that of the process which started it, and this one has torch in memory: so
# a small one starts the command, and says what it used.
START = """
import json, pathlib, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
pathlib.Path(sys.argv[1]).write_text(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(code)
"""


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
    """Run a command in a folder to its end: seconds by the clock and of CPU, and the most memory held, in bytes.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    log, used = folder / SAID, folder / "used.json"
    start = [sys.executable, "-c", START, str(used), *command]
    began = time.perf_counter()
    with log.open("w") as said:
        done = subprocess.run(
            start, cwd=folder, env=os.environ | dict(variables), stdout=said, stderr=said, check=False
        )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {log.read_text()[-1500:]}")
    cpu, peak = json.loads(used.read_text())
    return {"seconds": seconds, "cpu": cpu, "peak": peak * (1 if sys.platform == "darwin" else 1024)}


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
