"""What a check finds, and what every check is given."""

import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from flows.dag.graph import Stage
from tasks.stage.secrets import hidden

PATIENCE = 5.0  # seconds that a service on the network has to answer
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        level: fault: something will fail; warning: something is missing that not everybody needs.
        check: what was looked at.
        text: what was found.
        remedy: what to do about it; empty where the text says so, or nothing is to be done.
    """

    level: Literal["ok", "warning", "fault"]
    check: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.text}: {self.remedy}" if self.remedy else self.text
        return hidden(f"{self.level:8} {self.check:11} {' '.join(text.split())}")


@dataclass(frozen=True)
class Setup:
    """The project that is checked.

    Args:
        root: its folder, the current one.
        recipe: None for all.
        params: params.yaml; empty where it cannot be read, which its own check says.
        graph: all stages; empty where DVC refuses dvc.yaml, which its own check says.
        stages: those of the recipe.
    """

    root: Path
    recipe: str | None
    params: dict[str, Any] = field(default_factory=dict)
    graph: tuple[Stage, ...] = ()
    stages: tuple[Stage, ...] = ()

    def has(self, stage: str) -> bool:
        """Whether the recipe needs a stage; assumed where dvc.yaml cannot be read."""
        return not self.graph or any(each.name == stage for each in self.stages)


def ok(check: str, text: str) -> Finding:
    return Finding("ok", check, text)


def warning(check: str, text: str, remedy: str = "") -> Finding:
    return Finding("warning", check, text, remedy)


def fault(check: str, text: str, remedy: str = "") -> Finding:
    return Finding("fault", check, text, remedy)


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises, if it does so in time.

    Raises:
        TimeoutError: it does not. It goes on in a daemon thread.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer.result(timeout=seconds)


def existing_parent(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def check_writable(folder: Path) -> None:
    """Write, read and delete a file in a folder, or where it would be made.

    Raises:
        OSError: that does not work.
    """
    with tempfile.NamedTemporaryFile(dir=existing_parent(folder), prefix=".stillhouse-doctor-") as probe:
        probe.write(b"stillhouse")
        probe.flush()
        os.fsync(probe.fileno())
        probe.seek(0)
        if probe.read() != b"stillhouse":
            raise OSError(f"'{folder}' gives back other bytes than it was given")


def reason(error: BaseException) -> str:
    """An error in one line."""
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
