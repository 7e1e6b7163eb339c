"""A stage in several processes: its program starts itself again by `accelerate launch`, and says how that ended.

    train: {processes: 2}      in params.yaml, or
    STILLHOUSE_PROCESSES=2     in the environment of a deployment, which overrides it

The launcher starts one copy of the program a process, on GPUs where the machine has them, else on the CPU with gloo.
What only one process can do, the first does: see `stillhouse.training.processes` and
`tasks.stage.outputs`.

The copies tell the program that was called, through files in a folder, who they are and why they left. So it can ask
them to end (a launcher that is asked gives its processes 30 seconds), and leave with their one line and exit code.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, TextIO

import torch
from accelerate import PartialState

from stillhouse.errors import InputError, Preempted
from stillhouse.training import processes
from tasks.stage import program
from tasks.stage.params import PARAMS, TrainParams, load
from tasks.stage.program import EXIT_FAULT, EXIT_TRANSIENT

FOLDER = "STILLHOUSE_LAUNCHED"  # set for the copies: where they leave their files
LOCK = "lock"  # in that folder, held by the program that was called for as long as it lives


def run(main: Callable[[], None]) -> None:
    """`tasks.stage.program.run` for a program that trains: in several processes where `wanted` says so."""
    if FOLDER in os.environ:
        _run_as_one_of_several(main)
        return
    ended = program.ending(partial(_run_or_launch, main))
    if ended:
        program.leave(*ended)


def _run_or_launch(main: Callable[[], None]) -> None:
    words = sys.argv[1:]
    number = 1 if {"-h", "--help"} & set(words) else wanted(words)
    if number == 1:
        main()
        return
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "a stage's program is started as `python -m`"
    launch(spec.name, words, number)


def _run_as_one_of_several(main: Callable[[], None]) -> None:
    """Report how this process ends to the one that launched it, which prints it."""
    try:
        _join()
        ended = program.ending(main)
    except Exception:
        _report(EXIT_FAULT, "")
        raise
    if ended:
        _report(*ended)
        raise SystemExit(ended[0])


def wanted(words: list[str]) -> int:
    """How many processes a program with these arguments is to have.

    Raises:
        InputError: params.yaml or the variable says something else than a number from 1.
    """
    given = os.environ.get("STILLHOUSE_PROCESSES")
    if given is not None:
        if not given.isdigit() or int(given) < 1:
            raise InputError(f"STILLHOUSE_PROCESSES = {given!r}: give a number from 1")
        return int(given)
    file = Path(words[words.index("--params") + 1]) if "--params" in words[:-1] else PARAMS
    return load("train", TrainParams, file).processes


def launch(module: str, words: list[str], number: int) -> None:
    """Run a program in so many processes; where they do not end well, end as they do.

    Raises:
        Preempted: SIGTERM came, and they have left.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stillhouse-")))
        said = folder / "launcher"
        # Held until this process ends, however it does.
        held = stack.enter_context((folder / LOCK).open("w"))
        fcntl.flock(held, fcntl.LOCK_EX)
        with said.open("wb") as errors:
            launcher = subprocess.Popen(
                [
                    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
                    *("--num_processes", str(number), "--num_machines", "1", "--main_process_port", "0"),
                    *("--mixed_precision", "no", "--dynamo_backend", "no", "--module", module, *words),
                ],
                env=_environment(folder, number),
                stderr=errors,
                # What is sent to the whole group, to stop a stage, goes to the copies by way of us.
                start_new_session=True,
            )
        asked = threading.Event()

        def ask(*_: object) -> None:
            asked.set()
            _send(signal.SIGTERM, folder, launcher)

        before = signal.signal(signal.SIGTERM, ask)
        try:
            launcher.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
            if launcher.poll() is None:  # Ctrl-C
                os.killpg(launcher.pid, signal.SIGKILL)
                launcher.wait()
        if launcher.returncode:
            _explain(folder, number, asked.is_set(), said)


def _environment(folder: Path, number: int) -> dict[str, str]:
    own = {
        FOLDER: str(folder),
        # The launcher's own choice is one thread each.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(torch.get_num_threads() // number, 1))),
        # All on this machine: no port is open to others.
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
        "NCCL_SOCKET_IFNAME": os.environ.get("NCCL_SOCKET_IFNAME", "lo"),
    }
    return program.environment(**own)


def _send(number: int, folder: Path, launcher: subprocess.Popen) -> None:
    """To all copies, or while there are none yet, to the launcher."""
    pids = [int(file.read_text()) for file in folder.glob("*.pid")]
    for pid in pids or [launcher.pid]:
        with suppress(ProcessLookupError):  # it has just left
            os.kill(pid, number)


def _explain(folder: Path, number: int, asked: bool, launcher: Path) -> NoReturn:
    """Leave as the copies left."""
    left = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.left"))]
    said = [report for report in left if report["code"] != EXIT_FAULT]
    if said:
        # A fault in the input comes before passing trouble: the same command would fail again.
        first = min(said, key=lambda report: report["code"])
        program.leave(first["code"], first["message"])
    if asked:
        raise Preempted("asked to end (SIGTERM)")
    if not list(folder.glob("*.pid")):
        print(launcher.read_text(encoding="utf-8", errors="replace"), file=sys.stderr, flush=True)
    elif len(left) < number:
        # One that is left alone dies of the other's end: that is no fault of its own.
        program.leave(EXIT_TRANSIENT, f"one of {number} processes was killed; run the same command again")
    raise SystemExit(EXIT_FAULT)


def _join() -> None:
    """Make this process one of several."""
    rank = os.environ["RANK"]
    draft = _place(f"{rank}.draft")
    draft.write_text(str(os.getpid()))
    draft.rename(_place(f"{rank}.pid"))
    # The launcher's stderr is for the launcher; the first process prints for all.
    os.dup2(1, 2)
    if not processes.is_first():
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
    threading.Thread(target=_leave_with, args=(_place(LOCK), os.getppid()), daemon=True).start()
    PartialState(cpu=not torch.cuda.is_available())


def _report(code: int, message: str) -> None:
    """Write down why this process ends."""
    draft = _place(f"{os.environ['RANK']}.draft")
    draft.write_text(json.dumps({"code": code, "message": message}), encoding="utf-8")
    draft.rename(_place(f"{os.environ['RANK']}.left"))


def _place(name: str) -> Path:
    return Path(os.environ[FOLDER]) / name


def _leave_with(called: Path, launcher: int) -> None:
    """End with the program that was called: killed, it cannot tell its copies, which would train on into the next run.

    Args:
        called: the file whose lock it holds; its process may be there after its death, until somebody asks for it.
        launcher: the process that started this one.
    """
    with called.open() as file:
        while os.getppid() == launcher and _held(file):
            time.sleep(0.5)
    os._exit(EXIT_TRANSIENT)


def _held(file: TextIO) -> bool:
    """Whether another process holds a lock on a file."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
