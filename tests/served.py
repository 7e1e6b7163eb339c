"""Servers that a test starts, and waits for."""

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 120.0  # seconds


def is_ready(url: str) -> bool:
    """Whether somebody is there and ready."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    """Wait until a server answers at an address; one that ends before, or takes too long, fails with its log."""
    deadline = time.monotonic() + PATIENCE
    while not is_ready(url):
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)
