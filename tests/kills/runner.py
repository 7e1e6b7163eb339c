"""A clone with a worker that compresses and promotes recipes one after the other, whatever is killed meanwhile."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from flows.dag.servers import STATE, Server
from tasks.tracking.store import FLEET
from tests.clones import command, environment

LAUNCHER = "prefect.engine"
SERVERS = ("prefect", "mlflow", "worker", "runner")
SLOW_START = 150.0  # seconds until a flow run that was asked for must run
SILENCE = 240.0  # seconds
CANCELLED = "cancelled"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
BROKEN = "(exit 1;"  # of a stage that ended in a traceback
TRIES = 4  # of a work that nothing disturbed


@dataclass(frozen=True)
class Work:
    """What a user would do next: by a deployment, or by a command."""

    what: str  # "compress", "promote" or "rollback"
    recipe: str
    by_command: bool = False
    pool: str = ""  # whose runners run the stages

    @property
    def deployment(self) -> list[str]:
        """The words after `prefect deployment run`, without the prefix of the runner's deployments."""
        if self.what == "compress":
            return [f"compress/{{}}{self.recipe}", *(["--param", f"pool={self.pool}"] if self.pool else [])]
        given = "rollback=true" if self.what == "rollback" else f"recipe={self.recipe}"
        return ["promote/{}promote", "--param", given]

    @property
    def command(self) -> list[str]:
        """The command that does the same."""
        return ["flows.promote", "--rollback" if self.what == "rollback" else self.recipe]

    def __str__(self) -> str:
        return f"{self.what} {self.recipe}".strip()


