"""Kills whatever runs at random moments, in troubled surroundings, and says whether anything was lost.

    python -m tests.kills --kills 40 --seed 2

Recipes run twice at the smallest size, in clones of the working tree: by `dvc repro` with nothing else; and on two
runners, the first on the servers of `make up`, the second with a worker of its own, which share the servers and a DVC
remote on S3. Each compresses every recipe and promotes it, then goes back to the former champion and on; every other
recipe of the first has its stages run by the pool of `make up`, in copies of its clone. Meanwhile, at moments drawn
from the seed (what they meet depends on the machine too, so no two runs are the same),

- `kill -9` takes the running stage, DVC, the flow or that of a single stage, a flow that registers its model, a
  promotion, a worker, the pool's runner (or SIGTERM does), the Prefect server or the MLflow server;
- the network from a runner to Prefect, MLflow or the remote is cut, held up, slow, or loses all answers for seconds;
- the disk that both clones and the servers' data are on is full for seconds;
- the clock of a runner, and of the servers with the first one's, jumps by seconds, an hour or a day.

What is gone is started again by the commands that a user has. If all is made before the last kill, the runners lose
all that they and the remote have, but not the registry, and start over. At the end every output of both must have the
hash of the undisturbed run, a third clone must get all outputs from the remote, no tracked run may wait or be refused,
and the registry must have one version of each recipe with the digests and scores of the undisturbed run, with aliases
and records of promotions that agree. Exit code 0 if so, 1 if not.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.clones import clone, command, hashes, run
from tests.kills import disk as disks
from tests.kills.clock import compiler
from tests.kills.registry import faults as faults_of_registry
from tests.kills.remote import point_to
from tests.kills.runner import CANCELLED, Runner
from tests.kills.scene import Scene, build, open_gate, start
from tests.kills.troubles import Trouble

# What is drawn from, and how often against the others.
KINDS = {"stage": 4, "dvc": 3, "flow": 3, "registration": 4, "promotion": 4, "worker": 2, "runner": 2}
KINDS |= {"prefect": 1, "mlflow": 2}
RARE = {"registration": 90.0, "promotion": 90.0}  # seconds to wait for one, else another kind is drawn
LATEST = 6.0  # seconds into a rare moment
RECIPES = ["tinybert", "prune-recover", "smallest", "bilstm", "distilbert", "theseus"]
PATIENCE = 5400.0  # seconds that the runners may take when nothing is killed any more
DISK = 12 << 30  # bytes, more than is ever needed
MADE = ("dvc.lock", "code", "data", "models", "reports", ".cache", ".dvc/cache", ".dvc/tmp", ".fleet", "logs")


@dataclass(frozen=True)
class Kill:
    """One of them: what was killed, what ran then, and what was wrong besides."""

    second: float  # since the start
    victim: str
    running: str
    trouble: str


class Chaos:
    """Kills and troubles, drawn from a seed."""

    def __init__(self, scene: Scene, seed: int, longest: float, expected: dict[str, str], plain: Path) -> None:
        self.scene, self.draw, self.longest = scene, random.Random(seed), longest
        self.expected, self.plain = expected, plain
        self.kills: list[Kill] = []
        self.troubles: list[Trouble] = []
        self.lost: list[str] = []
        self.rounds = 0
        self._began = time.monotonic()
        self._trouble: Trouble | None = None
        self._next_trouble = self.draw.uniform(0, longest)

    def rage(self, kills: int) -> None:
        """Kill so many, then let the runners come to their end."""
        while len(self.kills) < kills:
            self._pass(self.draw.uniform(0.2, self.longest))
            self._kill(kills)
        self._end_trouble()
        deadline = time.monotonic() + PATIENCE
        while any(runner.work for runner in self.scene.runners):
            assert time.monotonic() < deadline, "it does not come to its end"
            for runner in self.scene.runners:
                runner.go_on()
            time.sleep(2)
        self._judge()

    def _pass(self, seconds: float) -> None:
        """Let time pass: runners go on, troubles begin and end."""
        until = time.monotonic() + seconds
        while True:
            self._tick()
            if time.monotonic() > until:
                return
            time.sleep(0.5)

    def _tick(self) -> None:
        now = time.monotonic() - self._began
        if self._trouble and now > self._trouble.until:
            self._end_trouble()
        if not self._trouble and now > self._next_trouble:
            self._trouble = self.scene.troubles.begin(self.draw, now)
            self.troubles.append(self._trouble)
            print(f"{now:5.0f} s  {self._trouble.kind} ({self._trouble.where})", flush=True)
            self._next_trouble = self._trouble.until + self.draw.uniform(0.5, 2.0) * self.longest
        if self._trouble and self._trouble.kind == "disk full" and self.scene.runners[0].lacks_servers():
            # Who starts servers has made room first.
            self._end_trouble()
        for runner in self.scene.runners:
            if self._trouble and runner.name in self._trouble.where:
                runner.disturbed = True
            runner.go_on()
        if not any(runner.work for runner in self.scene.runners):
            self._start_over()

    def _end_trouble(self) -> None:
        if self._trouble:
            self._trouble.end()
            self._trouble = None

    def _kill(self, kills: int) -> None:
        kind = self.draw.choices(list(KINDS), list(KINDS.values()))[0]
        deadline = time.monotonic() + RARE.get(kind, 0.0)
        while not (found := self._running(kind)) and time.monotonic() < deadline:
            self._pass(0.5)
        if kind in RARE and found:
            self._pass(self.draw.uniform(0.0, LATEST))
            found = self._running(kind)
        if not found:
            return
        runner, victim = self.draw.choice(found)
        # A machine that is taken away says so first.
        how = self.draw.choice((signal.SIGKILL, signal.SIGTERM)) if kind == "runner" else signal.SIGKILL
        what = ", ".join(sorted(name(each) for each in runner.running("stage"))) or "no stage"
        try:
            victim.send_signal(how)
        except psutil.NoSuchProcess:
            return  # it ended by itself just now
        for each in self.scene.runners if kind in ("prefect", "mlflow") else [runner]:
            each.disturbed = True
        trouble = self._trouble.kind if self._trouble else ""
        self.kills.append(Kill(time.monotonic() - self._began, kind, what, trouble))
        print(
            f"{self.kills[-1].second:5.0f} s  {how.name} {kind:12} of the {runner.name} runner "
            f"({len(self.kills)} of {kills}) while {what}{f', {trouble}' if trouble else ''}",
            flush=True,
        )
        if kind in ("flow", "registration", "promotion") and (left := runner.wait_until_gone()):
            self.lost.append(f"{runner.name}: the flow was killed, and {left} ran on")

    def _running(self, kind: str) -> list[tuple[Runner, psutil.Process]]:
        return [(runner, process) for runner in self.scene.runners for process in runner.running(kind)]

    def _start_over(self) -> None:
        self._end_trouble()
        self._judge()
        self.scene.remote.empty()
        for runner in self.scene.runners:
            for made in MADE:
                path = runner.folder / made
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            runner.again()

    def _judge(self) -> None:
        """Compare all that was made with the undisturbed run."""
        from mlflow.tracking import MlflowClient

        self.rounds += 1
        wrong = []
        for runner in self.scene.runners:
            deadline = time.monotonic() + 300
            while list(runner.running("flow")) and time.monotonic() < deadline:
                time.sleep(1)  # one that was held up, and asked for again
            wrong += [f"{runner.name}: {line}" for line in differences(self.expected, hashes(runner.folder))]
            wrong += self._untracked(runner)
            runner.run("flows.dag.remote")
        wrong += self._missing_in_remote()
        os.environ["MLFLOW_TRACKING_URI"] = self.scene.mlflow
        wrong += faults_of_registry(MlflowClient(self.scene.mlflow), self.plain, recipes(self.scene))
        for line in wrong:
            print(f"LOST in round {self.rounds}: {line}", flush=True)
        self.lost += wrong

    def _untracked(self, runner: Runner) -> list[str]:
        """What of a runner's tracking is left, or went wrong."""
        wrong = []
        said = runner.run("tasks.tracking.sender", "--all")
        if "refused" in said:
            wrong.append(f"{runner.name}: {said}")
        log = runner.folder / "mlruns" / "sender.log"
        if log.exists() and "Traceback" in (text := log.read_text(errors="replace")):
            wrong.append(f"{runner.name}: the sender failed\n{text[-3000:]}")
            log.write_text("")
        return wrong

    def _missing_in_remote(self) -> list[str]:
        """What a third clone, which has nothing, does not get from the remote."""
        first = self.scene.runners[0]
        with tempfile.TemporaryDirectory() as temporary:
            third = clone(Path(temporary) / "third")
            open_gate(third)
            shutil.copy(first.folder / "dvc.lock", third)
            point_to(third, self.scene.remote.port, verify="true")
            targets = [f"report@{recipe}" for recipe in recipes(self.scene)]
            try:
                run(third, sys.executable, "-m", "dvc", "pull", "--with-deps", *targets)
            except AssertionError as error:
                return [f"the remote: {error}"]
        return []


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, help="how many; nightly: 100")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, metavar="SLUG")
    parser.add_argument("--longest", type=float, default=40.0, help="seconds that all has until a kill")
    parser.add_argument("--folder", type=Path, help="where the clones go; default: a temporary folder")
    parser.add_argument("--plain", type=Path, help="a clone where these recipes have run undisturbed already")
    args = parser.parse_args()
    # Servers, workers and the remote are stopped then; a shell's background job would else ignore Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    full = disks.enter("tests.kills")
    if not full:
        print("the disk does NOT fill up: no file system can be mounted here (unshare)")
    if not compiler():
        print("the clock does NOT jump: no C compiler here (cc)")
    with tempfile.TemporaryDirectory() as temporary:
        chaos = compare(args.folder or Path(temporary), args, full)
    print(f"\n{len(chaos.kills)} kills: {tally([kill.victim for kill in chaos.kills])}")
    print(f"{len(chaos.troubles)} troubles: {tally([trouble.kind for trouble in chaos.troubles])}")
    print(f"{sum(bool(kill.trouble) for kill in chaos.kills)} of the kills amid one of them")
    print(f"while there ran: {', '.join(sorted({kill.running for kill in chaos.kills}))}")
    failed = [(line, count) for runner in chaos.scene.runners for line, count in runner.said.items()]
    cancelled = sum(count for line, count in failed if CANCELLED in line)
    print(
        f"works that failed and were started again: {sum(count for _, count in failed)}, {cancelled} of them cancelled"
    )
    lost = [*chaos.lost, *(line for runner in chaos.scene.runners for line in runner.faults)]
    if lost:
        print("LOST, or otherwise than in the undisturbed run:\n" + "\n".join(lost))
        raise SystemExit(1)
    print(f"lost: nothing; what was asked of outputs, remote, tracking and registry holds, {chaos.rounds} times")


