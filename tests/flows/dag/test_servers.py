"""What `make up` and `make down` refuse and leave alone; and the MLflow server on PostgreSQL, with passwords."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from flows.dag import servers
from stillhouse.errors import InputError
from tests.clones import free_port
from tests.flows.test_flows import run

PASSWORD = "correct-horse-battery"


def test_a_port_that_is_taken_is_named_and_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--mlflow-port {port}: address already in use: stop what uses it"):
            servers.up(free_port(), port, "", False)
    assert not servers.STATE.exists()


def test_whoever_waits_for_a_server_is_told_for_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            Slow.asked += 1
            self.send_response(200 if Slow.asked == 3 else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(servers, "TELL_EVERY", 0.1)
    (servers.HOME / "logs").mkdir(parents=True)
    (servers.HOME / "logs" / "mlflow.log").write_text("Creating tables\n")
    me = psutil.Process()
    known = [{"name": "mlflow", "pid": me.pid, "started": servers._started(me), "url": ""}]
    servers.STATE.write_text(json.dumps(known))
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/health"
        servers._wait_for("mlflow", url)
        server.shutdown()
    first, *more, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"mlflow: waiting until {url} answers")
    assert len(more) >= 1
    assert all(line.startswith("mlflow: still waiting after ") for line in more)
    assert all(line.endswith(" s; its log ends: Creating tables") for line in more)
    assert last.startswith("mlflow: answers after ")


def test_authentication_needs_a_first_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "short")
    with pytest.raises(InputError, match="--basic-auth: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"):
        servers._auth(True)


def test_a_process_that_took_over_a_number_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    servers.HOME.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        servers.STATE.write_text(f'[{{"name": "mlflow", "pid": {stranger.pid}, "started": 1.0, "url": ""}}]')
        servers.down(quiet=True)
        assert stranger.poll() is None and not servers.STATE.exists()
        stranger.communicate(b"\n")


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_servers_are_still_known_after_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.chdir(tmp_path)
    (servers.HOME / "logs").mkdir(parents=True)
    servers._start("mlflow", ["sleep", "300"], "", dict(os.environ))
    # The kernel moves the time of its start along when its clock is set; psutil reckons from there.
    boot = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot() + jump)
    (server,) = servers._known()
    assert server.process and [each.pid for each in server.family] == [server.pid]
    servers.down(quiet=True)
    assert not psutil.pid_exists(server.pid) or psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE


def test_servers_that_an_older_release_started_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    servers.HOME.mkdir()
    us = psutil.Process()
    servers.STATE.write_text(json.dumps([{"name": "mlflow", "pid": us.pid, "started": us.create_time(), "url": ""}]))
    (server,) = servers._known()
    assert server.process == us


def test_a_server_that_cannot_be_noted_on_a_full_disk_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (servers.HOME / "logs").mkdir(parents=True)

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = {each.pid for each in psutil.Process().children(recursive=True)}
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device"):
        patch.setattr(Path, "write_text", full)
        servers._start("mlflow", ["sleep", "300"], "", dict(os.environ))
    assert {each.pid for each in psutil.Process().children(recursive=True)} == before


def test_what_a_killed_server_left_behind_is_stopped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (servers.HOME / "logs").mkdir(parents=True)
    servers._start("mlflow", ["sh", "-c", "sleep 300 & echo $! > child; wait"], "", dict(os.environ))
    while not Path("child").exists() or not Path("child").read_text():
        time.sleep(0.02)
    (server,) = servers._known()
    process = server.process
    assert process
    process.kill()
    process.wait()
    child = psutil.Process(int(Path("child").read_text()))
    assert child.is_running()
    servers.down(quiet=True)
    assert not child.is_running() and not servers.STATE.exists()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A real PostgreSQL where one is installed, else SQLite: the URL of an empty database."""
    if shutil.which("pg_ctl") is None:
        yield f"sqlite:///{tmp_path / 'other.db'}"
        return
    folder, port = tmp_path / "postgres", free_port()
    # PostgreSQL refuses to run as root.
    drop = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    folder.mkdir()
    if drop:
        shutil.chown(folder, **drop)
        for parent in folder.parents[:4]:
            parent.chmod(parent.stat().st_mode | 0o011)

    def postgres(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **drop)

    (tmp_path / "password").write_text(PASSWORD)
    postgres(
        "initdb", "-D", str(folder / "data"), "-U", "mlflow", "-A", "scram-sha-256", f"--pwfile={tmp_path / 'password'}"
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    postgres("pg_ctl", "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql://mlflow:{PASSWORD}@127.0.0.1:{port}/postgres"
    postgres("pg_ctl", "-D", str(folder / "data"), "-w", "-m", "fast", "stop")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_has_no_password_can_neither_read_nor_promote(
    recipe_project: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", str(root))
    for name in ("flows", "tasks", "stillhouse"):
        (recipe_project / name).symlink_to(root / name)
    hinton = {"name": "hinton", "entrypoint": "flows/pipeline.py:compress", "work_pool": {"name": "stillhouse"}}
    (recipe_project / "prefect.yaml").write_text(json.dumps({"name": "stillhouse", "deployments": [hinton]}))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    monkeypatch.setenv("STILLHOUSE_MLFLOW_STORE", database)
    prefect, mlflow = free_port(), free_port()
    code, shown = run(
        "flows.servers", "up", "--basic-auth", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)
    )
    assert code == 0, shown
    try:
        url = f"http://127.0.0.1:{mlflow}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        code, shown = run("flows.compress", "hinton")
        assert code == 0, shown
        client = MlflowClient(url)
        version = client.get_model_version_by_alias("stillhouse-docstrings", "candidate").version
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        for attempt in (
            lambda: client.search_experiments(),
            lambda: client.get_model_version_by_alias("stillhouse-docstrings", "candidate"),
            lambda: client.set_registered_model_alias("stillhouse-docstrings", "champion", version),
        ):
            with pytest.raises(MlflowException, match=r"(?i)not authenticated"):
                attempt()
        written = [file for file in Path(".servers").rglob("*") if file.suffix in (".log", ".json", ".ini")]
        assert written and not [file for file in written if PASSWORD in file.read_text(errors="replace")]
    finally:
        code, shown = run("flows.servers", "down")
        assert code == 0, shown
