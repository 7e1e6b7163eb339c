"""Whole flows, as a user starts them: real Prefect servers and MLflow stores, stages that copy what training makes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run

from flows.checks import servers
from flows.checks.finding import Setup
from tasks.stage.params import read_yaml
from tasks.tracking.store import open_store
from tests.clones import command, free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
HINTON = {"prepare", "teacher", "evaluate-teacher", "hinton", "export@hinton", "evaluate@hinton", "report@hinton"}


@pytest.fixture(autouse=True)
def own_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Prefect home of the test's own, and this checkout's modules."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def start(program: str, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", program, *arguments]
    environment = os.environ | {"PYTHONFAULTHANDLER": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    try:
        shown, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        # It says where each of its threads is, before it dies.
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGABRT)
        psutil.wait_procs([psutil.Process(process.pid)] if process.poll() is None else [], timeout=10)
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        pytest.fail(f"it has not ended within 240 s\n{process.communicate(timeout=10)[0]}")
    return process.returncode, shown


def run(program: str, *arguments: str) -> tuple[int, str]:
    return finish(start(program, *arguments))


def change(root: Path, stage: str, command: str) -> None:
    tree = json.loads((root / "dvc.yaml").read_text())
    tree["stages"][stage]["cmd"] = command
    (root / "dvc.yaml").write_text(json.dumps(tree))


def runs() -> list[Run]:
    client, experiment = open_store()
    return client.search_runs([experiment])


def test_a_recipe_runs_registers_shows_its_table_and_then_has_nothing_to_do(recipe_project: Path) -> None:
    code, shown = run("flows.compress", "hinton")
    assert code == 0, shown
    assert set(read_yaml(recipe_project / "dvc.lock")["stages"]) == HINTON
    assert "candidate: stillhouse-docstrings version 1\n" in shown and "| teacher |" in shown
    assert "next:     python -m flows.promote hinton" in shown
    (parent,) = runs()
    assert parent.info.run_name == "hinton · docstrings" and parent.data.metrics["value"] == 0.9
    note = parent.data.tags["mlflow.note.content"]
    assert "hinton |" in note and "| teacher |" in note and "candidate: stillhouse-docstrings version 1" in note
    assert parent.data.tags["mlflow.source.name"] == "python -m flows.compress"
    (data,) = parent.inputs.dataset_inputs
    assert data.dataset.name == "data/task" and len(data.dataset.digest) == 32
    assert json.loads(data.dataset.profile) == {"train": 8, "validation": 8}
    started = time.monotonic()
    code, shown = run("flows.compress", "hinton")
    assert code == 0 and "all 7 stages are up to date" in shown and "| teacher |" in shown
    assert time.monotonic() - started < 10
    assert len(runs()) == 1


def test_a_failing_stage_stops_what_needs_it_and_is_named_with_reason_and_log(recipe_project: Path) -> None:
    change(recipe_project, "hinton", "echo 'error: hinton.distill.alpha = 2: too much'; exit 2")
    code, shown = run("flows.compare")
    assert code == 1 and "Traceback" not in shown
    assert "error: stage 'hinton' failed: hinton.distill.alpha = 2: too much (exit 2; log: logs/hinton.log)\n" in shown
    assert "not run, as they need what failed: export@hinton, evaluate@hinton, compare\n" in shown
    assert "evaluate@tinybert" in read_yaml(recipe_project / "dvc.lock")["stages"], "the rest went on"
    assert shown.count("[hinton] > ") == 1, "a bad parameter is not tried again"
    (parent,) = runs()
    assert parent.info.status == "FAILED" and "hinton.distill.alpha = 2" in parent.data.tags["error"]


def test_a_killed_stage_is_tried_again(recipe_project: Path) -> None:
    change(
        recipe_project, "hinton", "test -e again && cp -r models/teacher models/hinton || { touch again; kill -9 $$; }"
    )
    code, shown = run("flows.compress", "hinton")
    assert code == 0, shown
    assert "[hinton] killed by SIGKILL (may pass later)" in shown


def test_two_flows_at_once_in_one_clone_lose_nothing(recipe_project: Path) -> None:
    both = [start("flows.compress", recipe) for recipe in ("hinton", "tinybert")]
    ended = [finish(each) for each in both]
    assert [code for code, _ in ended] == [0, 0], ended
    other = {name.replace("hinton", "tinybert") for name in HINTON}
    assert set(read_yaml(recipe_project / "dvc.lock")["stages"]) == HINTON | other
    assert sum(shown.count("[teacher] > ") for _, shown in ended) == 1
    assert {each.info.run_name for each in runs()} == {"hinton · docstrings", "tinybert · docstrings"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_flow_leaves_no_process_behind(recipe_project: Path, number: signal.Signals, code: int) -> None:
    change(recipe_project, "prepare", "sleep 61.7")
    flow = start("flows.compress", "hinton")
    # Its own family alone: another test's may sleep as long, and would be taken for it before it listens to signals.
    family, deadline = _family(flow), time.monotonic() + 200
    while not (asleep := [each for each in family if command(each) == ["sleep", "61.7"]]):
        if flow.poll() is not None or time.monotonic() > deadline:
            flow.terminate()
            pytest.fail(f"the stage has not begun: {finish(flow)}")
        time.sleep(0.2)
        family = _family(flow)
    flow.send_signal(number)
    assert finish(flow)[0] == code
    # The sender stays for some seconds after the flow, and for more of them on a busy machine.
    _, left = psutil.wait_procs(family, timeout=60)
    assert not [command(each) for each in left] and not any(each.is_running() for each in asleep)


@pytest.mark.timeout(600)
def test_a_flow_that_is_stopped_while_its_server_starts_leaves_no_server(recipe_project: Path) -> None:
    flow = start("flows.compress", "hinton")
    deadline = time.monotonic() + 200
    while not (servers := [each for each in _family(flow) if "uvicorn" in command(each)]):
        assert flow.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    flow.send_signal(signal.SIGTERM)
    code = flow.wait(timeout=200)
    _, left = psutil.wait_procs(servers, timeout=60)
    for each in left:
        each.kill()
    assert code == 143 and not left, finish(flow)


@pytest.fixture
def server(recipe_project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project with the servers and the worker that `make up` starts, and their environment."""
    for name in ("flows", "tasks", "stillhouse"):
        (recipe_project / name).symlink_to(ROOT / name)
    made = ("hinton", "tinybert", "compare", "promote")  # what the project has stages for
    wanted = [each for each in read_yaml(ROOT / "prefect.yaml")["deployments"] if each["name"] in made]
    assert len(wanted) == len(made)
    (recipe_project / "prefect.yaml").write_text(json.dumps({"name": "stillhouse", "deployments": wanted}))
    monkeypatch.delenv("PREFECT_HOME")
    prefect, mlflow = free_port(), free_port()
    code, shown = run("flows.servers", "up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
    assert code == 0, shown
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{prefect}/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mlflow}")
    known = json.loads((recipe_project / ".servers" / "processes.json").read_text())
    started = [psutil.Process(each["pid"]) for each in known]
    family = [*started, *(child for each in started for child in each.children(recursive=True))]
    assert not [words for each in family if "huey" in " ".join(words := command(each))], "MLflow waits for no jobs"
    yield recipe_project
    code, shown = run("flows.servers", "down")
    assert code == 0, shown
    assert not [each for each in family if each.is_running()], "down leaves no process"