def compare(folder: Path, args: argparse.Namespace, full: bool) -> Chaos:
    """Run both, and compare them."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = args.plain or clone(folder / "plain")
    began = time.monotonic()
    run(plain, sys.executable, "-m", "dvc", "repro", *(f"report@{recipe}" for recipe in args.recipes))
    print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    scene = build(folder, args.recipes, args.kills, disks.Disk(folder / "disk", DISK) if full else None)
    chaos = Chaos(scene, args.seed, args.longest, hashes(plain), plain)
    with ExitStack() as stack:
        # From the last to the first, and each whatever became of the others.
        if scene.troubles.disk:
            stack.callback(scene.troubles.disk.close)
        stack.callback(scene.remote.stop)
        for runner in scene.runners:
            stack.callback(runner.stop)
        stack.callback(scene.troubles.end_all)
        start(scene)
        chaos.rage(args.kills)
    return chaos


def recipes(scene: Scene) -> list[str]:
    """Those that run."""
    return [work.recipe for work in scene.runners[0].works if work.what == "compress"]


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Outputs with other hashes than in the undisturbed run."""
    return sorted(f"{path} differs" for path in expected | found if expected.get(path) != found.get(path))


def name(stage: psutil.Process) -> str:
    """The program of a stage, with its phase."""
    words = command(stage)
    if not words:
        return "a stage that ends"
    phase = f" {words[words.index('--phase') + 1]}" if "--phase" in words else ""
    return words[words.index("-m") + 1].removeprefix("tasks.") + phase


def tally(names: list[str]) -> str:
    """How many of each."""
    return ", ".join(f"{each} {names.count(each)}" for each in dict.fromkeys(names)) or "none"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
