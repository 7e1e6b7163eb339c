"""`python -m flows.join STAGE`: one stage on several machines, started on each of them by torchrun, srun or Kubernetes.

On machine 0 DVC runs the stage and keeps what comes out. On the others the stage's command runs as dvc.yaml has it: it
trains with machine 0, and writes nothing but its cache. `train.machines` says how many they are.
"""

import os
import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.dag.code import python_first
from stillhouse.errors import InputError
from tasks.stage import launch, program
from tasks.stage.commands import command_parser
from tasks.stage.machines import this_machine
from tasks.stage.modules import modules_of

LAUNCH = Path("tasks/stage/launch.py")  # what every program runs that trains


def main() -> None:
    """Train one stage on several machines; the same command on each of them."""
    stage = parser().parse_args().stage
    machines = launch.machines_wanted([])
    words = command_of(Path.cwd(), stage)
    if machines == 1:
        raise InputError(
            f"train.machines = 1: '{stage}' trains on one machine, by `dvc repro {stage}`; for more say how many "
            "in params.yaml, or in STILLHOUSE_MACHINES"
        )
    if this_machine(machines).number == 0:
        # The stage `code` first: what it writes says whether this one is up to date.
        words = ["-m", "dvc", "repro", "--single-item", "code", stage]
    # In this process's place: signals go to it, and its exit code is ours.
    os.execve(sys.executable, [sys.executable, *words], program.environment(PATH=python_first()))


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.join", main.__doc__)
    own.add_argument("stage", help="of dvc.yaml, one that trains, such as teacher")
    return own


def command_of(root: Path, name: str) -> list[str]:
    """What a stage gives to Python: `-m`, its program, and the program's words.

    Raises:
        InputError: there is no such stage, or it does not train.
    """
    try:
        # Not as `flows.dag.graph` opens it, which mends what no process of this machine holds: machine 0 may, on a disk
        # that both use.
        stage = Repo(str(root)).stage.load_one(name=name)
    except DvcException as error:
        raise InputError(f"stage '{name}': {' '.join(str(error).split())}; `dvc stage list` shows all") from None
    python, *words = shlex.split(str(stage.cmd))
    trains = python == "python" and words[0] == "-m" and LAUNCH in modules_of(root, words[1])
    if not trains:
        raise InputError(f"stage '{name}' does not train: run it on one machine, by `dvc repro {name}`")
    return words


if __name__ == "__main__":
    program.run(main)
