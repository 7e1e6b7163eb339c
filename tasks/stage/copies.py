"""The copies that a stage's program starts of itself: what they are told, and how they ended.

The copies tell the program that was called, through files in a folder, who they are and why they left. So it can ask
them to end (a launcher that is asked gives its processes 30 seconds), and leave with their one line and exit code.
"""

import fcntl
import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from tasks.stage import program
from tasks.stage.program import EXIT_FAULT, EXIT_TRANSIENT

FOLDER = "STILLHOUSE_LAUNCHED"  # set for the copies: where they leave their files
LOCK = "lock"  # in that folder, held by the program that was called for as long as it lives


@contextmanager
def folder_of_copies() -> Iterator[Path]:
    """Where they leave their files. Its lock is held until this process ends, however it does."""
    with tempfile.TemporaryDirectory(prefix="stillhouse-") as name:
        folder = Path(name)
        with (folder / LOCK).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield folder


@contextmanager
def asked_to_end(ask: Callable[[], object]) -> Iterator[threading.Event]:
    """Within it, SIGTERM sets the event that it gives, and calls `ask`."""
    asked = threading.Event()

    def on_signal(*_: object) -> None:
        asked.set()
        ask()

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def environment(folder: Path, number: int, **own: str) -> dict[str, str]:
    """Variables of a copy.

    Args:
        number: of copies on this machine.
        own: what else it has; the network's interface, unless this program was given one.
    """
    # The launcher's own choice is one thread each.
    threads = os.environ.get("OMP_NUM_THREADS", str(max(torch.get_num_threads() // number, 1)))
    given = {name: os.environ[name] for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if name in os.environ}
    return program.environment(**{FOLDER: str(folder), "OMP_NUM_THREADS": threads} | own | given)


def ask_all(folder: Path) -> bool:
    """Ask all copies that have begun to end; whether there are any."""
    pids = [int(file.read_text()) for file in folder.glob("*.pid")]
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just left
            os.kill(pid, signal.SIGTERM)
    return bool(pids)


def reports(folder: Path) -> list[dict[str, Any]]:
    """How the copies left, so far as they said: `code`, `message`, and whether it `lost` another."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.left"))]


def ending(left: list[dict[str, Any]], number: int) -> tuple[int, str]:
    """The exit code and the line of copies that did not end well; without a line a traceback was printed.

    Args:
        left: their reports.
        number: how many there were.
    """
    if said := [report for report in left if report["code"] != EXIT_FAULT]:
        # A fault in the input comes before passing trouble: the same command would fail again.
        first = min(said, key=lambda report: report["code"])
        return first["code"], first["message"]
    if len(left) < number:
        # One that is left alone dies of the other's end: that is no fault of its own.
        return EXIT_TRANSIENT, f"one of {number} processes was killed; run the same command again"
    return EXIT_FAULT, ""
