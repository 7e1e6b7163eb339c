"""A stage in several processes: its program starts itself again by `accelerate launch`, and says how that ended.

    train: {processes: 2}      in params.yaml, or
    STILLHOUSE_PROCESSES=2     in the environment of a deployment, which overrides it

The launcher starts one copy of the program a process, on GPUs where the machine has them, else on the CPU with gloo.
What only one process can do, the first does: see `stillhouse.training.processes` and
`tasks.stage.outputs`. On several machines each starts its own copies: see `tasks.stage.together`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from stillhouse.errors import InputError, Preempted
from tasks.stage import copies, program, together
from tasks.stage.launched import run_as_one_of_several
from tasks.stage.machines import refuse_others, this_machine
from tasks.stage.params import PARAMS, TrainParams, load


def run(main: Callable[[], None]) -> None:
    """`tasks.stage.program.run` for a program that trains: in several processes where `wanted` says so."""
    if copies.FOLDER in os.environ:
        run_as_one_of_several(main)
        return
    ended = program.ending(partial(_run_or_launch, main))
    if ended:
        program.leave(*ended)


def _run_or_launch(main: Callable[[], None]) -> None:
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        main()
        return
    number, machines = wanted(words), machines_wanted(words)
    spec = sys.modules["__main__"].__spec__
    if machines > 1:
        machine = this_machine(machines)
        assert spec is not None, "a stage's program is started as `python -m`"
        together.launch(spec.name, words, number, machine)
        return
    refuse_others()
    if number == 1:
        main()
        return
    assert spec is not None, "a stage's program is started as `python -m`"
    launch(spec.name, words, number)


def wanted(words: list[str]) -> int:
    """How many processes a program with these arguments is to have on each machine.

    Raises:
        InputError: params.yaml or the variable says something else than a number from 1.
    """
    return _given("STILLHOUSE_PROCESSES") or _train(words).processes


def machines_wanted(words: list[str]) -> int:
    """How many machines are to train together.

    Raises:
        InputError: as `wanted`.
    """
    return _given("STILLHOUSE_MACHINES") or _train(words).machines


def _given(variable: str) -> int | None:
    given = os.environ.get(variable)
    if given is None:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{variable} = {given!r}: give a number from 1")
    return int(given)


def _train(words: list[str]) -> TrainParams:
    file = Path(words[words.index("--params") + 1]) if "--params" in words[:-1] else PARAMS
    return load("train", TrainParams, file)


def launch(module: str, words: list[str], number: int) -> None:
    """Run a program in so many processes; where they do not end well, end as they do.

    Raises:
        Preempted: SIGTERM came, and they have left.
    """
    with copies.folder_of_copies() as folder:
        said = folder / "launcher"
        # All on this machine: no port is open to others.
        variables = copies.environment(folder, number, GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo")
        with said.open("wb") as errors:
            launcher = subprocess.Popen(
                [
                    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
                    *("--num_processes", str(number), "--num_machines", "1", "--main_process_port", "0"),
                    *("--mixed_precision", "no", "--dynamo_backend", "no", "--module", module, *words),
                ],
                env=variables,
                stderr=errors,
                # What is sent to the whole group, to stop a stage, goes to the copies by way of us.
                start_new_session=True,
            )

        def ask() -> None:
            if not copies.ask_all(folder):  # there are none yet
                launcher.terminate()

        with copies.asked_to_end(ask) as asked:
            try:
                launcher.wait()
            finally:
                if launcher.poll() is None:  # Ctrl-C
                    os.killpg(launcher.pid, signal.SIGKILL)
                    launcher.wait()
        if launcher.returncode:
            _explain(folder, number, asked.is_set(), said)


def _explain(folder: Path, number: int, asked: bool, launcher: Path) -> NoReturn:
    """Leave as the copies left."""
    left = copies.reports(folder)
    if asked and all(report["code"] == program.EXIT_FAULT for report in left):
        raise Preempted("asked to end (SIGTERM)")
    if not list(folder.glob("*.pid")):
        print(launcher.read_text(encoding="utf-8", errors="replace"), file=sys.stderr, flush=True)
        raise SystemExit(program.EXIT_FAULT)
    code, message = copies.ending(left, number)
    if message:
        program.leave(code, message)
    raise SystemExit(code)
