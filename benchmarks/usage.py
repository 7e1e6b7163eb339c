"""What a command used: time by the clock, CPU, and memory, those of the processes that it waited for among them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The kernel's peak of a process begins with that of the process which started it, and a benchmark has torch in memory:
# so a small one starts the command, and says what it used.
START = """
import json, pathlib, resource, subprocess, sys, threading, time
child = subprocess.Popen(sys.argv[2:])
own = [0]
def look():
    while True:
        try:
            lines = open(f"/proc/{child.pid}/status").read().splitlines()
        except OSError:
            return
        own.extend(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
        own[:] = [max(own)]
        time.sleep(0.02)
threading.Thread(target=look, daemon=True).start()
code = child.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
pathlib.Path(sys.argv[1]).write_text(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss, max(own)]))
sys.exit(code)
"""


@dataclass(frozen=True)
class Used:
    """What a command used.

    seconds: by the clock.
    cpu: seconds of it, user and system.
    peak: bytes of the process that held most, pages of mapped files among them, which the kernel takes back when it
        needs them.
    own: bytes of the command's own process without those, looked at fifty times a second; 0 where there is no /proc.
    said: what it wrote to stdout and stderr.
    """

    seconds: float
    cpu: float
    peak: int
    own: int
    said: str


def used_by(command: Sequence[str], folder: Path | None = None, variables: Mapping[str, str] | None = None) -> Used:
    """Run a command to its end.

    Args:
        folder: where it runs; None: here.
        variables: of the environment, beside those that there are.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        log, used = Path(name) / "log", Path(name) / "used.json"
        start = [sys.executable, "-c", START, str(used), *command]
        began = time.perf_counter()
        with log.open("w") as stream:
            done = subprocess.run(
                start,
                cwd=folder,
                env=os.environ | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                check=False,
            )
        seconds = time.perf_counter() - began
        said = log.read_text(encoding="utf-8", errors="replace")
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {said[-1500:]}")
        cpu, peak, own = json.loads(used.read_text(encoding="utf-8"))
    return Used(seconds, cpu, peak * (1 if sys.platform == "darwin" else 1024), own * 1024, said)
