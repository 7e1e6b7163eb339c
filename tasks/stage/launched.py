"""One of several processes that a stage's program started: who it is, and how it tells why it left.

It writes files into the folder that `tasks.stage.copies` reads.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import torch
from accelerate import PartialState

from stillhouse.training import processes
from tasks.stage import program
from tasks.stage.copies import FOLDER, LOCK
from tasks.stage.program import EXIT_FAULT, EXIT_TRANSIENT


def run_as_one_of_several(main: Callable[[], None]) -> None:
    """Report how this process ends to the one that launched it, which prints it."""
    try:
        _join()
        ended = program.ending(main)
    except Exception as error:
        if processes.machines() > 1 and processes.lost(error):
            # Whoever ended first says why; a traceback of this one's network would not.
            _report(EXIT_FAULT, " ".join(str(error).split())[:200], lost=True)
            raise SystemExit(EXIT_FAULT) from None
        _report(EXIT_FAULT, "")
        raise
    if ended:
        _report(*ended)
        raise SystemExit(ended[0])


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


def _report(code: int, message: str, lost: bool = False) -> None:
    """Write down why this process ends."""
    draft = _place(f"{os.environ['RANK']}.draft")
    draft.write_text(json.dumps({"code": code, "message": message, "lost": lost}), encoding="utf-8")
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
