"""A registered model on the hub: what is pushed, what is refused, and that no token is shown."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from flows import publish
from flows.registry.versions import register
from tasks.stage import program
from tasks.tracking.store import open_store
from tests.flows.conftest import registered_project, train_again
from tests.flows.registry.hub import TOKEN, Hub, hub_on_loopback

NAME, HOME = "stillhouse-docstrings", "somebody/docstrings-hinton"
MODEL = f"models:/{NAME}/1"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is version 1."""
    return registered_project(made, tmp_path_factory.mktemp("publish") / "project")


@pytest.fixture
def hub(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub that the programs push to."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with hub_on_loopback() as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-login"))
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two tries
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield made


def run(*words: str, model: str = MODEL) -> None:
    """The program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["publish", model, *words])
        program.run(publish.main)


def refused(capfd: pytest.CaptureFixture[str], *words: str, model: str = MODEL, code: int = 2) -> str:
    """The line that the program ends with."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        run(*words, model=model)
    said = capfd.readouterr().err
    assert left.value.code == code, said
    assert said.count("\n") == 1 and said.startswith("error: ")
    return said


def test_a_new_repository_is_private_and_gets_checkpoint_graph_and_card_in_one_commit(
    hub: Hub, project: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    run("--to", HOME)
    repository = hub.repositories[HOME]
    assert repository.private and len(repository.commits) == 2
    checkpoint, exported = project / "models/hinton", project / "models/exported/hinton"
    wanted = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    wanted |= {f"onnx/{file.name}": file.read_bytes() for file in exported.iterdir() if file.name != "README.md"}
    card = repository.files.pop("README.md").decode()
    del repository.files[".gitattributes"]
    assert repository.files == wanted and "onnx/inference.json" in wanted
    data = ModelCard(card).data.to_dict()
    assert data["license"] == "apache-2.0" and data["model-index"][0]["name"] == NAME and "0.9000" in card
    shown = capfd.readouterr()
    assert f"{NAME} version 1 is at {HOME}, commit {repository.commits[-1]}" in shown.out
    assert TOKEN not in shown.out + shown.err + caplog.text + card
    # What is large goes to an address of its own, which is not the hub's to give the token to.
    assert {given for method, _, given in hub.seen if method == "PUT"} == {None}
    client, _ = open_store()
    assert client.get_model_version(NAME, "1").tags["published"] == f"{HOME}@{repository.commits[-1]}"


def test_the_same_again_pushes_nothing_and_other_contents_want_a_word(
    hub: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    run("--to", HOME, "--public")
    repository = hub.repositories[HOME]
    assert not repository.private
    run("--to", HOME)
    assert len(repository.commits) == 2 and "lies at somebody/docstrings-hinton already" in capfd.readouterr().out
    repository.files |= {"notes.md": b"mine", "config.json": b"{}"}
    before = dict(repository.files)
    said = refused(capfd, "--to", HOME)
    assert "holds something else (2 files, such as config.json): name another repository, or push over it" in said
    assert repository.files == before and len(repository.commits) == 2
    run("--to", HOME, "--again")
    assert len(repository.commits) == 3 and repository.files["config.json"] != b"{}"
    assert repository.files["notes.md"] == b"mine", "what is not ours stays"
    assert "left there, as it is not of this model: notes.md" in capfd.readouterr().out


def test_what_a_broken_push_left_is_pushed_over_without_a_word(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.fails["/commit/"] = 503
    assert "network: the hub answers with HTTP 503" in refused(capfd, "--to", HOME, code=75)
    assert list(hub.repositories[HOME].files) == [".gitattributes"]
    hub.fails = {"/large/": 500}
    assert "network: the upload to 'somebody/docstrings-hinton' broke off" in refused(capfd, "--to", HOME, code=75)
    hub.fails = {}
    run("--to", HOME)
    assert len(hub.repositories[HOME].commits) == 2


def test_a_check_says_what_would_be_pushed_and_asks_no_hub(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    for word in ("--check", "--dry-run"):
        run("--to", HOME, word, "--license", "mit")
        shown = capfd.readouterr().out
        assert f"{NAME} version 1 would be pushed to {HOME}:" in shown
        assert all(f"  {name}\n" in shown for name in ("README.md", "model.safetensors", "onnx/model.onnx"))
        assert "license: mit" in shown and "apache" not in shown
    assert hub.seen == []


@pytest.mark.parametrize(
    ("words", "model", "said"),
    [
        (("--to", "docstrings"), MODEL, "--to 'docstrings' is no id of the hub: give OWNER/NAME"),
        (("--to", "a/b/c"), MODEL, "--to 'a/b/c' is no id of the hub"),
        (("--to", "a/../b"), MODEL, "--to 'a/../b' is no id of the hub"),
        (("--to", HOME), "hinton", "model = 'hinton': give models:/NAME@champion, or models:/NAME/VERSION"),
        (("--to", HOME), f"models:/{NAME}/9", "is not in the registry"),
        (("--to", HOME), f"models:/{NAME}@nobody", "is not in the registry"),
        (("--to", HOME), "models:/other/1", "is not in the registry"),
    ],
)
def test_what_names_nothing_is_refused_before_the_hub_is_asked(
    hub: Hub, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], model: str, said: str
) -> None:
    assert said in refused(capfd, *words, model=model)
    assert hub.seen == []


def test_a_card_that_the_hub_refuses_stops_the_push(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    said = refused(capfd, "--to", HOME, "--license", "none of mine")
    assert f"the hub refuses the card of '{HOME}'" in said and '"license" must be one of many' in said
    assert list(hub.repositories[HOME].files) == [".gitattributes"]


def test_without_a_token_that_may_write_nothing_is_pushed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_somebody_elses")
    said = refused(capfd, "--to", HOME)
    assert "does not let this token write to 'somebody/docstrings-hinton' (HTTP 401)" in said and "hf_" not in said
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token for the hub: set HF_TOKEN" in refused(capfd, "--to", HOME)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.example")
    assert "HF_ENDPOINT is not https: the token would be sent for all to read" in refused(capfd, "--to", HOME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "network: the hub at 127.0.0.1 cannot be reached (ConnectError)" in refused(capfd, "--to", HOME, code=75)
    assert hub.repositories == {}


def test_a_version_whose_files_were_changed_is_not_pushed(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    train_again(Path(), "tinybert", 0.95)
    version = register("tinybert").version
    client, _ = open_store()
    run_id = str(client.get_model_version(NAME, version).run_id)
    stored = Path("mlruns/artifacts") / run_id / "artifacts/model/artifacts/onnx/inference.json"
    whole = stored.read_text()
    stored.write_text(whole.replace("good", "bad"))
    model = f"models:/{NAME}/{version}"
    assert "they were changed since" in refused(capfd, "--to", HOME, model=model)
    assert hub.seen == []


@pytest.mark.slow
def test_the_command_pushes_to_the_hub_that_hf_endpoint_names(hub: Hub, project: Path) -> None:
    environment = os.environ | {
        **{"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}
    }
    words = [sys.executable, "-m", "flows.publish", MODEL, "--to", HOME]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"is at {HOME}" in done.stdout and TOKEN not in done.stdout + done.stderr
    assert "onnx/model.onnx" in hub.repositories[HOME].files
