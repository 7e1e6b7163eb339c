"""The wall time of `compare` over a work pool as runners are added: real server, workers and clones, stages that sleep.

    python -m benchmarks.runners --runners 1 2 4 8

Each row is a project of its own: as many stages that need nothing of each other, and one that needs them all. A runner
is a Prefect worker of type process, one stage at a time, in a clone with a cache of its own; what they share is a
folder as the DVC remote. Stages sleep, since the cores are few: what is left is what starting, fetching, committing and
fetching back cost, and where the cores of this machine, which all runners share here, are the limit (column *busy*).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tasks.stage.params import read_yaml

ROOT = Path(__file__).parents[1]
POOL = "runners"
REPORT = "mkdir -p reports/compare && cat made-* > reports/compare/report.md && cp seed reports/compare/report.png"
IGNORED = "/.fleet/\n/made-*\n/reports\n/logs\n/.prefect\n"
PATIENCE = 180  # seconds for the server's start


def main() -> None:
    """Measure each number of runners, and print a row each."""
    own = argparse.ArgumentParser(prog="python -m benchmarks.runners", description=__doc__.split("\n")[0])
    own.add_argument("--runners", type=int, nargs="+", default=[1, 2, 4, 8], help="default: %(default)s")
    own.add_argument("--stages", type=int, default=24, help="that sleep; default: %(default)s")
    own.add_argument("--seconds", type=float, default=20.0, help="that each sleeps; default: %(default)s")
    given = own.parse_args()
    print(f"{os.cpu_count()} cores; {given.stages} stages that sleep {given.seconds:g} s, and one that needs them all")
    print("| runners | seconds | beside the first row | by the sleep alone | busy |\n|--:|--:|--:|--:|--:|", flush=True)
    first = 0.0
    for number in given.runners:
        seconds, busy = measure(number, given.stages, given.seconds)
        first = first or seconds
        alone = -(-given.stages // number) * given.seconds
        print(f"| {number} | {seconds:.0f} | {first / seconds:.2f}× | {alone:.0f} | {busy:.0%} |", flush=True)


def measure(number: int, stages: int, seconds: float) -> tuple[float, float]:
    """Seconds of one flow over so many runners, and the share of the machine's cores that was busy meanwhile."""
    with tempfile.TemporaryDirectory(prefix="runners-") as name, ExitStack() as stack:
        home = Path(name)
        variables = stack.enter_context(server(home))
        root = project(home, stages, seconds, variables)
        for index in range(number):
            clone = home / f"runner-{index}"
            run(home, variables, "git", "clone", "--quiet", str(root), str(clone))
            words = ["worker", "start", "--pool", POOL, "--type", "process", "--limit", "1", "--name", clone.name]
            own = variables | {"STILLHOUSE_CLONE": str(clone)}
            stack.enter_context(
                started(clone, home / f"{clone.name}.log", own, sys.executable, "-m", "prefect", *words)
            )
        began, before = time.perf_counter(), psutil.cpu_times()
        run(root, variables, sys.executable, "-m", "flows.compare", "--pool", POOL)
        took, after = time.perf_counter() - began, psutil.cpu_times()
        ran = (home / "runs").read_text().split()
        if sorted(ran) != sorted([*(f"sleeper-{index}" for index in range(stages)), "compare"]):
            raise SystemExit(f"error: each of {stages + 1} stages is to run once, and these ran: {' '.join(ran)}")
        idle = after.idle + after.iowait - before.idle - before.iowait
        return took, 1 - idle / (took * (os.cpu_count() or 1))


def project(home: Path, stages: int, seconds: float, variables: dict[str, str]) -> Path:
    """A project under git and DVC with these stages, deployed to the pool."""
    root = home / "project"
    root.mkdir()
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false"):
        run(root, variables, *command.split())
    tree = {
        f"sleeper-{index}": {
            "cmd": f"echo sleeper-{index} >> $RUNS && sleep {seconds} && echo {index} > made-{index}",
            "deps": ["seed"],  # DVC's run cache keeps no result of a stage without one
            "outs": [f"made-{index}"],
        }
        for index in range(stages)
    }
    tree["compare"] = {
        "cmd": f"echo compare >> $RUNS && {REPORT}",
        "deps": ["seed", *(f"made-{index}" for index in range(stages))],
        "outs": ["reports/compare/report.md", "reports/compare/report.png"],
    }
    files = {
        "dvc.yaml": json.dumps({"stages": tree}),
        "params.yaml": "data: {name: toy, kind: classes}\n",
        "seed": "seed",
        ".gitignore": IGNORED,
        ".dvcignore": "/.fleet\n/logs\n",
    }
    (stage,) = [each for each in read_yaml(ROOT / "prefect.yaml")["deployments"] if each["name"] == "stage"]
    stage["work_pool"]["name"] = POOL
    files["prefect.yaml"] = json.dumps({"name": "stillhouse", "deployments": [stage]})
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    for name in ("flows", "tasks", "stillhouse"):
        (root / name).symlink_to(ROOT / name)
    run(root, variables, "dvc", "remote", "add", "--default", "shared", str(home / "remote"))
    run(root, variables, "git", "add", "-A")
    run(root, variables, "git", "-c", "user.name=b", "-c", "user.email=b@localhost", "commit", "--quiet", "-m", "toy")
    run(root, variables, sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all")
    return root


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server with the pool; the variables of its clients."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    variables = {"PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": address, "PREFECT_WORKER_QUERY_SECONDS": "2"}
    variables |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "STILLHOUSE_TRACKING": "off", "PYTHONPATH": str(ROOT)}
    variables |= {"RUNS": str(home / "runs")}
    log = home / "server.log"
    words = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with started(home, log, variables, sys.executable, "-m", "prefect", *words):
        deadline = time.monotonic() + PATIENCE
        pool = [sys.executable, "-m", "prefect", "work-pool", "create", POOL, "--type", "process", "--overwrite"]
        while subprocess.run(pool, env=os.environ | variables, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"error: Prefect's server does not answer: {log.read_text()[-300:]}")
            time.sleep(1)
        yield variables


@contextmanager
def started(folder: Path, log: Path, variables: dict[str, str], *words: str) -> Iterator[None]:
    """A process that runs in a folder, and is stopped with all that it started."""
    with log.open("w") as said:
        process = psutil.Popen(words, cwd=folder, env=os.environ | variables, stdout=said, stderr=said)
        try:
            yield
        finally:
            family = [process, *process.children(recursive=True)] if process.is_running() else []
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            for each in psutil.wait_procs(family, timeout=20)[1]:
                each.kill()


def run(folder: Path, variables: dict[str, str], *words: str) -> None:
    """Run a command in a folder; one that fails ends the program with what it said."""
    done = subprocess.run(words, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
