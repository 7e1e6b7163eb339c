"""One version of the same weights, whoever else registers them, whatever answer is lost, wherever a process dies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from flows.promotion.decision import try_to_promote
from flows.registry.names import registered_model
from flows.registry.versions import is_registered, register, versions
from tasks.tracking.store import STORE, open_store
from tests.flows.conftest import fill_project

CREATE = MlflowClient.create_model_version
Call = Callable[..., Any]


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with nothing in its registry."""
    root = fill_project(made, tmp_path / "project")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


def whole() -> list[str]:
    """The versions that are there; each must have its facts."""
    found = versions(open_store()[0], registered_model())
    assert all("value" in each.tags for each in found)
    return [str(each.version) for each in found]


def lost_answer(client: MlflowClient, *given: Any, **named: Any) -> Any:
    """A call that MLflow's client makes again, as the answer to the first was lost."""
    CREATE(client, *given, **named)
    return CREATE(client, *given, **named)


def other_runner_first(client: MlflowClient, *given: Any, **named: Any) -> Any:
    """Another runner registers the same weights while this one uploads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", CREATE)
        register("hinton")
    return CREATE(client, *given, **named)


def other_runner_after(client: MlflowClient, *given: Any, **named: Any) -> Any:
    """The same, and the other one is done when this one's version is there already."""
    made = CREATE(client, *given, **named)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", CREATE)
        register("hinton")
    return made


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("create", [lost_answer, other_runner_first, other_runner_after])
def test_weights_that_were_registered_twice_at_once_have_one_version(
    monkeypatch: pytest.MonkeyPatch, create: Call
) -> None:
    monkeypatch.setattr(MlflowClient, "create_model_version", create)
    registered = register("hinton")
    assert whole() == [registered.version] and is_registered("hinton")
    assert try_to_promote("hinton").promoted


@pytest.mark.usefixtures("here")
def test_a_process_that_died_before_it_deleted_its_twin_left_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(client: MlflowClient, *given: Any, **named: Any) -> None:
        lost_answer(client, *given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", dies)
        with pytest.raises(KeyboardInterrupt):
            register("hinton")
    registered = register("hinton")
    assert not registered.new and whole() == [registered.version]


@pytest.mark.usefixtures("here")
def test_a_marker_that_was_cut_off_says_nothing() -> None:
    register("hinton")
    (marker,) = (STORE / "registered").iterdir()
    marker.write_text(marker.read_text()[:20])
    assert not is_registered("hinton")
    assert not register("hinton").new and is_registered("hinton")
