"""A Prefect server, an MLflow server and two workers for this clone, on this machine.

One worker takes flows, as many as there are; the other, `runner`, stages of flows with `pool`, a few at a time: such a
flow waits for its stages, so one limit for both would leave them no room. All bind to loopback, keep their data in
`.servers/`, and are known by process id and start time, so that `down` stops only them, never a process that got the id
of one that has ended. `up` returns when all answer and everything in prefect.yaml is deployed; if it fails, it leaves
nothing running.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from flows.dag.gpu import limit_gpus
from flows.dag.prefect import FLOWS, GPU_STAGES, POOL, STAGES, make_queues
from flows.dag.process import stages_at_once
from stillhouse.errors import InputError
from tasks.stage.secrets import hidden

HOME = Path(".servers")
STATE = HOME / "processes.json"
PATIENCE = 180.0  # seconds until a server answers: the first start makes the tables of its database
TELL_EVERY = 10.0  # seconds between two lines that say what is waited for
GRACE = 20.0  # seconds between asking a server to end and killing it
LOOPBACK = "127.0.0.1"
EPOCH = 1e9  # seconds: no machine has run for so long


@dataclass(frozen=True)
class Server:
    """One of the processes.

    Attributes:
        started: seconds after the machine's own start; with the pid it identifies one process, whatever is done to the
            clock.
        url: where it answers; empty for a worker.
    """

    name: str
    pid: int
    started: float
    url: str

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            found = psutil.Process(self.pid)
            alive = self._is(found) and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return found if alive else None

    @property
    def family(self) -> list[psutil.Process]:
        """The process and all that it started; of one that was killed, what it left behind."""
        if process := self.process:
            return [process, *process.children(recursive=True)]
        left = {each.pid: each for each in psutil.process_iter() if _group(each) == self.pid}
        leader = left.pop(self.pid, None)
        # A group's id is not given out again while a member lives: a later leader means that the id was reused.
        return [] if leader and not self._is(leader) else [*left.values()]

    def _is(self, process: psutil.Process) -> bool:
        return abs(_started(process) - self.started) < 1


def up(prefect_port: int, mlflow_port: int, mlflow_store: str, basic_auth: bool, gpus: int | None = None) -> None:
    """Start what does not run yet, wait until all of it answers, and deploy.

    Args:
        gpus: how many stages may use a GPU at a time; None: as many as there are here, at least one.

    Raises:
        InputError: a port that is taken, a number of slots below one, or a server that did not come up (with its log).
    """
    if gpus is not None and gpus < 1:
        raise InputError(f"--gpus {gpus}: give a number from 1: with none, no stage that trains would ever start")
    running = [server for server in _known() if server.process]
    if {server.name for server in running} >= {"prefect", "mlflow", "worker", "runner"}:
        status()
        return
    # Servers of an earlier start do not know the ports of those that start now.
    down(quiet=True)
    for option, port in (("--prefect-port", prefect_port), ("--mlflow-port", mlflow_port)):
        _must_be_free(option, port)
    (HOME / "logs").mkdir(parents=True, exist_ok=True)
    prefect, mlflow = f"http://{LOOPBACK}:{prefect_port}", f"http://{LOOPBACK}:{mlflow_port}"
    environment = client_environment(prefect, mlflow)
    try:
        _start("prefect", prefect_command(prefect_port), prefect, environment)
        # Not as an argument: every user of the machine sees those, and a database's URL has its password.
        store = {"MLFLOW_BACKEND_STORE_URI": mlflow_store or f"sqlite:///{(HOME / 'mlflow.db').resolve()}"}
        # Eight processes that wait for jobs which nothing here has: they took 1.3 GB and three quarters of the start.
        no_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        mlflow_environment = environment | store | no_jobs | _auth(basic_auth)
        _start("mlflow", mlflow_command(mlflow_port, basic_auth), mlflow, mlflow_environment)
        _wait_for("prefect", f"{prefect}/api/health")
        _wait_for("mlflow", f"{mlflow}/health")
        print("prefect: making the work pool", flush=True)
        limit_gpus(f"{prefect}/api", gpus or _gpus_here())
        _prefect(["work-pool", "create", POOL, "--type", "process", "--overwrite"], environment)
        make_queues(f"{prefect}/api")
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        _start("worker", [*worker, "--work-queue", FLOWS], "", environment)
        queues = ["--work-queue", STAGES, "--work-queue", GPU_STAGES]
        _start("runner", [*worker, *queues, "--limit", str(stages_at_once())], "", environment)
        print("prefect: deploying what prefect.yaml names", flush=True)
        _prefect(["--no-prompt", "deploy", "--all"], environment)
    except BaseException:
        down(quiet=True)
        raise
    status()


def down(quiet: bool = False) -> None:
    """Stop the processes that `up` started, and theirs; nothing else."""
    servers = _known()
    families: list[psutil.Process] = []
    # The worker first: it would report the end of its server as a fault.
    for server in reversed(servers):
        family = server.family
        families += family
        # A server that runs ends its own children.
        for process in [each for each in family if each.pid == server.pid] or family:
            process.terminate()
        if family and not quiet:
            print(f"{server.name}: stopping process {server.pid}", flush=True)
    _, left = psutil.wait_procs(families, timeout=GRACE)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=GRACE)
    STATE.unlink(missing_ok=True)
    if not quiet and not families:
        print("no servers of this clone run")


def status() -> None:
    """Print what runs, where, and the variables that make flows use it."""
    servers = _known()
    for server in servers:
        how = "runs" if server.process else "is gone"
        print(f"{server.name:8} {how}  {server.url or '(pool ' + POOL + ')'}  log: {_log(server.name)}")
    if not servers:
        print("no servers of this clone run: make up")
        return
    urls = {server.name: server.url for server in servers}
    print("\nfor a shell that is to use them:")
    print(f"  export PREFECT_API_URL={urls['prefect']}/api MLFLOW_TRACKING_URI={urls['mlflow']}")
    print("  prefect deployment run compress/hinton --watch\nto stop them: make down", flush=True)


def _gpus_here() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def prefect_command(port: int) -> list[str]:
    """How the Prefect server is started."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)]


