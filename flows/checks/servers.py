"""The Prefect server and the MLflow store, and runs that wait to be sent."""

import json
import os
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from flows.checks.finding import PATIENCE, Finding, Setup, check_writable, fault, ok, reason, warning, within
from flows.dag.prefect import POOL
from stillhouse.errors import InputError
from tasks.stage.outputs import alive
from tasks.stage.params import read_yaml
from tasks.stage.secrets import without_login
from tasks.tracking.journal import OUTBOX
from tasks.tracking.store import STORE, moved_from, open_store, own_uri, prepare_environment, shown_uri, tracking_uri

PAGE = 100  # deployments that the server returns in one answer
DEPLOY = "prefect --no-prompt deploy --all"


def prefect(setup: Setup) -> Iterator[Finding]:
    """The server answers, in this version; its pool has a worker, and all of prefect.yaml is deployed."""
    given = os.environ.get("PREFECT_API_URL") or _url_of_profile()
    if not given:
        yield warning(
            "prefect",
            "PREFECT_API_URL is not set: flows start a server of their own while they run, deployments cannot",
            "where workers are wanted, make up, and export what it prints",
        )
        return
    url, user, password = without_login(given)
    try:
        with _client(url, user, password) as server:
            _answer(server.get("health"))
            yield _version(_answer(server.get("admin/version")))
            yield _worker(server)
            yield _deployments(setup, server)
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        remedy = "set PREFECT_API_AUTH_STRING" if code in (401, 403) else "its address ends in /api"
        yield fault("prefect", f"{url} answers {code} to {error.request.url.path}", remedy)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield fault(
            "prefect", f"{url} cannot be reached ({reason(error)})", "start it (make up), or unset PREFECT_API_URL"
        )
    except ValueError as error:
        yield fault("prefect", f"{url} does not answer as Prefect does ({reason(error)})", "correct PREFECT_API_URL")


