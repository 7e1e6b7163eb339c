"""A real Prefect server with a work pool, for as long as a block runs."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.dag.servers import prefect_command
from tests.clones import ROOT, environment, free_port


@contextmanager
def prefect_server(home: Path, pool: str) -> Iterator[dict[str, str]]:
    """Start it, make the pool, whose runs are processes, and stop it in the end; the variables of its clients.

    Args:
        home: an empty folder, where its database and its log go.
    """
    port = free_port()
    variables = {"PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    variables |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PYTHONPATH": str(ROOT), "STILLHOUSE_TRACKING": "off"}
    variables |= {"PREFECT_WORKER_QUERY_SECONDS": "2"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(prefect_command(port), env=environment() | variables, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 180
        create = [sys.executable, "-m", "prefect", "work-pool", "create", pool, "--type", "process", "--overwrite"]
        while subprocess.run(create, env=environment() | variables, capture_output=True, check=False).returncode:
            assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()[-2000:]
            time.sleep(1)
        yield variables
    finally:
        process.terminate()
        process.wait()
