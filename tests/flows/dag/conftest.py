"""An S3 server that runners share results by."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.clones import free_port

BUCKET = "models"
KEYS = {"aws_access_key_id": "runner", "aws_secret_access_key": "not-for-the-log"}
LOGIN = {key.removeprefix("aws_"): value for key, value in KEYS.items()}


@pytest.fixture
def s3() -> Iterator[str]:
    """A real S3 server on loopback, with a bucket: its URL."""
    import boto3

    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", **KEYS).create_bucket(Bucket=BUCKET)
        yield url
        server.terminate()
