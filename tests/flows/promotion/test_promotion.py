"""Promotion in earnest: a person's word, aliases that move or stay, one promotion at a time."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from flows.promotion.decision import Verdict, roll_back, try_to_promote
from flows.promotion.lock import promotion_lock, unlock
from flows.registry.versions import find_version, register
from stillhouse.errors import InputError
from tasks.tracking.store import open_store
from tests.flows.conftest import ROOT, fill_project, train_again
from tests.flows.promotion.conftest import NAME, champion, promoted

pytestmark = pytest.mark.usefixtures("here")


def test_a_version_that_passes_waits_for_a_person_where_params_say_so(here: Path) -> None:
    tree = json.loads(Path("params.yaml").read_text())
    asking = tree["promote"] | {"approval": {"required": True, "hours": 1.0}}
    Path("params.yaml").write_text(json.dumps(tree | {"promote": asking}))
    train_again(here, "tinybert", 0.95)
    version = register("tinybert").version
    client, _ = open_store()
    waits = try_to_promote("tinybert")
    assert waits.waiting and not waits.promoted and not waits.failures and champion() == "1"
    assert client.get_model_version(NAME, version).tags["gate"] == "waiting"
    no = try_to_promote("tinybert", version, Verdict(False, "ada", "too large for the phone"))
    assert no.failures == ("ada says no: too large for the phone",) and champion() == "1"
    yes = try_to_promote("tinybert", version, Verdict(True, "ada", "measured on the phone"))
    assert yes.promoted and yes.checks[-1] == "ada says yes: measured on the phone" and champion() == version
    record = json.loads(client.get_model_version(NAME, version).tags["decision"])
    assert record["approval"] == {"approved": True, "by": "ada", "reason": "measured on the phone"}


def test_a_yes_opens_no_gate_that_is_shut(here: Path) -> None:
    train_again(here, "tinybert", 0.5)
    register("tinybert")
    decision = try_to_promote("tinybert", verdict=Verdict(True, "ada", "I like it"))
    assert not decision.promoted and champion() == "1"


def test_a_version_that_is_not_the_recipes_is_named() -> None:
    with pytest.raises(InputError, match=r"version = '77' is none of recipe 'hinton' of stillhouse-docstrings"):
        try_to_promote("hinton", version="77")


def test_a_promotion_that_died_between_its_two_writes_left_one_champion_and_can_be_rolled_back(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_again(here, "tinybert", 0.97)
    version = register("tinybert").version
    client, _ = open_store()

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.tracking.MlflowClient.set_registered_model_tag", dies)
        with pytest.raises(KeyboardInterrupt):
            try_to_promote("tinybert")
    assert champion() == version
    assert "version 1 is the champion again" in roll_back() and champion() == "1"
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.tracking.MlflowClient.set_registered_model_alias", dies)
        with pytest.raises(KeyboardInterrupt):
            try_to_promote("tinybert")
    assert champion() == "1" and try_to_promote("tinybert").promoted
    assert not unlock(client, NAME), "no lock stays"


@pytest.mark.parametrize("write", ["set_registered_model_tag", "delete_registered_model_alias"])
def test_a_promotion_that_died_on_its_way_is_brought_to_its_end_by_the_same_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    train_again(here, "tinybert", 0.97)
    version = register("tinybert").version
    client, _ = open_store()

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"mlflow.tracking.MlflowClient.{write}", dies)
        with pytest.raises(KeyboardInterrupt):
            try_to_promote("tinybert")
    assert try_to_promote("tinybert").promoted
    model = client.get_registered_model(NAME)
    assert {alias: str(number) for alias, number in model.aliases.items()} == {"champion": version}
    assert json.loads(model.tags["champions"]) == ["1", version]


def test_a_champion_whose_alias_was_deleted_is_out_of_service() -> None:
    client, _ = open_store()
    client.delete_registered_model_alias(NAME, "champion")
    assert "there is no champion yet" in try_to_promote("hinton").checks
    assert champion() == "1"


def test_a_lock_of_a_dead_process_of_this_machine_is_taken_over_and_one_of_another_machine_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, _ = open_store()
    lock = f"{NAME}.promotion-lock"
    with promotion_lock(client, NAME):
        tags = client.get_registered_model(lock).tags
    client.create_registered_model(lock, tags=tags)  # as if killed
    with promotion_lock(client, NAME):
        assert json.loads(client.get_registered_model(lock).tags["holder"])["pid"] == os.getpid()
    client.create_registered_model(lock, tags={"holder": json.dumps({"place": "x", "host": "gpu-7", "pid": 12})})
    monkeypatch.setattr("flows.promotion.lock.PATIENCE", 0.0)
    with pytest.raises(InputError, match=r"is held by process 12 on gpu-7: wait for it, or"):
        try_to_promote("hinton")
    assert unlock(client, NAME) and try_to_promote("hinton").promoted


# Whoever judges first waits until the other one stands at the lock, or, were there none, judges as well.
PROMOTES = """
import sys, time
from pathlib import Path
import flows.promotion.lock as lock
import flows.promotion.decision as promote
mine, other = sys.argv[1:]
judged, waits = promote.judge, lock._wait
def slowly(*given):
    Path(mine + ".there").touch()
    deadline = time.monotonic() + 180
    while not Path(other + ".there").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return judged(*given)
