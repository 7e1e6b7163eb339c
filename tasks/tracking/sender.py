"""The process that sends journals from mlruns/outbox to MLflow.

One runs at a time in a project (a file lock); it ends when all is sent, or when MLflow is away and no stage runs any
more. Sending twice is harmless: MLflow keeps equal metrics once, and a journal remembers its run.

    python -m tasks.tracking.sender --all

sends what earlier runs left behind, and prints what was sent: exit code 0 if nothing is left, 75 while MLflow is away.
"""

import argparse
import fcntl
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.stage import program
from tasks.stage.outputs import alive, fresh_file
from tasks.tracking.journal import AWAY, OUTBOX, append, entries
from tasks.tracking.known import log_data, source_tags
from tasks.tracking.store import STORE, open_store, prepare_environment, shown_uri

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EVERY = 0.3  # seconds between two looks into the outbox
RETRY = 3.0  # seconds until MLflow is tried again
LINGER = 5.0  # seconds without work before it ends: the next stage may be about to start
JOURNAL = "journal"  # a run's tag: the name of the journal that it was sent from
# The server answered and refused: it would refuse the same again.
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")


def main() -> None:
    """Send until there is nothing to send."""
    parser = argparse.ArgumentParser(prog="python -m tasks.tracking.sender", description=main.__doc__)
    parser.add_argument("--lives-with", type=int, metavar="PID", help="stay at least as long as this process")
    parser.add_argument("--all", action="store_true", help="say what was sent, and leave with 75 if something is left")
    arguments = parser.parse_args()
    OUTBOX.mkdir(parents=True, exist_ok=True)
    waiting = set(OUTBOX.glob("*.jsonl"))
    send_all(arguments.lives_with, patient=arguments.all)
    if arguments.all:
        tell(waiting)


def tell(waiting: set[Path]) -> None:
    """Print what became of the journals that waited.

    Raises:
        ConnectionError: some wait still.
    """
    left = {path for path in waiting if path.exists()}
    refused = len(list(OUTBOX.glob("*.refused")))
    print(f"{len(waiting) - len(left)} of {len(waiting)} runs that waited in {OUTBOX} are out of it", flush=True)
    if refused:
        print(f"{refused} that MLflow refused, now or before, are kept there as *.refused", flush=True)
    if left:
        raise ConnectionError(f"{len(left)} runs wait in {OUTBOX}: MLflow is away ({shown_uri()})")


