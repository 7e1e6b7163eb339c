"""Two "machines" of this one: programs of a stage, each in a folder of its own, that meet on loopback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.tasks import project


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def start(number: int, port: int, words: tuple, folder: Path, count: int = 2, **own: str) -> subprocess.Popen:
    """One of so many machines; `own` are variables of it alone."""
    variables = {
        "STAGE": words[0],
        "CURVE": "curve.jsonl",
        "STILLHOUSE_MACHINES": str(count),
        "RANK": str(number),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": str(project.ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.recorded", *words[1:]],
        cwd=folder,
        env=os.environ | variables | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
