"""`python -m flows.join STAGE`: one stage on several machines, started on each of them by torchrun, srun or Kubernetes.

On machine 0 DVC runs the stage and keeps what comes out. On the others the stage's command runs as dvc.yaml has it: it
trains with machine 0, and writes nothing but its cache. `train.machines` says how many they are.
"""

import os
import shlex
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import NoReturn

from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.dag.graph import lineage, load_graph
from flows.dag.process import StageFailed, bring_up_to_date
from stillhouse.errors import InputError, Preempted
from tasks.stage import launch, program
from tasks.stage.commands import command_parser
from tasks.stage.machines import this_machine
from tasks.stage.modules import modules_of
from tasks.stage.program import EXIT_FAULT, EXIT_INPUT, EXIT_TRANSIENT

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
        bring_up_to_date_here(Path.cwd(), stage)
        return
    # In this process's place: signals go to it, and its exit code is ours.
    os.execve(sys.executable, [sys.executable, *words], program.environment())


def bring_up_to_date_here(root: Path, name: str) -> None:
    """Have DVC run a stage if it is out of date, and leave as it left.

    Raises:
        Preempted: SIGTERM came, and the stage has ended.
    """
    signal.signal(signal.SIGTERM, asked_to_end)
    try:
        ran = bring_up_to_date(root, lineage(load_graph(root), name)[-1], {})
    except StageFailed as failed:
        fault = EXIT_INPUT if failed.code == EXIT_INPUT else EXIT_FAULT
        program.leave(EXIT_TRANSIENT if failed.transient else fault, str(failed))
    if ran is None or ran.cached:
        print(f"[{name}] is up to date: no other machine is needed", flush=True)


def asked_to_end(*_: object) -> NoReturn:
    raise Preempted("asked to end (SIGTERM)")


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
