"""A registry that others change: who loads from it, deletes from it, cleans it up, or moves the project's folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import pytest

from flows import compress, serve
from flows.dag.graph import Stage
from flows.promotion.decision import roll_back, try_to_promote
from flows.registry.versions import Registered, is_registered, register
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.tracking.store import open_store, tracking_uri
from tests.clones import environment
from tests.flows.conftest import fill_project, train_again
from tests.flows.promotion.conftest import promoted

NAME = "stillhouse-docstrings"


@pytest.fixture(scope="module")
def registered(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is version 1, the champion, and tinybert version 2."""
    root = promoted(fill_project(made, tmp_path_factory.mktemp("registered") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        train_again(root, "tinybert", 0.93)
        register("tinybert")
    return root


@pytest.fixture
def here(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test, whose registry follows it."""
    root = Path(shutil.copytree(registered, tmp_path / "project"))
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    open_store()  # where it follows
    return root


def run_id(version: str) -> str:
    return str(open_store()[0].get_model_version(NAME, version).run_id)


def files(version: str) -> Path:
    return Path("mlruns/artifacts") / run_id(version) / "artifacts" / "model"


def clean_up(version: str) -> None:
    """Delete a version's run as a person does who needs the room."""
    client, _ = open_store()
    gone = run_id(version)
    client.delete_run(gone)
    words = ["--backend-store-uri", tracking_uri(), "--tracking-uri", tracking_uri(), "--run-ids", gone]
    # In a process of its own: it sets MLflow's address for all that comes after it.
    subprocess.run([sys.executable, "-m", "mlflow", "gc", *words], check=True, capture_output=True)
    assert not Path("mlruns/artifacts", gone, "artifacts").exists()


def champion() -> str:
    return str(open_store()[0].get_model_version_by_alias(NAME, "champion").version)


@pytest.mark.usefixtures("here")
def test_a_version_that_mlflow_itself_has_loaded_is_served_and_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    mlflow.pyfunc.load_model(f"models:/{NAME}/2")
    note = files("2") / "registered_model_meta"
    assert note.is_file(), "MLflow writes into the store"
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}/2", "--check"])
    serve.main()
    assert try_to_promote("tinybert").promoted and champion() == "2"
    note.write_text("import os\n")
    with pytest.raises(InputError, match=r"'registered_model_meta' is no part of a registered model"):
        serve.main()


@pytest.mark.usefixtures("here")
def test_a_version_that_was_deleted_is_registered_again() -> None:
    assert is_registered("tinybert")
    open_store()[0].delete_model_version(NAME, "2")
    assert not is_registered("tinybert")
    assert register("tinybert") == Registered(NAME, "3", new=True)
    assert is_registered("tinybert") and try_to_promote("tinybert").promoted


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("harm", ["deleted run", "cleaned up", "no files", "other bytes"])
def test_a_version_that_can_no_more_be_served_is_stored_again(harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    if harm == "deleted run":
        open_store()[0].delete_run(run_id("2"))
    elif harm == "cleaned up":
        clean_up("2")
    elif harm == "no files":
        shutil.rmtree(files("2"))
    else:
        (files("2") / "artifacts/onnx/model.onnx").write_bytes(b"other")
    assert not is_registered("tinybert")
    assert register("tinybert") == Registered(NAME, "3", new=True)
    assert "tinybert" not in capsys.readouterr().err
    assert is_registered("tinybert") and try_to_promote("tinybert").promoted and champion() == "3"


@pytest.mark.usefixtures("here")
def test_a_champion_whose_run_is_gone_stands_in_nobodys_way() -> None:
    try_to_promote("tinybert")
    clean_up("2")
    with pytest.raises(
        InputError, match=r"has its run \w+ no more.*; if it is out of .* its alias 'champion'"
    ) as error:
        try_to_promote("hinton")
    assert "\n" not in str(error.value) and champion() == "2"
    assert roll_back() == f"rolled back: {NAME} version 1 is the champion again (version 2 was)"
    client, _ = open_store()
    assert champion() == "1" and "to version 1" in client.get_model_version(NAME, "2").tags["rolled_back"]
    assert "from version 2" in client.get_model_version(NAME, "1").tags["restored"]


@pytest.mark.usefixtures("here")
def test_a_champion_that_a_hand_chose_is_rolled_back() -> None:
    client, _ = open_store()
    made = client.create_model_version(NAME, files("1").resolve().as_uri())
    client.set_registered_model_alias(NAME, "champion", made.version)
    assert roll_back() == f"rolled back: {NAME} version 1 is the champion again (version {made.version} was)"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("call", ["set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias"])
def test_a_rollback_that_fails_has_moved_nothing_and_can_be_repeated(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_to_promote("tinybert")

    def fails(*_: object, **__: object) -> None:
        raise ConnectionError("the network is down")

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(f"mlflow.tracking.MlflowClient.{call}", fails)
        roll_back()
    assert champion() == "2"
    roll_back()
    assert champion() == "1"


# What a user does next, in the new folder.
GOES_ON = """
from flows.promotion.decision import roll_back, try_to_promote
from flows.registry.versions import is_registered, register
print(is_registered("hinton"), register("hinton").new, try_to_promote("tinybert").promoted, roll_back())
"""


def test_a_project_that_was_moved_takes_its_registry_along(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "a new place"
    shutil.move(here, there)
    monkeypatch.chdir(there)
    done = subprocess.run(
        [sys.executable, "-c", GOES_ON], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.count("its paths are now those of") == 1
    assert done.stdout.endswith(
        f"True False True rolled back: {NAME} version 1 is the champion again (version 2 was)\n"
    )
    client, experiment = open_store()
    assert client.get_experiment(experiment).artifact_location == Path("mlruns/artifacts").resolve().as_uri()
    assert not here.exists()


def test_a_copy_of_the_database_alone_goes_on_with_the_files_where_they_are(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "copy"
    shutil.copytree(here, there, ignore=shutil.ignore_patterns("artifacts"))
    monkeypatch.chdir(there)
    client, experiment = open_store()
    assert client.get_experiment(experiment).artifact_location == (here / "mlruns/artifacts").as_uri()
    assert not capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_store_that_is_away_does_not_keep_results_from_being_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away() -> None:
        raise ConnectionError("MLflow at http://gpu-7:5000 cannot be reached")

    monkeypatch.setattr("flows.registry.versions.reach_store", away)
    monkeypatch.setattr("flows.compress.load_graph", lambda root: (Stage("report@tinybert", ()),))
    monkeypatch.setattr("flows.compress.stale", lambda root, stages: set())
    monkeypatch.setattr("flows.compress.remote_of", lambda root: None)
    monkeypatch.setattr(sys, "argv", ["compress", "tinybert"])
    Path("dvc.yaml").write_text("stages: {}\n")
    compress.main()
    shown = capsys.readouterr().out
    assert "its model was registered; whether it still is cannot be asked: MLflow at http://gpu-7:5000" in shown
    assert "accuracy (validation)" in shown


def test_two_tasks_of_one_name_do_not_share_a_registered_model(here: Path) -> None:
    params = json.loads((here / "params.yaml").read_text())

    def of(folder: str, name: str | None = None) -> None:
        data = {"kind": "classes", "source": "files", "files": {"folder": folder, "layout": "table"}, "name": name}
        (here / "params.yaml").write_text(json.dumps(params | {"data": data}))

    of("/ann/Reviews")
    assert register("hinton").name == "stillhouse-reviews"
    of("/bob/Reviews")
    with pytest.raises(InputError, match=r"is the task of files /ann/Reviews, the one here is of files /bob/Rev") as no:
        register("tinybert")
    assert "\n" not in str(no.value) and "data.name: reviews" in str(no.value)
    of("/bob/Reviews", "reviews")
    assert register("tinybert") == Registered("stillhouse-reviews", "2", new=True)
    of("/bob/Reviews", "bob-reviews")
    assert register("tinybert") == Registered("stillhouse-bob-reviews", "1", new=True)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (mlflow.MlflowException("Run with id=7 not found", 1), 75, "MLflow does not answer as it should"),
        (mlflow.MlflowException("Run with id=7 not found", 1001), 2, "MLflow refuses"),
    ],
)
def test_what_mlflow_raises_where_nobody_foresaw_it_is_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as left:
        program.run(main)
    shown = capsys.readouterr().err
    assert left.value.code == code and shown.startswith(f"error: {line}") and shown.count("\n") == 1
