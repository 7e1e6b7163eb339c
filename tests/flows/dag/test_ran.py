"""How a stage was brought up to date: ran here, was in a cache, or ran elsewhere."""

import shutil
import socket

import pytest

from flows.dag.graph import Stage
from flows.dag.process import bring_up_to_date
from flows.dag.ran import Ran, of_runner, stages_table
from tests.flows.conftest import Toy


def test_a_stage_whose_result_is_in_the_cache_did_not_run(toy: Toy) -> None:
    root = toy({"a": {"cmd": "cp seed a", "deps": ["seed"], "outs": ["a"]}}, seed="s")
    first = bring_up_to_date(root, Stage("a", ()), {})
    assert first and first.place == f"{socket.gethostname()}:{root}" and not first.cached and first.seconds > 0
    shutil.copy(root / "dvc.lock", root / "kept")
    (root / "dvc.lock").unlink()
    (root / "a").unlink()
    again = bring_up_to_date(root, Stage("a", ()), {})
    assert again and again.cached and (root / "a").read_text() == "s"
    assert (root / "dvc.lock").read_text() == (root / "kept").read_text()
    assert bring_up_to_date(root, Stage("a", ()), {}) is None


def test_what_a_runner_says_at_its_end_is_read_again() -> None:
    ran = Ran("host:/a (b)/c", 12.34)
    assert of_runner(str(ran)) == Ran("host:/a (b)/c", 12.3)
    assert of_runner("host:/a") is None and of_runner(None) is None


def test_the_table_has_every_stage_with_what_it_needs_and_what_became_of_it() -> None:
    stages = [Stage("code", ()), Stage("prepare", ("code",)), Stage("teacher", ("code", "prepare")), Stage("x", ("y",))]
    ran = {"teacher": Ran("host:/a", 3725.0), "prepare": Ran("host:/a", 2.0, cached=True), "code": Ran("host:/b", 75.0)}
    assert stages_table(stages, ran).splitlines()[2:] == [
        "| code |  | ran | `host:/b` | 1 min 15 s |",
        "| prepare | code | from a cache | `host:/a` | 2.0 s |",
        "| teacher | code, prepare | ran | `host:/a` | 1 h 02 min |",
        "| x |  | was up to date | | |",
    ]


@pytest.mark.parametrize(("seconds", "shown"), [(59.94, "59.9 s"), (119.6, "2 min 00 s"), (3599.0, "59 min 59 s")])
def test_times_are_rounded_as_a_whole(seconds: float, shown: str) -> None:
    assert stages_table([Stage("a", ())], {"a": Ran("p", seconds)}).endswith(f"| {shown} |")