@pytest.mark.timeout(600)
def test_the_servers_of_make_up_are_in_order_to_the_doctor(server: Path) -> None:
    setup, deadline = Setup(server, None), time.monotonic() + 60
    while str(list(servers.prefect(setup))[1]).startswith("warning") and time.monotonic() < deadline:
        time.sleep(1)  # the worker has yet to send its first sign of life
    found = [*servers.prefect(setup), *servers.mlflow(setup)]
    assert [(each.level, each.check) for each in found] == [
        ("ok", check) for check in ("prefect", "worker", "deployments", "mlflow", "outbox")
    ], found


@pytest.mark.timeout(600)
def test_a_deployment_runs_in_the_clone_it_was_deployed_from_and_promotes_on_the_server(server: Path) -> None:
    code, shown = run("prefect", "deployment", "run", "compress/hinton", "--watch")
    assert code == 0 and "Completed" in shown, shown + (server / ".servers/logs/worker.log").read_text()
    assert set(read_yaml(server / "dvc.lock")["stages"]) == HINTON
    code, shown = run("prefect", "deployment", "run", "promote/promote", "--param", "recipe=hinton", "--watch")
    assert code == 0, shown
    client, _ = open_store()
    assert str(client.get_model_version_by_alias("stillhouse-docstrings", "champion").version) == "1"
    assert list((server / ".servers" / "artifacts").rglob("*.safetensors")), "artifacts go through the server"
    artifacts = {each["key"]: each for each in _ask("artifacts/filter")}
    assert {"hinton-result", "hinton-picture", "hinton-promotion"} <= set(artifacts)
    shown = artifacts["hinton-result"]["data"]
    assert "| teacher |" in shown
    names = {each["id"]: each["name"] for each in _ask("flows/filter")}
    (run_id,) = [each["id"] for each in _ask("flow_runs/filter") if names[each["flow_id"]] == "compress"]
    place = f"{os.environ['PREFECT_API_URL'].removesuffix('/api')}/runs/flow-run/{run_id}"
    assert f"[Prefect run hinton · docstrings · uncommitted]({place})" in shown and "[MLflow run " in shown
    where = re.escape(f"`{os.uname().nodename}:{server}`")
    assert re.search(rf"^\| hinton \| .*teacher.* \| ran \| {where} \| [0-9.]+ s \|$", shown, re.MULTILINE), shown
    assert artifacts["hinton-picture"]["data"].startswith("data:image/png;base64,")
    assert {each["name"] for each in _ask("task_runs/filter")} == HINTON
    assert {each["name"] for each in _ask("flow_runs/filter")} == {"hinton · docstrings · uncommitted"}
    code, shown = run("flows.servers", "up")
    assert code == 0 and shown.count(" runs ") == 4 and "starting" not in shown, "up twice starts nothing twice"


def _ask(what: str) -> list[dict]:
    url = f"{os.environ['PREFECT_API_URL']}/{what}"
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())


def _family(process: subprocess.Popen) -> list[psutil.Process]:
    """What a process has started, and what that has; nothing once it has ended."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
