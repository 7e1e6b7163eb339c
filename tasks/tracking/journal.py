"""One MLflow run for each execution of a stage, without a risk for the stage's result and without waiting.

A stage writes its run as a journal, a file of JSON lines in mlruns/outbox. `tasks.tracking.sender`, a process of its
own, sends journals to MLflow while they grow: importing MLflow and opening its store takes four seconds, which pass
while the stage works, once for all stages of a recipe. If the server cannot be reached, at the start, in the middle or
at the end, the journal stays and the next run sends it. A journal whose process was killed ends as KILLED.

STILLHOUSE_TRACKING   on (default) | off
STILLHOUSE_RECIPE, STILLHOUSE_PARENT_RUN_ID   set by flows
MLFLOW_TRACKING_URI   else SQLite and artifacts in mlruns/
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.secrets import hidden
from tasks.tracking.provenance import data_tags, git_tags
from tasks.tracking.store import STORE

OUTBOX = STORE / "outbox"
AWAY = OUTBOX / ".away"  # written by the sender whenever MLflow cannot be reached
PATIENCE = 20.0  # seconds that a finished stage waits until its run is sent


@contextmanager
def stage_run(kind: str, params: BaseModel | Mapping[str, Any], reads: Sequence[Path] = ()) -> Iterator["StageRun"]:
    """Track one execution of a stage.

    Args:
        kind: the kind of stage; the run takes DVC's stage name where DVC started it.
        params: the blocks that the stage reads; logged flat, as `block.key`.
        reads: what the stage reads; their hashes in dvc.lock become tags.

    Raises:
        InputError: STILLHOUSE_TRACKING is neither on nor off. Never anything about the tracking server.
    """
    mode = os.environ.get("STILLHOUSE_TRACKING", "on")
    if mode not in ("on", "off"):
        raise InputError(f"STILLHOUSE_TRACKING = {mode!r}: choose on or off")
    # On several GPUs every process of the stage calls this; the first one's run is tracked.
    if mode == "off" or os.environ.get("RANK", "0") != "0":
        yield StageRun(None)
        return
    run = StageRun(OUTBOX / f"{uuid.uuid4().hex}.jsonl")
    run.start(os.environ.get("DVC_STAGE", kind), flatten(params), stage_tags(kind, reads))
    start_sender()
    status, error = "FAILED", ""
    try:
        yield run
        status = "FINISHED"
    except BaseException as fault:
        status = "KILLED" if isinstance(fault, KeyboardInterrupt) else "FAILED"
        error = " ".join(f"{type(fault).__name__}: {fault}".split())[:500]
        raise
    finally:
        run.end(status, error)


class StageRun:
    """What a stage writes about itself: lines of its journal, or nothing."""

    def __init__(self, journal: Path | None) -> None:
        self.journal = journal
        self.started = time.time()

    def start(self, name: str, params: dict[str, str], tags: dict[str, str]) -> None:
        """Write the first line; the whole file appears at once, so that the sender never meets an empty one."""
        if self.journal:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            first = {"op": "start", "pid": os.getpid(), "time": _now(), "name": name, "params": params, "tags": tags}
            draft = self.journal.with_suffix(".draft")
            draft.write_text(hidden(json.dumps(first)) + "\n", encoding="utf-8")
            draft.rename(self.journal)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log figures by name; `step` counts optimizer steps."""
        self._write(
            {"op": "metrics", "time": _now(), "step": step, "values": {k: float(v) for k, v in metrics.items()}}
        )

    def log_artifact(self, path: Path) -> None:
        """Log a file or a folder as it is now: it is copied, so that the caller may move or change it at once."""
        if self.journal:
            copies = self.journal.with_suffix("")
            copies.mkdir(exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, copies / path.name, dirs_exist_ok=True)
            else:
                shutil.copy2(path, copies / path.name)
            self._write({"op": "artifact", "name": path.name})

    def end(self, status: str, error: str) -> None:
        """Write the last line, and wait a little until the run is sent: a container may end with the stage."""
        if self.journal:
            self._write({"op": "end", "time": _now(), "status": status, "error": error})
            deadline = time.monotonic() + PATIENCE
            while self.journal.exists():
                away = away_since(self.started)
                if away or time.monotonic() > deadline:
                    why = f"MLflow is away ({away or 'it is slow'})"
                    print(f"tracking: {why}: this run waits in {OUTBOX}, the next one sends it", flush=True)
                    return
                time.sleep(0.05)

    def _write(self, line: dict[str, Any]) -> None:
        if self.journal:
            append(self.journal, line)


def away_since(moment: float) -> str:
    """What the sender said after `moment` (seconds of the epoch) of an MLflow that it cannot reach; else empty."""
    try:
        return AWAY.read_text(encoding="utf-8").strip() if AWAY.stat().st_mtime > moment else ""
    except FileNotFoundError:
        return ""  # the sender removes it when MLflow answers


def start_sender(lives_with: int | None = None) -> None:
    """Start the process that sends what is in the outbox; where one runs already, the new one leaves at once.

    Args:
        lives_with: the process (a flow) for whose whole life it should stay; else it ends soon after the last stage.
    """
    OUTBOX.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tasks.tracking.sender"]
    if lives_with:
        command += ["--lives-with", str(lives_with)]
    with (STORE / "sender.log").open("ab") as log:
        # A session of its own: it must outlive a stage that is killed, to report it.
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=program.environment(),
        )


def append(journal: Path, line: dict[str, Any]) -> None:
    """Add a line in one write to a file opened for appending: lines of two processes never mix.

    Raises:
        OSError: the disk is full, whether nothing of the line was written or a part.
    """
    text = hidden(json.dumps(line)).encode() + b"\n"
    with journal.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            # A line that the disk had no room for: what comes now is none of it.
            text = b"\n" + text
        if file.write(text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(journal))


def entries(text: str) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal; one that a full disk or a kill cut off is none."""
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def flatten(params: BaseModel | Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `block.key`; what is not text as JSON, cut at MLflow's 6,000 characters."""
    tree = params.model_dump(mode="json") if isinstance(params, BaseModel) else params
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, (BaseModel, Mapping)):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = (value if isinstance(value, str) else json.dumps(value))[:6000]
    return flat


def stage_tags(kind: str, reads: Sequence[Path]) -> dict[str, str]:
    """Recipe, stage, git commit, and the hashes of what the stage reads."""
    tags = {"stage": os.environ.get("DVC_STAGE", kind), "kind": kind} | git_tags() | data_tags(reads)
    if recipe := os.environ.get("STILLHOUSE_RECIPE"):
        tags["recipe"] = recipe
    if parent := os.environ.get("STILLHOUSE_PARENT_RUN_ID"):
        tags["mlflow.parentRunId"] = parent
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc_experiment"] = experiment
    return tags


def _now() -> int:
    return int(time.time() * 1000)