def send_all(lives_with: int | None, patient: bool = False) -> None:
    """Send until there is nothing to send, unless another process does; a patient one waits for its turn."""
    left: set[Path] = set()
    # A stage that starts while we are leaving sees our lock, so we look once more after giving it up.
    while not left or set(OUTBOX.glob("*.jsonl")) - left:
        with (STORE / ".sender.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if patient else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            deliver(lives_with)
            left = set(OUTBOX.glob("*.jsonl"))
        if not left:
            return


def deliver(lives_with: int | None) -> None:
    """Send journals while they grow; return when no process writes any more."""
    journals: dict[Path, Journal] = {}
    connection = Connection()
    if lives_with:
        # The flow is still starting Prefect: its first run will find the store open.
        connection.open()
    busy = time.monotonic()
    while True:
        for path in sorted(OUTBOX.glob("*.jsonl")):
            journals.setdefault(path, Journal(path))
        reached = all(connection.send(journal) for journal in journals.values())
        if any(alive(journal.pid) for journal in journals.values()) or (lives_with and alive(lives_with)):
            busy = time.monotonic()
        journals = {path: journal for path, journal in journals.items() if not journal.done}
        if time.monotonic() - busy > LINGER:
            return
        time.sleep(EVERY if reached else RETRY)


class Journal:
    """A journal that is being sent: how far it was read, and how far it was sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_to = 0  # bytes
        self.lines: list[dict[str, Any]] = []
        self.sent = 0  # lines
        self.run_id = ""
        self.done = False
        self.read()
        self.pid = self.lines[0]["pid"]

    def read(self) -> None:
        """Take in the new lines that are complete."""
        with self.path.open("rb") as file:
            file.seek(self.read_to)
            whole, newline, _ = file.read().rpartition(b"\n")
        self.read_to += len(whole) + len(newline)
        for line in entries(whole.decode()):
            if line["op"] == "run":
                self.run_id = line["id"]
            else:
                self.lines.append(line)

    def remove(self, suffix: str = "") -> None:
        """Remove it from the outbox, or keep it there under another suffix."""
        if suffix:
            self.path.rename(self.path.with_suffix(suffix))
        else:
            self.path.unlink()
            shutil.rmtree(self.path.with_suffix(""), ignore_errors=True)
        self.done = True


class Connection:
    """The connection to MLflow: opened when first needed, and again after a failure."""

    def __init__(self) -> None:
        self.client: MlflowClient | None = None
        self.experiment = ""

    def open(self) -> bool:
        """Reach the store; False where it cannot be reached."""
        prepare_environment()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            self.client, self.experiment = open_store()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            return self._away(error)
        return True

    def send(self, journal: Journal) -> bool:
        """Send what is new in a journal; False where MLflow cannot be reached."""
        if self.client is None and not self.open():
            return False
        assert self.client
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            send(journal, self.client, self.experiment)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            code = getattr(error, "error_code", "")
            if code not in REFUSALS:
                return self._away(error)
            print(f"MLflow refused {journal.path.name} ({code}): kept as {journal.path.stem}.refused", file=sys.stderr)
            journal.remove(".refused")
        AWAY.unlink(missing_ok=True)
        return True

    def _away(self, error: Exception) -> bool:
        # The type alone: the text of an error may hold a URI with a password in it.
        with fresh_file(AWAY) as file:  # a stage may look at any moment
            file.write_text(f"{shown_uri()}: {type(error).__name__}", encoding="utf-8")
        self.client = None
        return False


def send(journal: Journal, client: "MlflowClient", experiment: str) -> None:
    """Send the new lines of a journal; with the last one it is removed."""
    # Asked before reading: a process may write its last line and end in between.
    dead = not alive(journal.pid)
    journal.read()
    if not journal.run_id:
        journal.run_id = _one_run(journal, client, experiment)
        append(journal.path, {"op": "run", "id": journal.run_id})
    while journal.sent < len(journal.lines):
        journal.sent += _send_next(journal, client)
    ended = journal.lines[-1]["op"] == "end"
    if dead and not ended:
        client.set_terminated(journal.run_id, "KILLED")
    if dead or ended:
        journal.remove()


def _one_run(journal: Journal, client: "MlflowClient", experiment: str) -> str:
    """The id of the journal's run, which is made where there is none.

    There may be one that the journal does not know of: the sender was killed, or MLflow's answer was lost, and then its
    client asks a second time. Nothing would ever end the others.
    """
    tag = {JOURNAL: journal.path.stem}
    find = partial(client.search_runs, [experiment], f"tags.{JOURNAL} = '{journal.path.stem}'")
    if not (found := list(find())):
        first = journal.lines[0]
        tags = first["tags"] | source_tags(first["tags"]) | tag
        client.create_run(experiment, start_time=first["time"], run_name=first["name"], tags=tags)
        found = list(find())
    for other in found[1:]:
        client.delete_run(other.info.run_id)
    return found[0].info.run_id


def _send_next(journal: Journal, client: "MlflowClient") -> int:
    """Send the next line, or several lines of metrics at once; how many."""
    from mlflow.entities import Metric, Param

    line = journal.lines[journal.sent]
    if line["op"] == "start":
        params = [Param(key, value) for key, value in line["params"].items()]
        for at in range(0, len(params), 100):
            client.log_batch(journal.run_id, params=params[at : at + 100])
        log_data(client, journal.run_id, line["tags"])
    elif line["op"] == "tags":
        for key, value in line["values"].items():
            client.set_tag(journal.run_id, key, value)
        log_data(client, journal.run_id, line["values"])
    elif line["op"] == "artifact":
        client.log_artifact(journal.run_id, str(journal.path.with_suffix("") / line["name"]))
    elif line["op"] == "end":
        if line["error"]:
            client.set_tag(journal.run_id, "error", line["error"])
        client.set_terminated(journal.run_id, line["status"], line["time"])
    else:
        metrics: list[Metric] = []
        count = 0
        for each in journal.lines[journal.sent :]:
            if each["op"] != "metrics" or len(metrics) > 500:
                break
            metrics += [Metric(key, value, each["time"], each["step"]) for key, value in each["values"].items()]
            count += 1
        client.log_batch(journal.run_id, metrics=metrics)
        return count
    return 1


if __name__ == "__main__":
    program.run(main)
