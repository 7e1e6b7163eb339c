"""A project with a champion, and ways to change what lies in its registry."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.promotion.decision import try_to_promote
from flows.registry.versions import register
from tasks.tracking.store import open_store
from tests.flows.conftest import fill_project

NAME = "stillhouse-docstrings"


@pytest.fixture(scope="session")
def project(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is version 1, the champion."""
    root = fill_project(made, tmp_path_factory.mktemp("promotion") / "project")
    shutil.copytree(root, root.with_name("as-made"), ignore=shutil.ignore_patterns("mlruns"))
    return promoted(root)


def promoted(root: Path) -> Path:
    """The project, once its hinton is registered and champion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register("hinton")
        assert try_to_promote("hinton").promoted
    return root


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project; afterwards its files are as they were made, and version 1 is the champion."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    yield project
    client, _ = open_store()
    client.set_registered_model_alias(NAME, "champion", "1")
    client.set_registered_model_tag(NAME, "champions", '["1"]')
    for path in project.with_name("as-made").iterdir():
        if path.is_dir():
            shutil.rmtree(project / path.name)
            shutil.copytree(path, project / path.name)
        else:
            shutil.copy(path, project / path.name)


@pytest.fixture
def tampered(here: Path) -> Iterator[Path]:
    """The folder of version 1, put back afterwards."""
    folder = version_folder("1")
    shutil.copytree(folder, here / "as-it-was")
    yield folder
    shutil.rmtree(folder)
    shutil.move(here / "as-it-was", folder)


def champion() -> str:
    client, _ = open_store()
    return str(client.get_model_version_by_alias(NAME, "champion").version)


def version_folder(version: str) -> Path:
    client, _ = open_store()
    run_id = client.get_model_version(NAME, version).run_id
    return Path("mlruns/artifacts") / str(run_id) / "artifacts" / "model"


def flip(file: Path) -> None:
    """Change one bit."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
