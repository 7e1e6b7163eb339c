"""The MLflow run of a whole recipe, above the runs of its stages."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.stage.params import PARAMS, read_yaml
from tasks.tracking.journal import OUTBOX, StageRun, append, away_since, entries, flatten, start_sender
from tasks.tracking.provenance import data_tags, git_tags

UI = "mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db"  # shows the store of this clone, on loopback
TASK = Path("data/task")
LONGEST = 7_900  # characters of a note: MLflow takes 8,000 in a tag
PATIENCE = 60.0  # seconds until the store answers; making its tables takes a while


@dataclass(frozen=True)
class Parent:
    """The recipe's run, and its id in MLflow: empty where MLflow is away or tracking is off."""

    run: StageRun
    run_id: str

    @property
    def environment(self) -> dict[str, str]:
        """What stages need to find their parent."""
        return {"STILLHOUSE_PARENT_RUN_ID": self.run_id} if self.run_id else {}

    def describe(self, note: str) -> None:
        """Give the run a description that MLflow's page shows, in Markdown, and the task that it was about."""
        if self.run.journal:
            tags = {"mlflow.note.content": _cut(note)} | data_tags([TASK])
            append(self.run.journal, {"op": "tags", "values": tags})


@contextmanager
def parent_run(name: str, kind: str, tags: dict[str, str], params: Mapping[str, Any] | None = None) -> Iterator[Parent]:
    """Open a run for the length of a flow; all of params.yaml is logged on it, or `params`, where they are given."""
    if not _tracked():
        yield Parent(StageRun(None), "")
        return
    run = StageRun(OUTBOX / f"{uuid.uuid4().hex}.jsonl")
    run.start(name, flatten(read_yaml(PARAMS) if params is None else params), {"kind": kind} | git_tags() | tags)
    start_sender(lives_with=os.getpid())
    status, error = "FAILED", ""
    try:
        yield Parent(run, _wait_for_id(run))
        status = "FINISHED"
    except BaseException as fault:
        status = "FAILED" if isinstance(fault, Exception) else "KILLED"
        error = " ".join(str(fault).split())[:500]
        raise
    finally:
        run.end(status, error)


def warm_up() -> None:
    """Let another process open the MLflow store, which takes seconds, while this one starts Prefect."""
    if _tracked():
        start_sender(lives_with=os.getpid())


def _cut(note: str) -> str:
    """A note with as many of its lines as MLflow takes in a tag."""
    if len(note) <= LONGEST:
        return note
    return f"{note[:LONGEST].rpartition(chr(10))[0]}\n…"


def _tracked() -> bool:
    return os.environ.get("STILLHOUSE_TRACKING") != "off"


def _wait_for_id(run: StageRun) -> str:
    """Wait for the sender to write the id into the journal: so the store is made before several stages run at once."""
    assert run.journal
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for entry in entries(run.journal.read_text(encoding="utf-8")):
            if entry["op"] == "run":
                return entry["id"]
        if away_since(run.started):
            break
        time.sleep(0.05)
    print("tracking: MLflow is away: the stages' runs will have no parent", flush=True)
    return ""