@dataclass
class Runner:
    """One of them.

    Attributes:
        variables: of its processes.
        pool: its work pool; empty for that of `make up`, whose servers and worker are then this clone's.
        api: Prefect's, with nothing in between.
        log: of its worker, where it is not that of `make up`.
        disturbed: something was killed or troubled since its present work was started.
        said: lines of commands and flow runs that failed, each once.
    """

    name: str
    folder: Path
    variables: dict[str, str]
    api: str
    works: list[Work]
    log: Path
    pool: str = ""
    at: int = 0
    disturbed: bool = False
    tries: int = 0
    said: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _flow: str = ""  # the id of the flow run that does the present work
    _asked: float = 0.0
    _silent_since: float = 0.0
    _promotion: subprocess.Popen | None = None
    _worker: subprocess.Popen | None = None

    @property
    def work(self) -> Work | None:
        """The present one; None where all are done."""
        return self.works[self.at] if self.at < len(self.works) else None

    def go_on(self) -> None:
        """Start what is gone, and the next work, as a user would. Returns soon, unless servers must be started."""
        if self.lacks_servers():
            self.disturbed = True
            self.run("flows.servers", "up")
        elif self.pool and (self._worker is None or self._worker.poll() is not None):
            self._start_worker()
        if self.work is None:
            return
        if self._promotion:
            self._look_at_promotion()
        elif self._flow and self._waits():
            # Prefect waits until the clock is again where it was when the run was asked for.
            self._say(f"{self.work}: {CANCELLED}: its flow has done nothing for {SILENCE:.0f} s")
            for process in self._processes("flow"):
                process.kill()
            self._next(False)
        elif self._flow and (ended := self._ended()):
            self._next(ended == "COMPLETED")
        elif self._flow and not list(self.running("flow")) and time.monotonic() - self._asked > SLOW_START:
            # Its server or worker was killed at the wrong moment: nobody will ever run it.
            self._next(False)
        if not self._flow and not self._promotion and self.work:
            self._start(self.work)

    def lacks_servers(self) -> bool:
        """Whether one of the servers, or of their workers, is its to start."""
        return not self.pool and any(not list(self.running(kind)) for kind in SERVERS)

    def running(self, kind: str) -> Iterator[psutil.Process]:
        """Its processes of one kind."""
        if kind == "worker" and self.pool:
            if self._worker and self._worker.poll() is None:
                yield psutil.Process(self._worker.pid)
        elif kind in SERVERS:
            yield from self._servers(kind)
        elif kind == "promotion":
            if self.work and self.work.what != "compress":
                yield from self._processes("flow")
            yield from self._processes("promotion")
        elif kind == "registration":
            if self.registers():
                yield from self._processes("flow")
        else:
            yield from self._processes(kind)

    def registers(self) -> bool:
        """Whether its flow has nothing left to do but to register what came out."""
        if not self.work or self.work.what != "compress" or any(self._processes("dvc")):
            return False
        lock = self.folder / "dvc.lock"
        return any(self._processes("flow")) and lock.exists() and f"report@{self.work.recipe}:" in lock.read_text()

    def wait_until_gone(self, seconds: float = 60.0) -> str:
        """What is still there of a killed flow after a while; empty for nothing."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            left = [*self._processes("dvc"), *self._processes("stage")]
            if not left or any(self._processes("flow")):
                return ""
            time.sleep(0.5)
        return ", ".join(" ".join(command(process)) for process in left)

    def stop(self) -> None:
        """End all that it has started."""
        # First what a worker would wait for. A flow's stages notice its end, and end too.
        for kind in ("flow", "promotion"):
            for process in self._processes(kind):
                process.kill()
        if not self.pool:
            self.run("flows.servers", "down")
        elif self._worker:
            self._worker.kill()
            self._worker.wait()
        self.wait_until_gone()

    def run(self, module: str, *words: str) -> str:
        """What a command that must succeed prints."""
        done = self._try(module, *words)
        assert done.returncode == 0, f"{module} {' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def again(self) -> None:
        """Start over with its works."""
        self.at, self.tries, self.disturbed = 0, 0, False

    def _servers(self, kind: str) -> Iterator[psutil.Process]:
        file = self.folder / STATE
        for server in [Server(**each) for each in json.loads(file.read_text())] if file.exists() else []:
            if server.name == kind and server.process:
                yield server.process

    def _processes(self, kind: str) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            words = command(process)
            try:
                place = Path(process.cwd())
                # What a runner of a pool runs, it runs in a copy.
                here = place == self.folder or place.is_relative_to(self.folder / FLEET)
            except psutil.Error:
                continue
            if not here or "-m" not in words[1:-1]:
                # DVC runs a stage's command through a shell, which is nobody's victim.
                continue
            module = words[words.index("-m") + 1]
            found = {LAUNCHER: "flow", "flows.promote": "promotion"}.get(module)
            if module.startswith("tasks.") and module != "tasks.tracking.sender":
                found = "stage"
            if module == "dvc" and "repro" in words:
                found = "dvc"
            if found == kind:
                yield process

    def _start_worker(self) -> None:
        words = ["-m", "prefect", "worker", "start", "--pool", self.pool, "--type", "process"]
        with self.log.open("a") as file:
            self._worker = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def _start(self, work: Work) -> None:
        self._asked = self._silent_since = time.monotonic()
        if work.by_command:
            self._promotion = subprocess.Popen(
                [sys.executable, "-m", *work.command],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            return
        prefix = f"{self.pool}-" if self.pool else ""
        words = [word.format(prefix) for word in work.deployment]
        done = self._try("prefect", "deployment", "run", *words)
        if done.returncode:
            self._say(f"prefect deployment run: {_last(done.stdout + done.stderr)}")
            self._count()
            return
        self._flow = next(
            word.strip(".,│ ") for word in done.stdout.split() if word.count("-") == 4 and len(word) >= 36
        )

    def _look_at_promotion(self) -> None:
        assert self._promotion
        code = self._promotion.poll()
        if code is None:
            return
        said, _ = self._promotion.communicate()
        if "Traceback" in said:
            self.faults.append(f"{self.name}: {self.work}: no single line, but\n{said[-3000:]}")
        if code:
            self._say(f"flows.promote: exit {code}: {_last(said)}")
        nothing_there = code == 2 and "nothing to roll back to" in said
        self._promotion = None
        self._next(code == 0 or nothing_there)

    def _waits(self) -> bool:
        """Whether its flow has run no stage for so long that a user would cancel it."""
        works = any(self._processes("dvc")) or any(self._processes("stage")) or not any(self._processes("flow"))
        if works:
            self._silent_since = time.monotonic()
        return time.monotonic() - self._silent_since > SILENCE

    def _ended(self) -> str:
        """In which state Prefect has the flow run, if it has ended."""
        try:
            with urllib.request.urlopen(f"{self.api}/flow_runs/{self._flow}", timeout=30) as reply:
                run = json.loads(reply.read())
        except OSError:
            return ""  # the server was killed just now
        state = run["state"]
        if state["type"] not in ENDED:
            return ""
        if state["type"] != "COMPLETED":
            self._say(f"{self.work}: {state['type']}: {' '.join((state['message'] or '').split())[:400]}")
            if BROKEN in (state["message"] or ""):
                self.faults.append(f"{self.name}: {self.work}: {state['message']}")
            if "nothing to roll back to" in (state["message"] or ""):
                return "COMPLETED"
        return state["type"]

    def _next(self, done: bool) -> None:
        self._flow = ""
        if done:
            print(f"        {self.name}: done: {self.work}", flush=True)
            self.at, self.tries, self.disturbed = self.at + 1, 0, False
        else:
            self._count()

    def _count(self) -> None:
        self.tries = 0 if self.disturbed else self.tries + 1
        self.disturbed = False
        assert self.tries < TRIES, f"{self.name}: {self.work} fails though nothing disturbs it: {list(self.said)[-5:]}"
        time.sleep(1)

    def _say(self, line: str) -> None:
        if line not in self.said:
            print(f"        {self.name}: {line}", flush=True)
        self.said[line] = self.said.get(line, 0) + 1

    def _try(self, module: str, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env=self._environment() | {"PREFECT_API_URL": self.api},
            capture_output=True,
            text=True,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        return environment() | self.variables


def deploy_to(folder: Path, pool: str, prefix: str, variables: dict[str, str]) -> None:
    """Give a clone's deployments a pool, a prefix to their names, and variables for their flow runs."""
    file = folder / "prefect.yaml"
    yaml = YAML(typ="safe", pure=True)
    tree = yaml.load(file.read_text())
    for each in tree["deployments"]:
        each["name"] = prefix + each["name"]
        own = each["work_pool"].get("job_variables", {}).get("env", {})
        each["work_pool"] |= {"name": pool, "job_variables": {"env": own | variables}}
    file.write_text(json.dumps({key: tree[key] for key in ("name", "deployments")}))


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:400] if lines else "no message"
