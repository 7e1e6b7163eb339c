"""Two runners on one DVC remote: what one has made the other pulls; and the remote being away."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.dag import remote
from flows.dag.graph import lineage, load_graph, stale
from flows.dag.process import StageFailed, bring_up_to_date
from flows.dag.remote import remote_of
from stillhouse.errors import InputError
from tests.clones import free_port
from tests.flows.conftest import Toy
from tests.flows.dag.conftest import BUCKET, KEYS, LOGIN

# What ran, and where: a file that DVC does not know.
NOTED = "echo {0} >> ran && mkdir -p out-{0} && cp {1} out-{0}/model"
STAGES = {
    "prepare": {"cmd": NOTED.format("prepare", "seed"), "deps": ["seed"], "outs": ["out-prepare"]},
    "teacher": {"cmd": NOTED.format("teacher", "out-prepare/model"), "deps": ["out-prepare"], "outs": ["out-teacher"]},
    "student": {"cmd": NOTED.format("student", "out-teacher/model"), "deps": ["out-teacher"], "outs": ["out-student"]},
}
Clone = Callable[[str], Path]


@pytest.fixture
def clone(toy: Toy, tmp_path: Path) -> Clone:
    """Another clone of the project, as git has it: no cache, no lock, the remote's address."""
    root = toy(STAGES, seed="x")
    point_to(root, str(tmp_path / "remote"))

    def make(name: str) -> Path:
        shutil.copytree(root, tmp_path / name, ignore=shutil.ignore_patterns("cache", "tmp", "out-*", "ran", "logs"))
        (tmp_path / name / "dvc.lock").unlink(missing_ok=True)
        return tmp_path / name

    return make


def point_to(root: Path, url: str, **settings: str) -> None:
    lines = ["[core]", "    remote = shared", "['remote \"shared\"']", f"    url = {url}"]
    lines += [f"    {key} = {value}" for key, value in settings.items()]
    (root / ".dvc" / "config").write_text("\n".join(lines) + "\n")


def flow(root: Path, target: str = "student") -> list[str]:
    """Run a lineage as a flow does; the names of the stages whose commands ran in this clone, now or before."""
    # DVC names stages as seen from where it is.
    os.chdir(root)
    shared = remote_of(root)
    assert shared
    try:
        for stage in lineage(load_graph(root), target):
            bring_up_to_date(root, stage, {}, shared)
    finally:
        shared.finish()
    assert stale(root, lineage(load_graph(root), target)) == set()
    return (root / "ran").read_text().split() if (root / "ran").exists() else []


@pytest.mark.slow
def test_a_second_runner_trains_nothing_that_the_first_has_trained(clone: Clone) -> None:
    first, second = clone("first"), clone("second")
    assert flow(first, "teacher") == ["prepare", "teacher"]
    assert flow(second) == ["student"]
    assert flow(first) == ["prepare", "teacher"], "and the other way round"
    assert (first / "out-student" / "model").read_text() == "x"


@pytest.mark.slow
def test_a_clone_with_a_lock_and_no_cache_pulls_what_the_lock_names(clone: Clone) -> None:
    first, second = clone("first"), clone("second")
    flow(first)
    shutil.copy(first / "dvc.lock", second)
    assert flow(second) == []
    assert (second / "dvc.lock").read_bytes() == (first / "dvc.lock").read_bytes()


@pytest.mark.slow
def test_what_was_made_before_a_failure_is_pushed(clone: Clone) -> None:
    first, second = clone("first"), clone("second")
    (first / "dvc.yaml").write_text((first / "dvc.yaml").read_text().replace("echo student", "exit 2; echo student"))
    with pytest.raises(StageFailed, match="student"):
        flow(first)
    assert flow(second) == ["student"]


@pytest.mark.slow
def test_with_the_remote_away_all_is_made_and_the_next_run_pushes_it(
    clone: Clone, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second, folder = clone("first"), clone("second"), tmp_path / "remote"
    folder.write_text("no folder")
    assert flow(first, "teacher") == ["prepare", "teacher"]
    said = [line for line in capfd.readouterr().out.splitlines() if line.startswith("remote: ")]
    assert any("the next run sends the rest" in line for line in said), said
    (first / "seed").write_text("y")
    assert flow(first, "teacher") == ["prepare", "teacher"] * 2, "a later result takes the place of the first"
    folder.unlink()
    flow(first, "teacher")
    assert flow(second) == ["student"], "and the first is not lost"
    assert (second / "out-student" / "model").read_text() == "x"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_over_s3_too_the_second_runner_trains_nothing_and_a_server_that_stops_costs_nothing(
    clone: Clone, s3: str, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second, third = clone("first"), clone("second"), clone("third")
    for root in (first, second):
        point_to(root, f"s3://{BUCKET}/dvc", endpointurl=s3, **LOGIN)
    assert flow(first) == ["prepare", "teacher", "student"]
    assert flow(second) == []
    settings = {"endpointurl": f"http://127.0.0.1:{free_port()}", "connect_timeout": "2", "read_timeout": "2"}
    point_to(third, f"s3://{BUCKET}/dvc", **settings, **LOGIN)
    assert flow(third) == ["prepare", "teacher", "student"]
    shown = capfd.readouterr().out
    assert shown.count("remote: cannot be used, going on without it: ") == 1
    assert "the next run sends the rest" in shown
    assert KEYS["aws_secret_access_key"] not in shown


def test_without_a_remote_nothing_is_asked_and_the_command_says_how_to_have_one(toy: Toy) -> None:
    assert remote_of(toy(STAGES, seed="x")) is None
    with pytest.raises(InputError, match="no default remote: dvc remote add --default NAME URL"):
        remote.main()
