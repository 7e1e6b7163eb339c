"""What a stage costs beside its work: the start of each program; of each stage of a DAG its start, DVC and work.

    python -m benchmarks.stages programs
    python -m benchmarks.stages dag
    python -m benchmarks.stages dag --target report@tinybert --rounds 3

Figures are CPU seconds, user and system, as the kernel counts them for a process and those it waited for: on a machine
that others use too, time by the clock says little. A DAG is that of the commit, in a clone of its own at the smoke
profile. The process that sends runs to MLflow outlives a stage, and is not in its figures.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.usage import Used, used_by

ROOT = Path(__file__).parents[1]
# As `dvc repro --dry` prints a stage.
STAGE = re.compile(r"^Running stage '(?P<name>.+)':\n> python -m (?P<program>\S+)", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["programs", "dag"])
    parser.add_argument("--target", default="report@hinton", help="the last stage of the DAG; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="of a program's start: the median counts")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    if arguments.what == "programs":
        print(f"{'program':24}{'CPU s':>8}{'MiB':>8}")
        for program in programs():
            cpu, peak = start_of(program, arguments.rounds)
            print(f"{program:24}{cpu:8.2f}{peak / 2**20:8.0f}", flush=True)
    else:
        dag(arguments.target, arguments.rounds)


def programs() -> list[str]:
    """All that a stage may run."""
    return [f"tasks.{file.stem}" for file in sorted((ROOT / "tasks").glob("[a-z]*.py"))]


def start_of(program: str, rounds: int) -> tuple[float, float]:
    """CPU seconds and peak of its `--help`: what it imports at its top, not what a kind or a recipe brings along."""
    found = [run([sys.executable, "-m", program, "--help"], ROOT) for _ in range(rounds)]
    return median(each.cpu for each in found), median(each.peak for each in found)


def dag(target: str, rounds: int) -> None:
    """Run the target's stages in a clone, each by a DVC of its own, and print a line of each and of all."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], ROOT)
        run([sys.executable, "-m", "tasks.profile", "smoke"], clone)
        repro = [sys.executable, "-m", "dvc", "repro"]
        one = [*repro, "--quiet", "--single-item"]
        run([*one, "code"], clone)  # it says what the others depend on
        dvc = run([*one, "code"], clone).cpu  # of a stage that is up to date
        starts: dict[str, float] = {}
        sums = [0.0] * 4
        print(f"{'stage':32}{'start':>8}{'DVC':>8}{'work':>8}{'CPU s':>8}")
        while found := first_stage(_output([*repro, "--dry", target], clone)):
            name, program = found
            starts[program] = starts.get(program) or start_of(program, rounds)[0]
            whole = run([*one, name], clone).cpu
            figures = [starts[program], dvc, whole - starts[program] - dvc, whole]
            sums = [sum(pair) for pair in zip(sums, figures, strict=True)]
            print(_row(name, figures), flush=True)
        print(_row("all", sums))


def first_stage(dry: str) -> tuple[str, str] | None:
    """Name and program of the first stage that `dvc repro --dry` says it would run; None where all are up to date."""
    found = STAGE.search(dry)
    return (found["name"], found["program"]) if found else None


def run(command: list[str], folder: Path) -> Used:
    """What a command in a folder used. Raises as `used_by` does."""
    return used_by(command, folder, _variables(folder))


def _output(command: list[str], folder: Path) -> str:
    """What a command prints; a dry run stops with an error where it wants to look at what is not made yet."""
    done = subprocess.run(command, cwd=folder, env=_variables(folder), capture_output=True, text=True, check=False)
    return done.stdout


def _variables(folder: Path) -> dict[str, str]:
    """So that a stage's `python` is this one, and the folder's modules come before those of what is installed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(folder)}


def _row(name: str, figures: list[float]) -> str:
    return f"{name:32}" + "".join(f"{figure:8.2f}" for figure in figures)


if __name__ == "__main__":
    main()
