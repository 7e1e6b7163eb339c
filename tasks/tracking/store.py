"""The MLflow store of this project: its address, its experiment, and the settings that MLflow reads.

With `sender`, the only module of `tasks` that imports mlflow, and only when the store is opened.
"""

import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.stage.secrets import without_login
from tasks.tracking.moved import follow, former_place

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

TEMPORARY = (".dvc", "tmp", "exps")  # below a project, where DVC runs experiments that are queued, or asked to be apart
# Below a project, where the copies of it are:
SEARCHES = Path(".search")  # in which a search runs its trials
FLEET = Path(".fleet")  # in which a runner runs stages of flows elsewhere
COPIES = (SEARCHES.name, FLEET.name)


def _store(here: Path) -> Path:
    """`mlruns` of the project, by its place from here: what is in a temporary clone or a copy is not kept."""
    places = (here, *here.parents)
    project = next((place.parents[2] for place in places if place.parts[-3:] == TEMPORARY), None)
    project = project or next((place.parent for place in places if place.name in COPIES), None)
    return Path("mlruns") if project is None else project / "mlruns"


STORE = _store(Path.cwd())
EXPERIMENT = "stillhouse"


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
        if uri == own_uri() and (former := moved_from()):
            follow(STORE, former)
            print(f"MLflow: the store was at {former}: its paths are now those of {STORE.resolve()}", file=sys.stderr)
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found:
            return client, found.experiment_id
        # A server chooses itself where artifacts go.
        artifacts = None if uri.startswith("http") else (STORE / "artifacts").resolve().as_uri()
        try:
            return client, client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        except MlflowException as error:
            # Another machine made it in the meantime, on the same server.
            found = client.get_experiment_by_name(EXPERIMENT)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or not found:
                raise
            return client, found.experiment_id


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the SQLite store of this project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_uri()


def moved_from() -> str:
    """Where this project's store was when its paths were written, if that is elsewhere; else, and with none, empty."""
    return former_place(STORE, EXPERIMENT) if (STORE / "mlflow.db").is_file() else ""


def shown_uri() -> str:
    """The tracking URI without user, password and query."""
    parts = urlsplit(tracking_uri())
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    return f"{parts.scheme}://{host}{parts.path}"


def own_uri() -> str:
    """The SQLite store in this project's folder."""
    return f"sqlite:///{STORE.resolve()}/mlflow.db"


def prepare_environment() -> None:
    """Settings that MLflow reads when it is imported or called, unless the user has set them.

    A login in MLFLOW_TRACKING_URI moves to variables that MLflow does not print: its errors and warnings quote the URI.
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
    # The sender tries again by itself; MLflow's own seven retries would block it for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
