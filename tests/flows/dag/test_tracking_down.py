"""MLflow's server is away over a whole flow, and dies in the middle of one: nothing that was made is lost."""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run, RunStatus
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from tests.clones import clone, environment, free_port

STAGES = {"prepare", "teacher", "evaluate-teacher", "hinton", "export@hinton", "evaluate@hinton", "report@hinton"}
STAGES |= {"finish@hinton", "export-finished@hinton", "evaluate-finished@hinton"}


class Server:
    """An MLflow server whose store outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        log = (self.folder / "server.log").open("a")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), cwd=self.folder)
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline and self.process.poll() is None, "the server does not start"
                time.sleep(0.3)

    def kill(self) -> None:
        if self.process:
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for each in family:
                each.send_signal(signal.SIGKILL)
            psutil.wait_procs(family, timeout=20)
            self.process = None

    def runs(self) -> dict[str, Run]:
        """The newest run of each stage."""
        client = MlflowClient(self.url)
        found = client.search_runs([e.experiment_id for e in client.search_experiments()], order_by=["start_time"])
        return {run.info.run_name: run for run in found}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_mlflow_that_is_away_or_dies_costs_neither_models_nor_metrics(tmp_path: Path, server: Server) -> None:
    folder = clone(tmp_path / "clone", epochs=1, narrow=True)
    variables = environment() | {"MLFLOW_TRACKING_URI": server.url}

    def run(*command: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    # Away from the first stage to the last.
    code, shown = run("flows.compress", "hinton")
    assert code == 75 and f"MLflow at {server.url} cannot be reached" in shown, shown[-3000:]
    assert (folder / "models/hinton/model.safetensors").exists() and (
        folder / "reports/evaluated/hinton/metrics.json"
    ).exists()
    assert len(list((folder / "mlruns/outbox").glob("*.jsonl"))) >= len(STAGES)
    code, shown = run("tasks.tracking.sender", "--all")
    assert code == 75, shown

    # A command sends all of it.
    server.start()
    code, shown = run("tasks.tracking.sender", "--all")
    assert code == 0, shown
    assert not list((folder / "mlruns/outbox").glob("*.jsonl"))
    runs = server.runs()
    assert set(runs) >= STAGES
    for name in STAGES:
        assert runs[name].info.status == RunStatus.to_string(RunStatus.FINISHED)
    assert runs["teacher"].data.metrics.keys() >= {"accuracy", "loss"}
    assert runs["evaluate@hinton"].data.metrics["kept"] > 0
    code, shown = run("flows.compress", "hinton")
    assert code == 0 and "version 1" in shown and "step " not in shown, shown[-3000:]

    # It dies while the student trains.
    params = folder / "params.yaml"
    tree = YAML().load(params)
    tree["hinton"]["distill"]["phase"]["epochs"] = 30
    YAML().dump(tree, params)
    before = runs["hinton"].info.run_id
    log = folder / "flow.log"
    with log.open("w") as stream:
        command = [sys.executable, "-m", "flows.compress", "hinton"]
        flow = subprocess.Popen(command, cwd=folder, env=variables, stdout=stream, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 240
        while "[hinton] step " not in log.read_text():
            assert time.monotonic() < deadline and flow.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        server.kill()
        assert flow.wait(timeout=400) == 75, log.read_text()[-3000:]
    server.start()
    code, shown = run("flows.compress", "hinton")
    assert code == 0 and "version 2" in shown and "step " not in shown, shown[-3000:]
    after = server.runs()["hinton"]
    assert after.info.run_id != before
    assert after.info.status == RunStatus.to_string(RunStatus.FINISHED)
    steps = [each.step for each in MlflowClient(server.url).get_metric_history(after.info.run_id, "loss")]
    assert steps[-1] == max(steps) and len(steps) == len(set(steps)), "each figure once, the last one too"
