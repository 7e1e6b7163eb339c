"""Versions that were registered before the files in `flows/serving` had their names, or their present contents."""

import hashlib
import shutil
import sys
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest

from flows import serve
from flows.promotion.decision import roll_back, try_to_promote
from flows.registry.code import FORMER as FORMER_CODE
from flows.registry.code import OURS
from flows.registry.files import fetch, folder_digest
from flows.registry.versions import register
from stillhouse.errors import InputError
from tasks.tracking.store import open_store
from tests.flows.conftest import train_again
from tests.flows.promotion.conftest import NAME, champion, version_folder

FORMER = Path(__file__).parents[1] / "registry" / "former"


@pytest.fixture(params=["serving_model", "labels", "labels.2"])
def former_code(request: pytest.FixtureRequest, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A version of tinybert that was registered with a former file of `flows/serving`."""
    file = tmp_path / f"{request.param.partition('.')[0]}.py"
    shutil.copy(FORMER / f"{request.param}.txt", file)
    train_again(here, "tinybert", 0.95)
    with monkeypatch.context() as patch:
        patch.setitem(OURS, "labels.py", file)
        return register("tinybert").version


def test_the_digests_of_the_former_code_are_those_of_its_files() -> None:
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(FORMER.iterdir(), key=lambda file: (file.name.partition(".")[0], len(file.name))):
        name = f"{file.name.partition('.')[0]}.py"
        found[name] = (*found.get(name, ()), hashlib.sha256(file.read_bytes()).hexdigest())
    assert found == FORMER_CODE


def test_a_version_with_the_former_code_is_checked_loaded_promoted_and_rolled_back(
    here: Path,
    former_code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = version_folder(former_code).glob("*.py")
    assert hashlib.sha256(code.read_bytes()).hexdigest() in FORMER_CODE[code.name]
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}/{former_code}", "--check"])
    serve.main()
    assert f"version {former_code}: weights sha256" in capsys.readouterr().out
    client, _ = open_store()
    (tmp_path / "fetched").mkdir()
    folder = fetch(client, client.get_model_version(NAME, former_code), tmp_path / "fetched")
    loaded = mlflow.pyfunc.load_model(str(folder))
    assert loaded.predict(pd.DataFrame({"text": ["good film"]}))[0]["label"] in ("bad", "good")
    assert try_to_promote("tinybert").promoted and champion() == former_code
    train_again(here, "tinybert", 0.97)
    register("tinybert")
    assert (
        try_to_promote("tinybert")
        .checks[-1]
        .startswith("accuracy (validation) 0.9700, champion (version " + former_code)
    )
    assert f"version {former_code} is the champion again" in roll_back() and champion() == former_code


def test_former_code_that_was_changed_is_refused(former_code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = version_folder(former_code)
    (code,) = folder.glob("*.py")
    code.write_text(code.read_text() + "\n")
    client, _ = open_store()
    client.set_model_version_tag(NAME, former_code, "files_sha256", folder_digest(folder))
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}/{former_code}", "--check"])
    with pytest.raises(InputError, match=r"'\w+.py' of the version is not this project's code"):
        serve.main()
