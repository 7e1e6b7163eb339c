import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from pyarrow import parquet
from pydantic import BaseModel

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.tracking import sender
from tasks.tracking.journal import AWAY, OUTBOX, away_since, flatten, stage_run
from tasks.tracking.known import rows_of
from tasks.tracking.store import open_store, tracking_uri

NOWHERE = "http://user:secret@127.0.0.1:9"  # the discard port: nothing listens there


class Phase(BaseModel):
    epochs: float
    seed: int


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, and none of the variables that tracking reads."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "STILLHOUSE_TRACKING",
        "STILLHOUSE_RECIPE",
        "STILLHOUSE_PARENT_RUN_ID",
        "MLFLOW_TRACKING_URI",
        "DVC_STAGE",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables, which take seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store()
    return folder / "mlruns" / "mlflow.db"


@pytest.fixture
def with_store(project: Path, store: Path) -> None:
    (project / "mlruns").mkdir()
    shutil.copy(store, project / "mlruns")


@pytest.fixture
def no_sender(with_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals stay where they are; a test sends them itself."""
    monkeypatch.setattr("tasks.tracking.journal.start_sender", lambda: None)
    monkeypatch.setattr("tasks.tracking.journal.PATIENCE", 0.0)


def runs() -> list[Run]:
    client, experiment = open_store()
    return client.search_runs([experiment], order_by=["attributes.start_time"])


def deliver() -> None:
    """One round of the sender, in this process."""
    connection = sender.Connection()
    for path in sorted(OUTBOX.glob("*.jsonl")):
        connection.send(sender.Journal(path))


def test_a_stage_leaves_a_finished_run_with_params_metrics_tags_and_artifacts(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        "git init -q && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m a", shell=True, check=True
    )
    (project / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    outs:\n    - path: data/task\n      md5: abc.dir\n"
    )
    (project / "data" / "task").mkdir(parents=True)
    for split, count in (("train", 3), ("validation", 2)):
        parquet.write_table(pa.table({"text": ["a"] * count}), project / "data" / "task" / f"{split}.parquet")
    monkeypatch.setenv("DVC_STAGE", "hinton")
    monkeypatch.setenv("STILLHOUSE_RECIPE", "hinton")
    monkeypatch.setenv("STILLHOUSE_PARENT_RUN_ID", "0" * 32)
    with stage_run("task_distill", {"hinton": Phase(epochs=0.5, seed=1)}, [Path("data/task/train.parquet")]) as run:
        for step in range(3):
            run.log_metrics({"loss": 1 / (step + 1)}, step)
        note = project / "note.txt"
        note.write_text("kept")
        run.log_artifact(note)
        note.unlink()
    assert not list(OUTBOX.glob("*.jsonl")), "the stage waits until its run is sent"
    (sent,) = runs()
    assert sent.info.run_name == "hinton" and sent.info.status == "FINISHED"
    assert sent.data.params == {"hinton.epochs": "0.5", "hinton.seed": "1"}
    tags = sent.data.tags
    assert tags["recipe"] == tags["stage"] == "hinton" and tags["kind"] == "task_distill"
    assert tags["md5.data/task"] == "abc.dir" and tags["mlflow.parentRunId"] == "0" * 32
    assert len(tags["git_commit"]) == 40 and tags["git_dirty"] == "false"
    # What MLflow's own pages show as source, commit and dataset.
    assert tags["mlflow.source.name"] == "dvc repro hinton" and tags["mlflow.source.git.commit"] == tags["git_commit"]
    (read,) = sent.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == ("data/task", "abc")
    assert json.loads(read.dataset.profile) == {"train": 3, "validation": 2}
    assert [(tag.key, tag.value) for tag in read.tags] == [("mlflow.data.context", "training")]
    history = MlflowClient(tracking_uri()).get_metric_history(sent.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    artifact = project / "mlruns" / "artifacts" / sent.info.run_id / "artifacts" / "note.txt"
    assert artifact.read_text() == "kept"


def test_rows_are_counted_of_the_data_that_a_run_read_and_of_no_others(project: Path) -> None:
    (project / "data").mkdir()
    parquet.write_table(pa.table({"text": ["a"]}), project / "data" / "train.parquet")
    lock = "schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    outs:\n    - path: data\n      md5: new.dir\n"
    (project / "dvc.lock").write_text(lock)
    assert rows_of(Path("data"), "new.dir") == {"train": 1}
    assert rows_of(Path("data"), "old.dir") == {}


@pytest.mark.usefixtures("with_store")
def test_a_killed_stage_ends_as_killed_with_the_metrics_it_had() -> None:
    code = (
        "import os, signal\nfrom tasks.tracking.journal import stage_run\n"
        "with stage_run('prune', {}) as run:\n    run.log_metrics({'loss': 2.0}, 7)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(root)}, check=False)
    assert done.returncode == -signal.SIGKILL
    # Its sender lives on.
    deadline = time.monotonic() + 60
    while list(OUTBOX.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    (sent,) = runs()
    assert sent.info.status == "KILLED" and sent.data.metrics == {"loss": 2.0}


@pytest.mark.usefixtures("no_sender")
def test_a_failing_stage_names_its_error() -> None:
    with pytest.raises(InputError), stage_run("prune", {}):
        raise InputError("prune.share = 2: too much")
    deliver()
    (sent,) = runs()
    assert sent.info.status == "FAILED" and sent.data.tags["error"] == "InputError: prune.share = 2: too much"


@pytest.mark.usefixtures("no_sender")
def test_a_server_that_is_away_in_the_middle_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage_run("mlm", {"mlm": {"seed": 1}}) as run:
        run.log_metrics({"loss": 3.0}, 0)
        deliver()
        assert runs()[0].data.metrics == {"loss": 3.0}, "metrics arrive while the stage runs"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        run.log_metrics({"loss": 2.0}, 1)
        deliver()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    deliver()
    (sent,) = runs()
    assert sent.info.status == "FINISHED"
    history = MlflowClient(tracking_uri()).get_metric_history(sent.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 3.0), (1, 2.0)]
    assert not list(OUTBOX.iterdir())


def test_with_no_server_at_all_the_stage_goes_on_and_no_password_is_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    with stage_run("prepare", {}) as run:
        run.log_metrics({"rows": 5})
    shown = capfd.readouterr().out
    assert "MLflow is away (http://127.0.0.1:9: MlflowException)" in shown and shown.count("\n") == 1
    written = "".join(path.read_text() for path in Path("mlruns").rglob("*") if path.is_file())
    assert "secret" not in shown + written and AWAY.exists()
    assert len(list(OUTBOX.glob("*.jsonl"))) == 1


def test_what_is_said_of_a_server_that_comes_and_goes_is_whole_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    OUTBOX.mkdir(parents=True)
    heard = set()

    def comes_and_goes() -> None:
        connection = sender.Connection()
        for _ in range(2000):
            connection._away(OSError())
            AWAY.unlink()

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(comes_and_goes)
        while not going.done():
            heard.add(away_since(0.0))
    assert going.result() is None and heard == {"", "http://127.0.0.1:9: OSError"}


@pytest.mark.usefixtures("no_sender")
def test_a_command_sends_what_was_left_and_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sender", "--all"])
    monkeypatch.setattr(sender, "LINGER", 0.0)
    monkeypatch.setattr(sender, "RETRY", 0.1)
    monkeypatch.setattr(sender, "alive", lambda pid: False)
    with stage_run("prune", {"prune": {"seed": 1}}) as run:
        run.log_metrics({"loss": 3.0}, 0)
        note = Path("note.txt")
        note.write_text("kept")
        run.log_artifact(note)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    with pytest.raises(SystemExit) as left:
        program.run(sender.main)
    said = capfd.readouterr()
    assert left.value.code == 75 and "0 of 1 runs" in said.out
    assert "1 runs wait in mlruns/outbox: MLflow is away (http://127.0.0.1:9)" in said.err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    program.run(sender.main)
    assert "1 of 1 runs that waited in mlruns/outbox are out of it" in capfd.readouterr().out
    (sent,) = runs()
    assert sent.info.status == "FINISHED" and sent.data.metrics == {"loss": 3.0}
    assert [each.path for each in MlflowClient(tracking_uri()).list_artifacts(sent.info.run_id)] == ["note.txt"]
    assert not list(OUTBOX.glob("*.jsonl"))


@pytest.mark.usefixtures("no_sender")
def test_a_run_that_mlflow_refuses_is_set_aside() -> None:
    with stage_run("prepare", {"a": {"bad key!?": 1}}):
        pass
    deliver()
    assert not list(OUTBOX.glob("*.jsonl")) and len(list(OUTBOX.glob("*.refused"))) == 1


@pytest.mark.usefixtures("no_sender")
@pytest.mark.parametrize("dies", [False, True])
def test_a_run_that_was_made_twice_or_by_a_sender_that_died_is_one_run(
    monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    create = MlflowClient.create_run

    def lost_answer(client: MlflowClient, *given: object, **named: object) -> None:
        create(client, *given, **named)
        create(client, *given, **named)
        if dies:
            raise KeyboardInterrupt

    with stage_run("fit", {"epochs": 1}) as run:
        run.log_metrics({"loss": 2.0}, step=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) if dies else nullcontext():
        patch.setattr(MlflowClient, "create_run", lost_answer)
        deliver()
    deliver()
    (found,) = runs()
    assert found.info.status == "FINISHED" and found.data.metrics == {"loss": 2.0}


@pytest.mark.usefixtures("no_sender")
def test_a_line_that_a_full_disk_cut_off_takes_no_other_line_along(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.FileIO):
        """It has room for ten bytes more."""

        def write(self, text: bytes) -> int:
            return super().write(text[:10])

    with pytest.raises(OSError, match="No space left on device"), stage_run("fit", {"epochs": 1}) as run:
        run.log_metrics({"loss": 2.0}, step=1)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda path, *_, **__: FullDisk(path, "a+"))
            run.log_metrics({"loss": 1.0}, step=2)
    deliver()
    (found,) = runs()
    assert found.info.status == "FAILED" and "No space left" in found.data.tags["error"]
    assert found.data.metrics == {"loss": 2.0} and not list(OUTBOX.glob("*.jsonl"))


@pytest.mark.parametrize("variable", [{"STILLHOUSE_TRACKING": "off"}, {"RANK": "1"}])
def test_nothing_is_written_when_tracking_is_off_or_another_process_speaks(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: dict[str, str]
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    with stage_run("prepare", {}) as run:
        run.log_metrics({"rows": 5})
        run.log_artifact(project)
    assert not (project / "mlruns").exists()


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_TRACKING", "maybe")
    with pytest.raises(InputError, match="STILLHOUSE_TRACKING = 'maybe': choose on or off"), stage_run("x", {}):
        pass


def test_parameters_are_flat_and_json_where_they_are_not_text() -> None:
    assert flatten({"a": Phase(epochs=1, seed=2), "b": "text", "c": None, "d": [1, 2]}) == {
        "a.epochs": "1.0",
        "a.seed": "2",
        "b": "text",
        "c": "null",
        "d": "[1, 2]",
    }
