"""Stage `code` says which modules each stage runs, so it must be up to date before anybody asks what is stale."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.secrets import hidden

STAGE = "code"
ASK_AGAIN = 2.0  # seconds
# DVC's word for a file that another of its processes reads or writes.
BUSY = re.compile(r"unable to acquire lock|is busy, it is being blocked by", re.IGNORECASE)


def refresh(root: Path) -> None:
    """Bring stage `code` up to date, which takes a second or two; wait while a stage runs that reads what it writes.

    Raises:
        InputError: it refuses params.yaml, or a module has a syntax error.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", STAGE]
    environment = program.environment(PATH=python_first())
    told = False
    while True:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        said = hidden(done.stdout + done.stderr)
        if not BUSY.search(said):
            raise InputError(f"stage '{STAGE}': {_reason(said)}")
        if not told:
            print(f"[{STAGE}] the code has changed while a stage runs: waiting for it to end", flush=True)
            told = True
        time.sleep(ASK_AGAIN)


def python_first() -> str:
    """PATH for stages, which call `python`: it has to be this one, whether or not its environment is activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    faults = [line for line in lines if re.match(r"\w+Error: |ERROR: ", line)]
    return (ours or faults or lines or ["no message"])[0]
