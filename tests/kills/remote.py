"""An S3 server in memory, as the DVC remote that the runners share."""

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.clones import free_port, run

BUCKET = "kills"
LOGIN = {"access_key_id": "testing", "secret_access_key": "testing"}
PATIENCE = 60.0  # seconds until the server answers


class Remote:
    """The server and its bucket."""

    def __init__(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}", timeout=5).close()
                break
            except OSError:
                assert self._server.poll() is None and time.monotonic() < deadline, "the S3 server does not answer"
                time.sleep(0.2)
        self.empty()

    def empty(self) -> None:
        """Throw away all that it holds."""
        url = f"http://127.0.0.1:{self.port}"
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=60).close()
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=60).close()

    def stop(self) -> None:
        """End the server."""
        self._server.terminate()
        self._server.wait(30)


def point_to(folder: Path, port: int, **settings: str) -> None:
    """Make the bucket behind a port a clone's default remote."""
    dvc = (sys.executable, "-m", "dvc", "remote")
    run(folder, *dvc, "add", "--local", "--default", "shared", f"s3://{BUCKET}/dvc")
    told = LOGIN | {"endpointurl": f"http://127.0.0.1:{port}", "connect_timeout": "5", "read_timeout": "20"} | settings
    for key, value in told.items():
        run(folder, *dvc, "modify", "--local", "shared", key, value)
