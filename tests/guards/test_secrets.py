"""A password in a URL is in nothing that is written or shown: journals, MLflow, logs, Prefect."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dag.graph import Stage
from flows.dag.process import StageFailed, bring_up_to_date
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.secrets import hidden, without_login
from tasks.tracking import sender
from tasks.tracking.journal import stage_run
from tests.flows.conftest import Toy

ROOT = Path(__file__).parents[2]
SECRET = "pw-7f3a91c"
URL = f"https://ada:{SECRET}@remote.example/store"


def found(folder: Path, *but: str) -> list[str]:
    """The files below that have the secret in them."""
    files = [file for file in folder.rglob("*") if file.is_file() and not str(file).endswith(but or ("none",))]
    assert files
    return [str(file) for file in files if SECRET.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, "https://…@remote.example/store"),
        (f"postgresql+psycopg2://mlflow:{SECRET}@db:5432/mlflow", "postgresql+psycopg2://…@db:5432/mlflow"),
        (f"fetching 'ssh://{SECRET}@host/a' failed", "fetching 'ssh://…@host/a' failed"),
        (f"http://u:a@{SECRET}@host/a", "http://…@host/a"),
        (f"https://host/x?token={SECRET}&page=2", "https://host/x?token=…&page=2"),
        (f"AWS_SECRET_ACCESS_KEY={SECRET} dvc push", "AWS_SECRET_ACCESS_KEY=… dvc push"),
        ("models:/stillhouse-sst2@champion", "models:/stillhouse-sst2@champion"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("[hinton] max_tokens=64 key=3", "[hinton] max_tokens=64 key=3"),
    ],
)
def test_what_is_shown_of_a_text(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_a_login_is_taken_out_of_a_url_and_decoded() -> None:
    assert without_login("http://a%40b:p%3Aw@h:5000/x") == ("http://h:5000/x", "a@b", "p:w")
    assert without_login("http://h/x") == ("http://h/x", "", "")


@pytest.mark.parametrize("uri", [f"http://ada:{SECRET}@127.0.0.1:9", "sqlite:///mlruns/mlflow.db"])
def test_a_run_has_no_secret_in_it_wherever_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    monkeypatch.setattr("tasks.tracking.journal.start_sender", lambda: None)
    monkeypatch.setattr("tasks.tracking.journal.PATIENCE", 0.0)
    monkeypatch.setattr("tasks.tracking.sender.alive", lambda _: False)
    monkeypatch.setattr("tasks.tracking.sender.LINGER", 0.0)
    monkeypatch.setattr("tasks.tracking.sender.RETRY", 0.0)
    with pytest.raises(InputError), stage_run("prepare", {"data": {"hub": {"name": URL}}}):
        raise InputError(f"'{URL}' cannot be reached")
    sender.deliver(None)
    assert (tmp_path / "mlruns/outbox/.away").exists() == uri.startswith("http")
    shown = capfd.readouterr()
    assert found(tmp_path) == [] and SECRET not in shown.out + shown.err
    if uri.startswith("http"):
        login = [os.environ[f"MLFLOW_TRACKING_{name}"] for name in ("USERNAME", "PASSWORD")]
        assert login == ["ada", SECRET] and os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"


def test_a_programs_last_line_has_no_secret_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise ConnectionError(f"{URL} does not answer")

    with pytest.raises(SystemExit):
        program.run(main)
    assert capsys.readouterr().err.startswith("error: network: https://…@remote.example/store does not answer")


def test_what_dvc_and_a_stage_say_of_a_remote_is_kept_without_its_password(
    toy: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    root = toy({"a": {"cmd": "echo pulling from $REMOTE; echo error: $REMOTE is away; exit 75", "outs": ["out"]}})
    with pytest.raises(StageFailed) as failed:
        bring_up_to_date(root, Stage("a", ()), {"REMOTE": URL})
    assert failed.value.reason == "https://…@remote.example/store is away"
    shown = capfd.readouterr()
    assert "https://…@remote.example/store" in shown.out and SECRET not in shown.out + shown.err
    assert found(root) == []


@pytest.mark.slow
def test_a_flow_that_fails_leaves_no_secret_anywhere(recipe_project: Path, tmp_path: Path) -> None:
    tree = json.loads((recipe_project / "dvc.yaml").read_text())
    tree["stages"]["prepare"]["cmd"] = "echo error: ERROR: failed to connect to $REMOTE; exit 2"
    (recipe_project / "dvc.yaml").write_text(json.dumps(tree))
    subprocess.run(["dvc", "remote", "add", "-d", "there", URL], check=True)
    home = tmp_path / "prefect"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home), "REMOTE": URL}
    environment["MLFLOW_TRACKING_URI"] = f"http://ada:{SECRET}@127.0.0.1:9"
    command = [sys.executable, "-m", "flows.compress", "hinton"]

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False, timeout=240)

    done = run(PREFECT_LOGGING_LEVEL="DEBUG")
    assert done.returncode == 1 and "failed to connect to https://…@remote.example/store" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert (home / "prefect.db").exists()
    assert found(tmp_path, ".dvc/config") == [], "but where the user wrote it"

    done = run(PREFECT_API_URL=f"http://ada:{SECRET}@127.0.0.1:9/api")
    assert done.returncode == 75 and "error: network: Prefect at http://127.0.0.1:9/api cannot be" in done.stderr
    assert SECRET not in done.stdout + done.stderr and "Traceback" not in done.stderr
