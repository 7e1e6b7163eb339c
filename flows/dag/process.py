"""Run one DVC stage in its own process, and report how it ended.

Several flows may run in one clone. DVC's repository lock, for which `--wait-for-lock` waits, is free while a stage's
command runs. Its lock on the stage's files does not wait but fails, so that a second flow would stop at any stage that
the first one runs or reads from, up to date or not. So flows queue for each stage on a file lock, and check again
whether it is stale once they hold it: the second flow finds the work done. They also wait for a plain `dvc repro`.
"""

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from pathlib import Path

from filelock import FileLock, Timeout

from flows.dag.code import BUSY, python_first
from flows.dag.graph import Stage, mend, stale
from flows.dag.own_files import lost_by
from flows.dag.ran import Ran, place
from flows.dag.remote import Remote
from stillhouse.errors import InputError
from tasks.stage.program import EXIT_TRANSIENT
from tasks.stage.secrets import hidden
from tasks.tracking.provenance import project

LOGS = Path("logs")
GRACE = 30.0  # seconds between asking a stage to end and killing it: enough for a checkpoint
# OpenMP's threads spin while they wait, which takes the cores from another training: two at once on two cores took
# 240 s, one after the other 140 s. Spinning for some microseconds is enough, and costs a training that runs alone 7 to
# 16 %; not spinning at all (OMP_WAIT_POLICY=PASSIVE) costs it 18 %.
SIDE_BY_SIDE = {"GOMP_SPINCOUNT": "3000"}
ASK_AGAIN = 2.0  # seconds
# What DVC itself says, not a stage.
PASSING = re.compile(
    r"failed to connect|connection (reset|refused|aborted|error)|timed out|temporary failure in name resolution"
    r"|no space left on device|database or disk is full",
    re.IGNORECASE,
)


def stages_at_once() -> int:
    """How many stages run at a time on this machine, for one flow or one worker.

    Raises:
        InputError: STILLHOUSE_STAGES_AT_ONCE is no number from 1.
    """
    given = os.environ.get("STILLHOUSE_STAGES_AT_ONCE", "2")
    if not given.isdigit() or int(given) < 1:
        raise InputError(f"STILLHOUSE_STAGES_AT_ONCE = {given!r}: give a number from 1")
    return int(given)


_slots = threading.Semaphore(stages_at_once())
# DVC's advice and bookkeeping: kept in the log, not printed.
CHATTER = re.compile(
    r"\s*$|To track the changes with git|\tgit add |To enable auto staging|\tdvc config core\.autostage|Use `dvc push`"
    r"|WARNING: Process .* had been killed|Running stage |Generating lock file |Updating lock file |Pulling data for "
    r"|ERROR: failed to reproduce .*exited with|Stage '.*' didn't change|Data and pipelines are up to date"
)
_running: set[subprocess.Popen] = set()
_stopped = threading.Event()


class StageFailed(Exception):
    """A stage ended without its outputs.

    Attributes:
        code: the exit code of the stage's command, or DVC's own if the command was not run; negative for a signal.
        reason: one line.
        transient: whether the same command may pass the next time.
        said: whether the stage's command failed, not DVC before or after it.
    """

    def __init__(self, name: str, code: int, reason: str, log: Path, transient: bool, said: bool = True) -> None:
        super().__init__(f"stage '{name}' failed: {reason} (exit {code}; log: {log})")
        self.name = name
        self.code = code
        self.reason = reason
        self.log = log
        self.transient = transient
        self.said = said


class End(Enum):
    """What DVC did for a stage."""

    UNCHANGED = "nothing"
    CACHED = "its result was in a cache"
    RAN = "its command ran"


class StageBusy(StageFailed):
    """Another DVC process uses the stage's files."""


class StagesFailed(Exception):
    """Some stages of a flow failed: the message has a line for each, and one for those that could not run for it."""


def bring_up_to_date(
    root: Path,
    stage: Stage,
    environment: dict[str, str],
    remote: Remote | None = None,
    slot: Callable[[], AbstractContextManager[None]] = nullcontext,
    force: bool = False,
) -> Ran | None:
    """Bring one stage up to date, whose needs are met; its lines go to stdout as `[name] line`, and to its log.

    Args:
        environment: variables for the stage, in addition to those of this process.
        remote: where its outputs may be already, and where they go; None for neither.
        slot: what is held while the stage runs, such as a GPU.
        force: run it though it is up to date, and take nothing from any cache.

    Returns:
        How that was done; None where nothing was to do.

    Raises:
        StageFailed: it did not end well.
    """
    with turn(root, stage.name):
        waited = False
        while force or stale(root, [stage]):
            _refuse_loss(root, stage.name)
            try:
                # The GPU first: a stage that waits for one does not keep others from the processor.
                with slot(), _slots, _machine(root, stage.alone):
                    started = time.monotonic()
                    if force:
                        end = _run_mended(root, stage.name, environment, "--force")
                    else:
                        end = _run_or_pull(root, stage.name, environment, remote)
                    seconds = time.monotonic() - started
                # Another DVC was at its last step, between the stage's outputs and their lines in dvc.lock.
                if end is End.UNCHANGED:
                    return None
                print(f"[{stage.name}] done in {seconds:.1f} s", flush=True)
                if remote:
                    remote.push_soon()
                return Ran(place(root), seconds, cached=end is End.CACHED)
            except StageBusy as busy:
                if _stopped.is_set():
                    raise
                if not waited:
                    print(f"[{stage.name}] waits: {busy.reason}", flush=True)
                waited = True
            time.sleep(ASK_AGAIN)
    return None


