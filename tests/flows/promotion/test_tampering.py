"""A version's files are what was registered, or it is neither fetched, scored, served nor put into service."""

import sys
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest

from flows import serve
from flows.promotion.decision import roll_back, try_to_promote
from flows.promotion.lock import unlock
from flows.registry.files import fetch, folder_digest
from flows.registry.versions import register
from stillhouse.errors import InputError
from tasks.tracking.store import open_store, tracking_uri
from tests.flows.conftest import ROOT, train_again
from tests.flows.promotion.conftest import NAME, champion, flip, version_folder

pytestmark = pytest.mark.usefixtures("here")


def test_a_fetched_version_is_what_was_registered(tmp_path: Path) -> None:
    client, _ = open_store()
    folder = fetch(client, client.get_model_version(NAME, "1"), tmp_path)
    weights = (folder / "artifacts/checkpoint/model.safetensors").read_bytes()
    assert weights == (version_folder("1") / "artifacts/checkpoint/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("artifacts/checkpoint/model.safetensors", r"version 1: its weights have sha256 .*…, registered was .*…: "),
        ("artifacts/onnx/model.onnx", r"version 1: its files have sha256 .*…, registered was .*…: "),
        ("MLmodel", r"version 1: its files have sha256"),
    ],
)
def test_a_version_whose_files_were_changed_is_refused(tampered: Path, tmp_path: Path, file: str, reason: str) -> None:
    flip(tampered / file)
    client, _ = open_store()
    with pytest.raises(InputError, match=reason) as error:
        fetch(client, client.get_model_version(NAME, "1"), tmp_path)
    assert "\n" not in str(error.value)


def test_a_version_of_this_projects_code_is_served_and_one_of_other_code_is_not(
    tampered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}@champion", "--check"])
    serve.main()
    assert "version 1: weights sha256" in capsys.readouterr().out
    # With digests that agree: whoever can write to the registry could have made them.
    code = tampered / "labels.py"
    code.write_text(code.read_text() + "\n")
    client, _ = open_store()
    before = client.get_model_version(NAME, "1").tags["files_sha256"]
    client.set_model_version_tag(NAME, "1", "files_sha256", folder_digest(tampered))
    with pytest.raises(InputError, match=r"'labels.py' of the version is not this project's"):
        serve.main()
    client.set_model_version_tag(NAME, "1", "files_sha256", before)


def test_what_was_changed_goes_into_service_neither_forward_nor_back(tampered: Path, here: Path) -> None:
    client, _ = open_store()
    train_again(here, "tinybert", 0.9)
    register("tinybert")
    assert try_to_promote("tinybert").promoted
    flip(tampered / "artifacts/onnx/model.onnx")
    now = champion()
    for into_service in (roll_back, lambda: try_to_promote("hinton", version="1")):
        with pytest.raises(InputError, match="version 1: its files have sha256"):
            into_service()
        assert champion() == now and not unlock(client, NAME)


@pytest.mark.parametrize("file", ["artifacts/checkpoint/model.safetensors", "artifacts/onnx/model.onnx"])
def test_a_served_model_whose_weights_were_changed_does_not_load(
    tampered: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    assert mlflow.pyfunc.load_model(f"models:/{NAME}/1").predict(pd.DataFrame({"text": ["good film"]}))
    flip(tampered / file)
    with pytest.raises(ValueError, match=r"has sha256 .*…, registered was .*…: do not use it"):
        mlflow.pyfunc.load_model(f"models:/{NAME}/1")


def test_both_kinds_of_served_model_check_their_files_alike() -> None:
    texts = [(ROOT / "flows" / "serving" / name).read_text() for name in ("labels.py", "answers.py")]
    checks = [text[text.index("def _refuse_changed") : text.index("\n\n\nset_model")] for text in texts]
    assert checks[0] == checks[1] and all("_refuse_changed(context.artifacts" in text for text in texts)
    rows = [text[text.index("def _texts") : text.index("\n\n\n", text.index("def _refused"))] for text in texts]
    assert rows[0] == rows[1] and all("_texts(model_input, " in text for text in texts)
