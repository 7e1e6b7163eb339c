"""Kills whatever runs at random moments, and says whether the result is that of an undisturbed run.

    python -m tests.kills --kills 20 --seed 1

Recipes run twice at the smallest size, in clones of the working tree: by `dvc repro` with nothing else; and as
deployments on the servers of `make up`, while `kill -9` takes, at moments drawn from the seed, the running stage, DVC,
the flow, the worker, the Prefect server or the MLflow server. Each time what is gone is started again by the commands
that a user has: `make up`, `prefect deployment run`. At the end every output must have the hash of the undisturbed run.
Exit code 0 if so, 1 if not.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.dag.graph import lineage, load_graph, stale
from flows.dag.servers import STATE, Server
from tests.clones import clone, command, free_port, hashes, run

KINDS = ("stage", "dvc", "flow", "stage", "dvc", "flow", "worker", "prefect", "mlflow")  # what is drawn from
LAUNCHER = "prefect.engine"
RECIPES = ["tinybert", "prune-recover", "smallest", "bilstm", "distilbert", "theseus"]
PATIENCE = 900.0  # seconds that the deployments may take when nothing is killed any more


@dataclass(frozen=True)
class Kill:
    """One of them: what was killed, and what ran then."""

    second: float  # since the first start
    victim: str
    running: str


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, metavar="SLUG")
    parser.add_argument("--longest", type=float, default=40.0, help="seconds that a flow has until a kill")
    parser.add_argument("--folder", type=Path, help="where the clones go; default: a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        differing, kills = compare(folder, args.recipes, args.kills, args.seed, args.longest)
    print(f"\n{len(kills)} kills: " + ", ".join(f"{kind} {count}" for kind, count in tally(kills).items()))
    print("while there ran: " + ", ".join(sorted({kill.running for kill in kills})))
    if differing:
        print(f"DIFFERENT from the undisturbed run: {', '.join(differing)}")
        raise SystemExit(1)
    print("every output has the hash of the undisturbed run")


def compare(folder: Path, recipes: list[str], kills: int, seed: int, longest: float) -> tuple[list[str], list[Kill]]:
    """Run both; the outputs whose hashes differ, and what was killed."""
    plain = clone(folder / "plain")
    began = time.monotonic()
    run(plain, sys.executable, "-m", "dvc", "repro", *(f"report@{recipe}" for recipe in recipes))
    print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    expected = hashes(plain)
    killed = clone(folder / "killed")
    done = disturbed(killed, recipes, kills, random.Random(seed), longest)
    found = hashes(killed)
    return sorted(name for name in expected | found if expected.get(name) != found.get(name)), done


def disturbed(clone: Path, recipes: list[str], kills: int, draw: random.Random, longest: float) -> list[Kill]:
    """Run the recipes' deployments to their end, one after another, killing on the way."""
    ports = {"STILLHOUSE_PREFECT_PORT": str(free_port()), "STILLHOUSE_MLFLOW_PORT": str(free_port())}
    variables = ports | {
        # A killed flow's slot is free after five minutes: nobody is to wait for one here.
        "STILLHOUSE_GPUS": str(kills + 1),
        "PREFECT_API_URL": f"http://127.0.0.1:{ports['STILLHOUSE_PREFECT_PORT']}/api",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['STILLHOUSE_MLFLOW_PORT']}",
        "PREFECT_HOME": str(clone / ".servers" / "prefect"),
    }
    done: list[Kill] = []
    began = time.monotonic()
    try:
        while len(done) < kills and (recipe := unfinished(clone, recipes)):
            go_on(clone, recipe, variables)
            time.sleep(draw.uniform(0.2, longest))
            kind, victim = draw.choice([(kind, each) for kind in KINDS for each in running(clone, kind)])
            what = ", ".join(sorted(name(process) for process in running(clone, "stage"))) or "no stage"
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue  # it ended by itself just now
            victim.wait(30)
            done.append(Kill(time.monotonic() - began, kind, what))
            print(f"{done[-1].second:5.0f} s  kill -9 {kind:8} while {what}", flush=True)
            if kind == "flow" and (left := wait_until_gone(clone)):
                raise AssertionError(f"the flow was killed, and {left} runs on")
        deadline = time.monotonic() + PATIENCE
        while recipe := unfinished(clone, recipes):
            assert time.monotonic() < deadline, "it does not come to its end"
            go_on(clone, recipe, variables)
            time.sleep(2)
    finally:
        run(clone, sys.executable, "-m", "flows.servers", "down")
        for process in running(clone, "flow"):
            process.kill()
    return done


def go_on(clone: Path, recipe: str, variables: dict[str, str]) -> None:
    """Start what is gone, as a user would."""
    python = sys.executable
    if any(not list(running(clone, kind)) for kind in ("prefect", "mlflow", "worker")):
        run(clone, python, "-m", "flows.servers", "up", **variables)
    if not list(running(clone, "flow")):
        run(clone, python, "-m", "prefect", "deployment", "run", f"compress/{recipe}", **variables)
        deadline = time.monotonic() + 120
        while not list(running(clone, "flow")) and time.monotonic() < deadline:
            time.sleep(0.2)


def unfinished(clone: Path, recipes: list[str]) -> str:
    """The first of the recipes of which something is not made, or of which a flow is about to say so; or none."""
    graph = load_graph(clone)
    for recipe in recipes:
        if stale(clone, lineage(graph, f"report@{recipe}")):
            return recipe
    return recipes[-1] if list(running(clone, "flow")) else ""


def running(clone: Path, kind: str) -> Iterator[psutil.Process]:
    """The processes of one kind that run in a clone."""
    if kind in ("prefect", "mlflow", "worker"):
        file = clone / STATE
        for server in [Server(**each) for each in json.loads(file.read_text())] if file.exists() else []:
            if server.name == kind and server.process:
                yield server.process
        return
    for process in psutil.process_iter():
        words = command(process)
        try:
            here = Path(process.cwd()) == clone
        except psutil.Error:
            continue
        if not here or "-m" not in words[1:-1]:
            # DVC runs a stage's command through a shell, which is nobody's victim.
            continue
        module = words[words.index("-m") + 1]
        found = (
            "stage"
            if module.startswith("tasks.") and module != "tasks.tracking.sender"
            else {LAUNCHER: "flow"}.get(module)
        )
        if module == "dvc" and "repro" in words:
            found = "dvc"
        if found == kind:
            yield process


def name(stage: psutil.Process) -> str:
    """The program of a stage, with its phase."""
    words = command(stage)
    if not words:
        return "a stage that ends"
    phase = f" {words[words.index('--phase') + 1]}" if "--phase" in words else ""
    return words[words.index("-m") + 1].removeprefix("tasks.") + phase


def wait_until_gone(clone: Path) -> str:
    """What of a killed flow is still there after a while; empty for nothing."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        left = [*running(clone, "dvc"), *running(clone, "stage")]
        if not left:
            return ""
        time.sleep(0.5)
    return ", ".join(" ".join(command(process)) for process in left)


def tally(kills: list[Kill]) -> dict[str, int]:
    """How many of each kind."""
    return {kind: sum(kill.victim == kind for kill in kills) for kind in dict.fromkeys(KINDS)}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
