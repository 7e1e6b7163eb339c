"""A registered version is served by a process of its own, which leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows import serve
from flows.promotion.decision import serve_command
from stillhouse.errors import InputError
from tests.clones import ROOT, free_port
from tests.flows.conftest import fill_project
from tests.flows.promotion.conftest import NAME, promoted
from tests.served import wait_for


@pytest.fixture(scope="module")
def project(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is version 1, the champion."""
    return promoted(fill_project(made, tmp_path_factory.mktemp("served")))


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return project


@pytest.mark.slow
def test_the_champion_is_served_and_answers_two_sentences(here: Path) -> None:
    port = free_port()
    words = [sys.executable, *serve_command(NAME).split()[1:], "--port", str(port)]
    with (here / "serve.log").open("w") as log:
        server = subprocess.Popen(
            words, cwd=here, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/ping", server, here / "serve.log")
        rows = {"dataframe_records": [{"text": "good film"}, {"text": "very very bad food"}]}
        request = urllib.request.Request(
            f"{url}/invocations", json.dumps(rows).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            predictions = json.loads(reply.read())["predictions"]
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    assert [set(each["scores"]) for each in predictions] == [{"bad", "good"}] * 2
    assert all(each["label"] in ("bad", "good") for each in predictions)
    assert all(abs(sum(each["scores"].values()) - 1) < 1e-6 for each in predictions)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_served_model_that_is_asked_to_end_leaves_no_process_and_no_folder(
    here: Path, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    words = [sys.executable, *serve_command(NAME).split()[1:], "--port", str(port)]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(words, cwd=here, env=variables, stdout=log, stderr=log)
    wait_for(f"http://127.0.0.1:{port}/ping", server, tmp_path / "serve.log")
    family = psutil.Process(server.pid).children(recursive=True)
    assert len(family) > 1, "MLflow, its server and its workers"
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(words, cwd=here, env=variables, capture_output=True, check=True)  # the port is taken
    server.send_signal(number)
    assert server.wait(60) == 128 + number
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("port", ["taken", "99999"])
def test_a_port_that_cannot_be_had_is_named_before_anything_is_fetched(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1]) if port == "taken" else port
        monkeypatch.setattr(sys, "argv", ["serve", "models:/no-such@champion", "--port", port])
        with pytest.raises(InputError, match=f"--port {port} cannot be used .*: choose another"):
            serve.main()