def seen(*given, **more):
    Path(mine + ".there").touch()
    waits(*given, **more)
promote.judge, lock._wait = slowly, seen
print(promote.try_to_promote(mine).promoted)
"""


@pytest.mark.slow
def test_a_promotion_whose_lock_is_gone_when_it_lets_go_of_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    delete = MlflowClient.delete_registered_model

    def asked_twice(client: MlflowClient, name: str) -> None:
        """A call that MLflow's client makes again, as the answer to the first was lost."""
        delete(client, name)
        delete(client, name)

    monkeypatch.setattr(MlflowClient, "delete_registered_model", asked_twice)
    assert try_to_promote("hinton").promoted


@pytest.mark.slow
def test_two_promotions_at_once_are_one_after_the_other_and_leave_one_champion(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A project of its own: hinton gets a second version, where the other tests expect one.
    here = promoted(fill_project(made, tmp_path / "project"))
    monkeypatch.chdir(here)
    for recipe, value in (("hinton", 0.94), ("tinybert", 0.96)):
        train_again(here, recipe, value)
        register(recipe)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([sys.executable, "-c", PROMOTES, *pair], env=environment, stdout=subprocess.PIPE, text=True)
        for pair in (("hinton", "tinybert"), ("tinybert", "hinton"))
    ]
    shown = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    client, _ = open_store()
    model = client.get_registered_model(NAME)
    history = json.loads(model.tags["champions"])
    records = {version: json.loads(client.get_model_version(NAME, version).tags["decision"]) for version in history[1:]}
    # Each was compared with the champion that the other one left.
    for before, version in itertools.pairwise(history):
        assert records[version]["champion_before"]["version"] == before
    passed = [text.splitlines()[-1] == "True" for text in shown]
    assert passed[1] and str(model.aliases["champion"]) == history[-1]
    assert len(history) == 1 + sum(passed)
    assert any("another process of this machine promotes or rolls back: waiting" in text for text in shown)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("stillhouse-docstrings", "give models:/NAME@champion"),
        ("models:/../x@champion", "give models:/NAME@champion"),
        (f"models:/{NAME}@nobody", "is not in the registry at sqlite:///"),
        (f"models:/{NAME}/99", "is not in the registry"),
    ],
)
def test_a_model_that_is_not_there_is_named(model: str, reason: str) -> None:
    client, _ = open_store()
    with pytest.raises(InputError, match=f"model = '{model}'.*{reason}"):
        find_version(client, model)