def _refuse_loss(root: Path, name: str) -> None:
    # In a copy of the project nothing is anybody's.
    if project(root) == root and (file := lost_by(root, name)):
        reason = f"'{file}' is of no stage and in no cache, and would be lost: move it elsewhere, or delete it"
        (root / log_of(name)).parent.mkdir(exist_ok=True)
        (root / log_of(name)).write_text(f"{reason}\n", encoding="utf-8")
        raise StageFailed(name, 2, reason, log_of(name), transient=False, said=False)


def stop_all() -> None:
    """Kill every stage that runs, for good: nothing starts after this."""
    _stopped.set()
    for process in tuple(_running):
        end_group(process)


def stopped() -> bool:
    """Whether nothing is to start any more."""
    return _stopped.is_set()


def end_group(process: subprocess.Popen) -> None:
    """End a process that leads a group, and all of the group: first asked, so that a stage writes a last checkpoint."""
    deadline = time.monotonic() + GRACE
    try:
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def log_of(name: str) -> Path:
    """Where a stage's lines are kept, from the project's folder."""
    return LOGS / f"{name}.log"


def _locks(root: Path) -> Path:
    locks = root / ".dvc" / "tmp" / "stillhouse"
    locks.mkdir(parents=True, exist_ok=True)
    return locks


@contextmanager
def turn(root: Path, name: str) -> Iterator[None]:
    """Wait until no other process of the clone brings this stage up to date, and keep others waiting."""
    lock = FileLock(_locks(root) / f"{name}.lock", fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"[{name}] runs in another process: waiting for it", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _machine(root: Path, alone: bool) -> Iterator[None]:
    """Share the machine with other stages, those of other flows included, or have it to itself."""
    locks = _locks(project(root))  # a copy of the project is on the same machine
    # By hand: filelock's FileLock cannot be shared, and its ReadWriteLock is an SQLite database for what one call does.
    with (locks / ".machine").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _run_or_pull(root: Path, name: str, environment: dict[str, str], remote: Remote | None) -> End:
    if remote and remote.asked:
        try:
            return _run_mended(root, name, environment, "--pull")
        except StageBusy:
            raise
        except StageFailed as failed:
            if failed.said or _stopped.is_set():
                raise
            remote.give_up(f"[{name}] {failed.reason}")
    return _run_mended(root, name, environment)


def _run_mended(root: Path, name: str, environment: dict[str, str], *options: str) -> End:
    """As `_run`, and once more where DVC itself fails and there was something of its files to mend."""
    try:
        return _run(root, name, environment, *options)
    except StageBusy:
        raise
    except StageFailed as failed:
        if failed.said or _stopped.is_set() or not mend(root):
            raise
        print(f"[{name}] {failed.reason}: a kill or a full disk had left that, and it is mended: once more", flush=True)
    return _run(root, name, environment, *options)


def _run(root: Path, name: str, environment: dict[str, str], *options: str) -> End:
    """Have DVC bring a stage up to date."""
    log = log_of(name)
    (root / log).parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *options, name]
    lines: list[str] = []
    end = End.CACHED
    with (root / log).open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=SIDE_BY_SIDE | os.environ | {"PYTHONUNBUFFERED": "1", "PATH": python_first()} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # A group of its own: the stage and all that it starts can be killed together.
            start_new_session=True,
        )
        _running.add(process)
        try:
            if _stopped.is_set():
                end_group(process)
            assert process.stdout
            for line in process.stdout:
                # DVC names a remote that it cannot reach by its URL, and Prefect and MLflow keep the reason.
                line = hidden(line)
                file.write(line)
                file.flush()
                if line == f"Stage '{name}' didn't change, skipping\n":
                    end = End.UNCHANGED
                elif line == f"Running stage '{name}':\n":
                    end = End.RAN
                if not CHATTER.match(line):
                    print(f"[{name}] {line}", end="", flush=True)
                # The reason is among the last; a stage may print for days.
                lines = [*lines[-200:], line.rstrip("\n")]
            code = process.wait()
        except BaseException:
            end_group(process)
            raise
        finally:
            _running.discard(process)
    if code:
        raise _failure(name, code, lines, log)
    return end


def _failure(name: str, code: int, lines: list[str], log: Path) -> StageFailed:
    """What DVC's last lines say of the failure: its exit code is its own, not the stage's."""
    starts = [at for at, line in enumerate(lines) if line.startswith("ERROR: ")]
    said = " ".join(lines[starts[-1] :]).removeprefix("ERROR: ") if starts else ""
    before = lines[: starts[-1]] if starts else lines
    if codes := re.findall(r"exited with (-?\d+)", said):
        code = int(codes[-1])
        reason = next((line.strip() for line in reversed(before) if line.strip()), said).removeprefix("error: ")
    else:
        reason = said or next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    # A shell reports a command that a signal ended as 128 + its number.
    number = -code if code < 0 else code - 128
    if killed := number in {each.value for each in signal.Signals}:
        code, reason = -number, f"killed by {signal.Signals(number).name}"
    if not codes and BUSY.search(said):
        return StageBusy(name, code, reason.split(" If there are no processes")[0], log, transient=True)
    transient = killed or code == EXIT_TRANSIENT or (not codes and bool(PASSING.search(said)))
    return StageFailed(name, code, reason, log, transient and not _stopped.is_set(), said=bool(codes) or killed)
