"""The process that carries journals from mlruns/outbox to MLflow. The only file of `tasks` that imports mlflow.

One runs at a time in a project (a file lock); it ends when all is sent, or when MLflow is away and no stage runs any
more. Sending twice is harmless: MLflow keeps equal metrics once, and a journal remembers its run.

    python -m tasks.tracking.sender --all

sends what earlier runs left behind, and says so: exit code 0 if nothing is left, 75 while MLflow is away.
"""

import argparse
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.stage import program
from tasks.stage.outputs import alive, fresh_file
from tasks.stage.secrets import without_login
from tasks.tracking.journal import AWAY, OUTBOX, STORE, append

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "stillhouse"
EVERY = 0.3  # seconds between two looks into the outbox
RETRY = 3.0  # seconds until MLflow is tried again
LINGER = 5.0  # seconds without work before it ends: the next stage may be about to start
# The server was there and said no: it would say no again, for ever.
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
    """Say what became of the journals that waited.

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
    """Send journals while they grow; return when nobody writes any more."""
    letters: dict[Path, Letter] = {}
    post = Post()
    if lives_with:
        # The flow is still starting Prefect: its first run will find the store open.
        post.open()
    busy = time.monotonic()
    while True:
        for path in sorted(OUTBOX.glob("*.jsonl")):
            letters.setdefault(path, Letter(path))
        reached = all(post.send(letter) for letter in letters.values())
        if any(alive(letter.pid) for letter in letters.values()) or (lives_with and alive(lives_with)):
            busy = time.monotonic()
        letters = {path: letter for path, letter in letters.items() if not letter.done}
        if time.monotonic() - busy > LINGER:
            return
        time.sleep(EVERY if reached else RETRY)


class Letter:
    """One journal on its way."""

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
        for line in map(json.loads, whole.splitlines()):
            if line["op"] == "run":
                self.run_id = line["id"]
            else:
                self.lines.append(line)

    def remove(self, suffix: str = "") -> None:
        """Take it out of the outbox, or keep it there under another suffix."""
        if suffix:
            self.path.rename(self.path.with_suffix(suffix))
        else:
            self.path.unlink()
            shutil.rmtree(self.path.with_suffix(""), ignore_errors=True)
        self.done = True


class Post:
    """The way to MLflow: opened when first needed, and again after a failure."""

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

    def send(self, letter: Letter) -> bool:
        """Send what is new in a journal; False where MLflow cannot be reached."""
        if self.client is None and not self.open():
            return False
        assert self.client
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            send(letter, self.client, self.experiment)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            code = getattr(error, "error_code", "")
            if code not in REFUSALS:
                return self._away(error)
            print(f"MLflow refused {letter.path.name} ({code}): kept as {letter.path.stem}.refused", file=sys.stderr)
            letter.remove(".refused")
        AWAY.unlink(missing_ok=True)
        return True

    def _away(self, error: Exception) -> bool:
        # The type alone: the text of an error may hold a URI with a password in it.
        with fresh_file(AWAY) as file:  # a stage may look at any moment
            file.write_text(f"{shown_uri()}: {type(error).__name__}", encoding="utf-8")
        self.client = None
        return False


def send(letter: Letter, client: "MlflowClient", experiment: str) -> None:
    """Send the new lines of a journal; with the last one it is removed."""
    # Asked before reading: a process may write its last line and end in between.
    dead = not alive(letter.pid)
    letter.read()
    if not letter.run_id:
        first = letter.lines[0]
        run = client.create_run(experiment, start_time=first["time"], run_name=first["name"], tags=first["tags"])
        letter.run_id = run.info.run_id
        append(letter.path, {"op": "run", "id": letter.run_id})
    while letter.sent < len(letter.lines):
        letter.sent += _send_next(letter, client)
    ended = letter.lines[-1]["op"] == "end"
    if dead and not ended:
        client.set_terminated(letter.run_id, "KILLED")
    if dead or ended:
        letter.remove()


def _send_next(letter: Letter, client: "MlflowClient") -> int:
    """Send the next line, or several lines of metrics at once; how many."""
    from mlflow.entities import Metric, Param

    line = letter.lines[letter.sent]
    if line["op"] == "start":
        params = [Param(key, value) for key, value in line["params"].items()]
        for at in range(0, len(params), 100):
            client.log_batch(letter.run_id, params=params[at : at + 100])
    elif line["op"] == "artifact":
        client.log_artifact(letter.run_id, str(letter.path.with_suffix("") / line["name"]))
    elif line["op"] == "end":
        if line["error"]:
            client.set_tag(letter.run_id, "error", line["error"])
        client.set_terminated(letter.run_id, line["status"], line["time"])
    else:
        metrics: list[Metric] = []
        count = 0
        for each in letter.lines[letter.sent :]:
            if each["op"] != "metrics" or len(metrics) > 500:
                break
            metrics += [Metric(key, value, each["time"], each["step"]) for key, value in each["values"].items()]
            count += 1
        client.log_batch(letter.run_id, metrics=metrics)
        return count
    return 1


def open_store() -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment; both are made on first use.

    Raises:
        MlflowException, SQLAlchemyError, OSError: the store cannot be reached.
    """
    prepare_environment()
    import logging

    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = tracking_uri()
    STORE.mkdir(exist_ok=True)
    # One at a time: two processes that create the tables of one SQLite file disturb each other.
    with (STORE / ".init.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found:
            return client, found.experiment_id
        # A server has its own place for artifacts.
        artifacts = None if uri.startswith("http") else (STORE / "artifacts").resolve().as_uri()
        try:
            return client, client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        except MlflowException as error:
            # Another machine was faster on the same server.
            found = client.get_experiment_by_name(EXPERIMENT)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or not found:
                raise
            return client, found.experiment_id


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the SQLite store of this project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.resolve()}/mlflow.db"


def shown_uri() -> str:
    """The tracking URI without user, password and query."""
    parts = urlsplit(tracking_uri())
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    return f"{parts.scheme}://{host}{parts.path}"


def prepare_environment() -> None:
    """Settings that MLflow reads when it is imported or called, unless the user has set them.

    A login in MLFLOW_TRACKING_URI moves to where MLflow shows it to nobody: its errors and warnings quote the URI.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if given.startswith("http"):
        os.environ["MLFLOW_TRACKING_URI"], user, password = without_login(given)
        if user:
            os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = user, password
    # Not for the user to set: its default is to run what a pickle says.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # The outbox is the patient one: MLflow's own seven retries would hold things up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


if __name__ == "__main__":
    program.run(main)