def mlflow_command(port: int, basic_auth: bool) -> list[str]:
    """How the MLflow server is started; clients reach artifacts through it alone."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", str((HOME / "artifacts").resolve())]
    return [*command, "--app-name", "basic-auth"] if basic_auth else command


def client_environment(prefect: str, mlflow: str) -> dict[str, str]:
    """This process's environment, with what servers, worker and flows need to find each other."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {
        "PATH": path,
        "PREFECT_HOME": str((HOME / "prefect").resolve()),
        "PREFECT_API_URL": f"{prefect}/api",
        "STILLHOUSE_CLONE": str(Path.cwd()),  # where the worker runs stages of flows elsewhere
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # In memory, the default, a killed server forgets who holds a slot, which then stays taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "MLFLOW_TRACKING_URI": os.environ.get("MLFLOW_TRACKING_URI") or mlflow,
    }


def _auth(basic_auth: bool) -> dict[str, str]:
    """The settings of MLflow's basic authentication: no permissions by default, all of them for the first user.

    Raises:
        InputError: no first user's name and password in the environment.
    """
    if not basic_auth:
        return {}
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{what}", "") for what in ("USERNAME", "PASSWORD"))
    if not user or len(password) < 12:
        raise InputError(
            "--basic-auth: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (12 characters or more): "
            "the first user's, who may do everything"
        )
    file = HOME / "basic_auth.ini"
    lines = ["[mlflow]", "default_permission = NO_PERMISSIONS"]
    lines += [f"database_uri = sqlite:///{(HOME / 'users.db').resolve()}"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(file.resolve()),
        "MLFLOW_AUTH_ADMIN_USERNAME": user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _started(process: psutil.Process) -> float:
    """When a process started, in seconds after the machine did.

    psutil adds the time of the machine's start to it, which moves along when the clock is set.
    """
    return process.create_time() - psutil.boot_time()


def _start(name: str, command: Sequence[str], url: str, environment: dict[str, str]) -> None:
    with _log(name).open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    server = Server(name, process.pid, _started(psutil.Process(process.pid)), url)
    temporary = STATE.with_suffix(".part")
    try:
        temporary.write_text(json.dumps([asdict(each) for each in [*_known(), server]], indent=2), encoding="utf-8")
        temporary.replace(STATE)
    except OSError:
        # On a full disk: nobody would ever stop it, or know why its port is taken.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    print(f"{name}: starting, process {process.pid}", flush=True)


def _wait_for(name: str, url: str) -> None:
    (server,) = [each for each in _known() if each.name == name]
    began = told = time.monotonic()
    print(f"{name}: waiting until {url} answers (a first start makes its database)", flush=True)
    while time.monotonic() < began + PATIENCE and server.process:
        if time.monotonic() > told + TELL_EVERY:
            told = time.monotonic()
            print(f"{name}: still waiting after {told - began:.0f} s; its log ends: {_last_line(name)}", flush=True)
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    print(f"{name}: answers after {time.monotonic() - began:.0f} s", flush=True)
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    what = "does not answer" if server.process else "ended"
    raise InputError(f"{name} {what} at {url}: {_last_line(name)} (log: {_log(name)})")


def _prefect(arguments: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise InputError(f"prefect {' '.join(arguments)} failed: {lines[-1] if lines else 'no message'}")


def _must_be_free(option: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InputError(
                f"{option} {port}: {os.strerror(error.errno or 0).lower()}: stop what uses it, or give another"
            ) from None


def _known() -> list[Server]:
    if not STATE.exists():
        return []
    known = [Server(**each) for each in json.loads(STATE.read_text(encoding="utf-8"))]
    # Older releases wrote seconds since the epoch.
    return [
        replace(each, started=each.started - psutil.boot_time()) if each.started > EPOCH else each for each in known
    ]


def _log(name: str) -> Path:
    return HOME / "logs" / f"{name}.log"


def _last_line(name: str) -> str:
    lines = [line.strip() for line in _log(name).read_text(errors="replace").splitlines() if line.strip()]
    return hidden(lines[-1]) if lines else "no message"
