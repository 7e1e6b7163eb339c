"""deploy/prefect.yaml: a run that starts with nothing but the environment, as in a container.

A process worker in an empty folder stands for the container: each run gets an empty folder from it, and clones.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clones import ROOT, environment, run
from tests.flows.conftest import Toy
from tests.flows.dag.test_fleet import NUMBERS, stages
from tests.flows.dag.test_remote import point_to
from tests.prefect_server import prefect_server

POOL = "containers"
NOT_THERE = ("STILLHOUSE_REPOSITORY", "PYTHONPATH")
COMMITTER = ("-c", "user.name=t", "-c", "user.email=t@localhost")


@dataclass
class Scene:
    """A committed project, its clients' variables, and the worker's folder and log."""

    root: Path
    variables: dict[str, str]
    runs: Path
    folder: Path
    log: Path

    def ran(self) -> list[str]:
        return sorted(line.split()[0] for line in self.runs.read_text().splitlines())

    def prefect(self, *words: str) -> str:
        return run(self.root, sys.executable, "-m", "prefect", *words, **self.variables)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server with the pool: the variables of its clients."""
    with prefect_server(tmp_path_factory.mktemp("prefect"), POOL) as variables:
        yield variables


@pytest.fixture
def scene(toy: Toy, tmp_path: Path, server: dict[str, str]) -> Iterator[Scene]:
    """The project has copies of our code, so that a run tells whose it is by the place that it comes from."""
    root = toy(stages(), seed="s")
    (root / "params.yaml").write_text(NUMBERS)
    (root / ".gitignore").write_text("/.fleet/\n/prepared\n/made-*\n/reports\n/logs\n/.prefect\n__pycache__/\n")
    (root / ".dvcignore").write_text("/.fleet\n/logs\n__pycache__/\n")
    for name in ("flows", "tasks", "stillhouse", "deploy"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (root / "flows" / "__init__.py").open("a") as file:
        file.write('print(f"code of {__file__}", flush=True)\n')
    point_to(root, str(tmp_path / "remote"))
    run(root, "git", "add", "-A")
    run(root, "git", *COMMITTER, "commit", "-qm", "toy")
    folder, log = tmp_path / "container", tmp_path / "log"
    folder.mkdir()
    variables = server | {"RUNS": str(tmp_path / "runs"), "STILLHOUSE_REPOSITORY": f"file://{root}"}
    here = Scene(root, variables, tmp_path / "runs", folder, log)
    here.prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deploy/prefect.yaml")
    # Where the code is, the run knows from its deployment alone.
    bare = {key: value for key, value in (environment() | variables).items() if key not in NOT_THERE}
    words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    with log.open("w") as file:
        worker = subprocess.Popen(words, cwd=folder, env=bare, stdout=file, stderr=file)
    yield here
    worker.terminate()
    worker.wait()


@pytest.mark.slow
def test_a_run_that_starts_with_nothing_clones_the_code_and_a_second_one_makes_nothing_again(scene: Scene) -> None:
    for _ in range(2):
        scene.prefect("deployment", "run", "compare/container", "--watch")
        assert scene.ran() == ["a", "b", "c", "compare", "prepare"], scene.log.read_text()[-3000:]
    said = scene.log.read_text()
    places = {Path(line.removeprefix("code of ")) for line in said.splitlines() if line.startswith("code of ")}
    assert len(places) == 2 and not [place for place in places if place.is_relative_to(ROOT) or place.exists()]
    assert list(scene.folder.iterdir()) == [] and run(scene.root, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_such_runs_are_the_runners_of_a_flow_elsewhere(scene: Scene) -> None:
    done = run(scene.root, sys.executable, "-m", "flows.compare", "--pool", POOL, **scene.variables)
    assert scene.ran() == ["a", "b", "c", "compare", "prepare"], done + scene.log.read_text()[-3000:]
    places = {Path(line.split()[1]) for line in scene.runs.read_text().splitlines()}
    assert not [place for place in places if place.is_relative_to(scene.root)]
    assert (scene.root / "reports" / "compare" / "report.md").read_text() == "sss"
    assert list(scene.folder.iterdir()) == []