def _client(url: str, user: str, password: str) -> httpx.Client:
    auth: tuple[str, str] | None = (user, password) if user else None
    if string := os.environ.get("PREFECT_API_AUTH_STRING"):
        name, _, secret = string.partition(":")
        auth = (name, secret)
    key = os.environ.get("PREFECT_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=f"{url.rstrip('/')}/", auth=auth, headers=headers, timeout=PATIENCE)


def _answer(response: httpx.Response) -> Any:
    return response.raise_for_status().json()


def _version(server: str) -> Finding:
    ours = metadata.version("prefect")
    if server != ours:
        remedy = "install the same on both: an older server may not know what a newer client asks"
        return warning("prefect", f"the server is {server}, this environment has {ours}", remedy)
    return ok("prefect", f"the server answers, version {server}")


def _worker(server: httpx.Client) -> Finding:
    remedy = f"prefect worker start --pool {POOL} --type process (make up does that)"
    response = server.post(f"work_pools/{POOL}/workers/filter", json={})
    if response.status_code == 404:
        return warning("worker", f"there is no work pool '{POOL}': deployments cannot run", remedy)
    online = [worker["name"] for worker in _answer(response) if worker["status"] == "ONLINE"]
    if not online:
        return warning("worker", f"no worker of pool '{POOL}' is online: deployments wait", remedy)
    return ok("worker", f"{len(online)} online in pool '{POOL}'")


def _deployments(setup: Setup, server: httpx.Client) -> Finding:
    file = setup.root / "prefect.yaml"
    stated = [each["name"] for each in read_yaml(file).get("deployments") or ()]
    there: list[str] = []
    while page := _answer(server.post("deployments/filter", json={"limit": PAGE, "offset": len(there)})):
        there += [each["name"] for each in page]
        if len(page) < PAGE:
            break
    missing = [name for name in stated if name not in there]
    if missing:
        return warning("deployments", f"the server lacks {', '.join(missing)} of {file.name}", DEPLOY)
    return ok("deployments", f"the server has all {len(stated)} of {file.name}")


def _url_of_profile() -> str:
    """The URL of the user's Prefect profile. Reading it imports Prefect, which takes seconds: only where one exists."""
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    if not (home / "profiles.toml").is_file():
        return ""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or ""


def mlflow(setup: Setup) -> Iterator[Finding]:
    """The store can be read and written; no run waits to be sent."""
    mode = os.environ.get("STILLHOUSE_TRACKING", "on")
    if mode not in ("on", "off"):
        yield fault("mlflow", f"STILLHOUSE_TRACKING = {mode!r}", "choose on or off")
    if mode == "off":
        yield warning("mlflow", "STILLHOUSE_TRACKING=off: no run is tracked", "unset it to track them")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{PATIENCE:.0f}")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    prepare_environment()
    uri = tracking_uri()
    yield _server(uri) if uri.startswith("http") else _database(uri)
    yield from _outbox()


def _server(uri: str) -> Finding:
    away = "start it (make up), correct MLFLOW_TRACKING_URI, or unset it for the store in mlruns/"
    try:
        # Faster than MLflow, which takes seconds to import, and retries.
        httpx.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return fault("mlflow", f"{shown_uri()} cannot be reached ({reason(error)})", away)
    from mlflow.exceptions import MlflowException

    def write() -> None:
        client, experiment = open_store()
        client.set_experiment_tag(experiment, "doctor", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    try:
        within(4 * PATIENCE, write)
    except (MlflowException, OSError) as error:
        remedy = "its log says why; with authentication, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return fault("mlflow", f"{shown_uri()} cannot be read and written ({reason(error)})", remedy)
    return ok("mlflow", f"{shown_uri()} answers and can be written")


def _database(uri: str) -> Finding:
    """Check a database without MLflow, which would spend many seconds to make tables in an empty one."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    remedy = "correct MLFLOW_TRACKING_URI, or the rights there; unset, it is the store in mlruns/"
    file = Path(uri.removeprefix("sqlite:///"))
    try:
        if uri.startswith("sqlite:///"):
            check_writable(file.parent)
            if not file.exists():
                return ok("mlflow", f"{shown_uri()} is not there yet: the first run makes it")
        limit = {"timeout": PATIENCE} if uri.startswith("sqlite") else {"connect_timeout": int(PATIENCE)}
        engine = create_engine(uri, connect_args=limit)
        with engine.connect() as connection:
            if not inspect(connection).has_table("experiments"):
                return ok("mlflow", f"{shown_uri()} is empty: the first run makes its tables")
            # Changes no row, but needs the right to.
            connection.execute(text("UPDATE experiments SET name = name WHERE 1 = 0"))
            connection.rollback()
    except (ArgumentError, NoSuchModuleError, ImportError):
        return fault("mlflow", f"{shown_uri()} is no store: MLflow's are http:// or a database's URL", remedy)
    except (SQLAlchemyError, OSError) as error:
        # SQLAlchemy's own text adds statements and parameters.
        cause = getattr(error, "orig", None) or error
        return fault("mlflow", f"{shown_uri()} cannot be read and written ({reason(cause)})", remedy)
    if uri == own_uri() and (former := moved_from()):
        return warning(
            "mlflow", f"{shown_uri()} was made at {former}, and its paths lead there", "the next run sets them right"
        )
    return ok("mlflow", f"{shown_uri()} can be read and written")


def _outbox() -> Iterator[Finding]:
    try:
        pids = {file: _writer(file) for file in OUTBOX.glob("*.jsonl")}
    except InputError as error:
        yield fault("outbox", str(error))
        return
    waiting = [file for file, pid in pids.items() if not alive(pid)]
    refused = sorted(OUTBOX.glob("*.refused"))
    if refused:
        remedy = f"{STORE}/sender.log says why; delete them, or rename them to .jsonl and send them again"
        yield warning("outbox", f"MLflow refused {len(refused)} runs in {OUTBOX}", remedy)
    if waiting:
        yield warning(
            "outbox", f"{len(waiting)} runs wait in {OUTBOX}", "send them: python -m tasks.tracking.sender --all"
        )
    elif not refused:
        yield ok("outbox", "no run waits to be sent")


def _writer(file: Path) -> int:
    """The id of the process that writes a journal."""
    try:
        with file.open(encoding="utf-8") as lines:
            return int(json.loads(next(lines))["pid"])
    except (ValueError, KeyError, StopIteration) as error:
        raise InputError(f"'{file}' is no journal ({reason(error)}): delete it") from None
