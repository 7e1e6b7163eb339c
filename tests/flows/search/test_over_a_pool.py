"""A search over a pool: a real Prefect server, two runners in clones of their own; its trials are those without one."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clones import run
from tests.flows.dag.test_fleet import NOTED, POOL, Scene, scene, server
from tests.flows.search import toy_search

__all__ = ["scene", "server"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEARCH = {"trials": 3, "proposals": 9, "rungs": 2, "reduction": 3, "at_once": 2, "startup": 2, "seed": 5}
PARAMS: dict[str, Any] = {
    "data": {"name": "toy", "kind": "classes"},
    "hinton": {"distill": {"alpha": 0.5, "phase": {"epochs": 3}}},
    "search": SEARCH | {"space": {"hinton": {"hinton.distill.alpha": {"low": 0.1, "high": 0.9, "step": 0.1}}}},
}
# The first two to train meet, which they cannot where one waits for the other; `$MEETS` is of the runners alone.
MEET = 'if [ -n "$MEETS" ]; then mktemp -p $MEETS; until [ $(ls $MEETS | wc -l) -ge 2 ]; do sleep 0.2; done; fi && '
VALUES = "${hinton.distill.alpha} ${hinton.distill.phase.epochs}"
STAGES = {
    "prepare": {"cmd": NOTED.format("prepare") + "cp seed prepared", "deps": ["seed"], "outs": ["prepared"]},
    "export": {
        "foreach": ["hinton"],
        "do": {
            "cmd": NOTED.format(f"trained-{VALUES.replace(' ', '-')}") + MEET + f"echo {VALUES} > made-${{item}}",
            "deps": ["prepared"],
            "params": ["hinton"],
            "outs": ["made-${item}"],
        },
    },
}


@pytest.fixture
def here(scene: Callable[..., Scene], tmp_path: Path) -> Scene:
    """The toy, one of its two runners at work, and what the search finds without a pool, in a clone of its own."""
    here = scene(STAGES, PARAMS)
    meets = tmp_path / "meets"
    meets.mkdir()
    plain = here.clone("plain")
    run(plain, "dvc", "remote", "default", "--unset")
    run(plain, sys.executable, toy_search.__file__, **here.variables | {"RUNS": str(tmp_path / "plain-runs")})
    here.variables["MEETS"] = str(meets)
    here.worker(here.clone("first"))
    here.clone("second")
    return here


def start(here: Scene) -> subprocess.Popen:
    return here.start(here.root, sys.executable, toy_search.__file__, POOL)


def second_runner(here: Scene) -> None:
    here.worker(here.root.parent / "second")


def trained(here: Scene) -> int:
    return len([each for each in here.ran() if each.startswith("trained")])


def found(folder: Path) -> dict:
    return json.loads((folder / "found.json").read_text())


def test_over_a_pool_two_train_at_once_and_trials_and_winner_are_those_without_one(here: Scene) -> None:
    second_runner(here)
    assert start(here).wait(timeout=300) == 0, here.said()[-3000:]
    assert found(here.root) == found(here.root.parent / "plain")
    assert len(found(here.root)["trials"]) == 3 and len(found(here.root)["last rung"]) == 1
    assert here.ran().count("prepare") == 1, "which both trials of the first round need"
    assert len(here.ran()) == len(set(here.ran())) == 5
    assert [each.name for each in (here.root / ".search" / "toy").glob("project*")] == ["project"]
    assert run(here.root, "git", "status", "--porcelain") == "?? found.json\n"


def test_killed_over_a_pool_it_goes_on_with_the_same_trials_and_trains_none_twice(here: Scene) -> None:
    second_runner(here)
    flow = start(here)
    here.wait(lambda: trained(here) == 2, 240)
    flow.send_signal(signal.SIGKILL)
    flow.wait()
    assert start(here).wait(timeout=300) == 0, here.said()[-3000:]
    assert found(here.root) == found(here.root.parent / "plain")
    assert len(here.ran()) == len(set(here.ran())) == 5


def test_stopped_it_cancels_what_runners_run_of_all_trials(here: Scene) -> None:
    flow = start(here)
    # One trains, and waits for the other, for which there is no runner.
    here.wait(lambda: trained(here) == 1 and here.said().count("[export@hinton] asked for") == 2, 240)
    flow.send_signal(signal.SIGTERM)
    assert flow.wait(timeout=120) == 143
    assert here.said().count("[export@hinton] cancelled where it runs or waits") == 2
