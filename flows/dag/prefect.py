"""Start a flow from a terminal: with a temporary Prefect server where there is none, and failures in a few lines."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from flows.dag.process import StagesFailed
from tasks.stage.secrets import without_login

POOL = "stillhouse"  # the work pool that prefect.yaml names and workers take runs from
# Its queues: Prefect's own, for flows; and two for single stages of flows with `pool`, of which a runner takes a few.
FLOWS, STAGES, GPU_STAGES = "default", "stages", "gpu"
# What the user has set stays.
DEFAULTS = {
    # Stages print their own lines, and `prefect_flow` prints what failed.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    # On two busy cores Prefect's 20 s are not enough.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


@contextmanager
def prefect_flow(root: Path) -> Iterator[None]:
    """Run a flow in this context: Prefect is ready, and failed stages end the process with their lines and exit code 1.

    Without a server, one is started on loopback for the life of this process. Its data go to the project's .prefect,
    unless the user has a Prefect home.

    Raises:
        ConnectionError: PREFECT_API_URL names a server that does not answer.
    """
    if "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect" / "profiles.toml").exists():
        os.environ["PREFECT_HOME"] = str(root / ".prefect")
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if url := os.environ.get("PREFECT_API_URL"):
        # Prefect's messages quote the URL, but not this setting.
        os.environ["PREFECT_API_URL"], user, password = without_login(url)
        if user:
            os.environ["PREFECT_API_AUTH_STRING"] = f"{user}:{password}"
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_HOME

    home = PREFECT_HOME.value()
    home.mkdir(parents=True, exist_ok=True)
    # Before the server is started, which takes a minute on a busy machine: the default action would leave it behind.
    # Prefect raises the signal again when it has stopped a flow.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    # Two servers that make the tables of one database disturb each other.
    with FileLock(home / "stillhouse.lock", fallback_to_soft=False):
        client = get_client(sync_client=True)
    if (fault := client.api_healthcheck()) is not None:
        where = os.environ.get("PREFECT_API_URL", "its own address")
        raise ConnectionError(f"Prefect at {where} cannot be reached ({type(fault).__name__})")
    try:
        yield
    except StagesFailed as failed:
        print(f"\nerror: {failed}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the stages that are done", file=sys.stderr, flush=True)
        raise SystemExit(130) from None


def make_queues(api: str) -> None:
    """Give the pool its queues for stages: a worker cannot ask for one that is not there.

    Args:
        api: the server's address, which ends in /api.
    """
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import ObjectAlreadyExists

    with SyncPrefectClient(api) as client:
        for queue in (STAGES, GPU_STAGES):
            with suppress(ObjectAlreadyExists):
                client.create_work_queue(queue, work_pool_name=POOL)
