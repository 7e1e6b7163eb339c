"""Stages over a fleet: a real Prefect server, workers in clones of their own, a DVC remote in a folder or on S3."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from zipfile import ZipFile

import psutil
import pytest

from tasks.stage.params import read_yaml
from tests.clones import command, environment, run
from tests.flows.conftest import ROOT, Toy
from tests.flows.dag.conftest import BUCKET, LOGIN
from tests.flows.dag.test_remote import point_to
from tests.prefect_server import prefect_server

pytestmark = pytest.mark.slow
POOL = "runners"
# What ran, and where: `$RUNS` is a file that DVC does not know.
NOTED = "echo {0} $(pwd) >> $RUNS && "
NUMBERS = "data: {name: toy, kind: classes}\nx: 1\n"
MIDDLE = ["a", "b", "c"]
# As a stage trains that keeps checkpoints; its first run stays at the third for ever.
TRAIN = """
import os, time
from pathlib import Path
from stillhouse.training.checkpoints import COMPLETE, last_checkpoint
from tasks.stage.workspace import clear, workspace
work = workspace("train", [Path("prepared")], ["x"])
last = last_checkpoint(work)
done = int((last / "state").read_text()) if last else 0
print(f"training goes on after step {done}", flush=True)
for step in range(done + 1, 6):
    checkpoint = work / f"checkpoint-{step}"
    checkpoint.mkdir()
    (checkpoint / "state").write_text(str(step))
    (checkpoint / COMPLETE).touch()
    while step == 3 and not done:
        time.sleep(1)
Path("made-b").write_text(Path("prepared").read_text())
clear(work)
"""


def stages(middle: str = "cp prepared made-{0}") -> dict[str, dict]:
    """One stage, three that need it, and one that needs those."""
    tree = {"prepare": {"cmd": NOTED.format("prepare") + "cp seed prepared", "deps": ["seed"], "outs": ["prepared"]}}
    for name in MIDDLE:
        cmd = NOTED.format(name) + middle.format(name)
        tree[name] = {"cmd": cmd, "deps": ["prepared"], "params": ["x"], "outs": [f"made-{name}"]}
    cmd = "mkdir -p reports/compare && cat made-* > reports/compare/report.md && cp made-a reports/compare/report.png"
    made = [f"made-{name}" for name in MIDDLE]
    tree["compare"] = {
        "cmd": NOTED.format("compare") + cmd,
        "deps": made,
        "outs": ["reports/compare/report.md", "reports/compare/report.png"],
    }
    return tree


@dataclass
class Scene:
    """A project, clones of it, and the server."""

    root: Path
    variables: dict[str, str]
    runs: Path
    started: list[subprocess.Popen]

    def clone(self, name: str) -> Path:
        folder = self.root.parent / name
        run(self.root.parent, "git", "clone", "-q", str(self.root), str(folder))
        return folder

    def worker(self, clone: Path) -> subprocess.Popen:
        words = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        return self.start(clone, *words, "--limit", "1", "--name", clone.name)

    def start(self, folder: Path, *words: str) -> subprocess.Popen:
        # A group of its own, so that all of it can be killed as a machine dies.
        with (self.root.parent / f"{folder.name}.log").open("a") as log:
            variables = environment() | self.variables | {"STILLHOUSE_CLONE": str(folder)}
            process = subprocess.Popen(
                words, cwd=folder, env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.started.append(process)
        return process

    def flow(self) -> subprocess.Popen:
        return self.start(self.root, sys.executable, "-m", "flows.compare", "--pool", POOL)

    def said(self, folder: Path | None = None) -> str:
        return (self.root.parent / f"{(folder or self.root).name}.log").read_text()

    def ran(self) -> list[str]:
        return [line.split()[0] for line in self.runs.read_text().splitlines()] if self.runs.exists() else []

    def wait(self, what: Callable[[], object], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.said()[-3000:]
            time.sleep(0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server with a work pool: the variables of its clients."""
    with prefect_server(tmp_path_factory.mktemp("prefect"), POOL) as variables:
        yield variables


@pytest.fixture
def scene(toy: Toy, tmp_path: Path, server: dict[str, str]) -> Iterator[Callable[..., Scene]]:
    """Make a project of these stages and files, committed and deployed; its remote is a folder, or `url`."""
    started: list[subprocess.Popen] = []

    def make(
        tree: dict[str, dict],
        params: dict | None = None,
        files: Mapping[str, str] = MappingProxyType({}),
        url: str = "",
        **settings: str,
    ) -> Scene:
        root = toy(tree, seed="s", **files)
        (root / "params.yaml").write_text(NUMBERS if params is None else json.dumps(params))
        (root / ".gitignore").write_text("/.fleet/\n/.search/\n/prepared\n/made-*\n/reports\n/logs\n/.prefect\n")
        (root / ".dvcignore").write_text("/.fleet\n/.search\n/logs\n")
        for name in ("flows", "tasks", "stillhouse"):
            (root / name).symlink_to(ROOT / name)
        (stage,) = [each for each in read_yaml(ROOT / "prefect.yaml")["deployments"] if each["name"] == "stage"]
        stage["work_pool"]["name"] = POOL
        (root / "prefect.yaml").write_text(json.dumps({"name": "stillhouse", "deployments": [stage]}))
        point_to(root, url or str(tmp_path / "remote"), **settings)
        run(root, "git", "add", "-A")
        run(root, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "toy")
        variables = server | {"RUNS": str(tmp_path / "runs")}
        run(root, sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", **variables)
        return Scene(root, variables, tmp_path / "runs", started)

    yield make
    for process in started:
        for each in _family(process):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def _family(process: subprocess.Popen) -> list[psutil.Process]:
    if process.poll() is not None:
        return []
    found = psutil.Process(process.pid)
    return [found, *found.children(recursive=True)]


def _artifact(here: Scene) -> str:
    """What the flow shows in Prefect."""
    url = f"{here.variables['PREFECT_API_URL']}/artifacts/filter"
    asked = json.dumps({"sort": "CREATED_DESC", "artifacts": {"key": {"any_": ["compare-result"]}}})
    request = urllib.request.Request(url, asked.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())[0]["data"]


def test_three_runners_run_every_stage_once_and_leave_the_lock_of_a_plain_repro(
    scene: Callable[..., Scene], s3: str
) -> None:
    here = scene(stages(), url=f"s3://{BUCKET}/dvc", endpointurl=s3, **LOGIN)
    plain, *runners = (here.clone(name) for name in ("plain", "first", "second", "third"))
    (here.root / "params.yaml").write_text(NUMBERS.replace("1", "2"))  # not committed: numbers travel
    for folder in runners:
        here.worker(folder)
    flow = here.flow()
    assert flow.wait(timeout=240) == 0, here.said()
    assert sorted(here.ran()) == ["a", "b", "c", "compare", "prepare"]
    places = {Path(line.split()[1]).parents[2] for line in here.runs.read_text().splitlines()}
    assert places <= set(runners), "and none where the flow runs"
    said = here.said()
    assert f"[prepare] runs on {os.uname().nodename}:" in said and "[compare] > echo compare" in said
    told = dict(re.findall(r"^\| (\w+) \| [^|]* \| ran \| `[^:]+:(.+)` \|", _artifact(here), re.MULTILINE))
    assert told.pop("code", None) in (None, str(here.root))
    assert sorted(told) == ["a", "b", "c", "compare", "prepare"] and {Path(each) for each in told.values()} == places
    shutil.copy(here.root / "params.yaml", plain)
    run(plain, "dvc", "repro", "compare", **here.variables)
    assert read_yaml(here.root / "dvc.lock") == read_yaml(plain / "dvc.lock")
    assert (here.root / "reports" / "compare" / "report.md").read_text() == "sss"
    for folder in runners:
        assert (folder / "params.yaml").read_text() == NUMBERS and not (folder / "prepared").exists()
        assert run(folder, "git", "status", "--porcelain") == "", "a runner's clone stays as it was"


def test_a_killed_runners_stage_is_finished_by_another_from_its_last_checkpoint(scene: Callable[..., Scene]) -> None:
    tree = stages()
    tree["b"] |= {"cmd": NOTED.format("b") + "python train.py", "deps": ["prepared", "train.py"]}
    here = scene(tree, files={"train.py": TRAIN})
    here.variables["STILLHOUSE_SEND_CHECKPOINTS"] = "1"
    first, second = (here.clone(name) for name in ("first", "second"))
    workers = {folder: here.worker(folder) for folder in (first, second)}
    flow = here.flow()
    here.wait(lambda: "[b] its checkpoint was sent" in here.said(), 240)
    (place,) = [Path(line.split()[1]) for line in here.runs.read_text().splitlines() if line.startswith("b ")]
    victim = place.parents[2]
    (archive,) = (here.root.parent / "remote" / "unfinished").rglob("*.zip")
    assert {name.split("/", 1)[1] for name in ZipFile(archive).namelist()} == {
        "checkpoint-3/complete",
        "checkpoint-3/state",
    }
    for each in _family(workers[victim]):
        with suppress(psutil.NoSuchProcess):
            each.kill()
    assert flow.wait(timeout=400) == 0, here.said()
    assert sorted(here.ran()) == ["a", "b", "b", "c", "compare", "prepare"]
    ran_b = [line.split()[1] for line in here.runs.read_text().splitlines() if line.startswith("b ")]
    assert [Path(place).parents[2] for place in ran_b] == [victim, *({first, second} - {victim})]
    assert "its runner has said nothing for 90 s (may pass later)" in here.said()
    assert "[b] goes on from the checkpoint that another runner sent at " in here.said()
    assert "[b] training goes on after step 3" in here.said()
    assert not archive.exists(), "it goes once the result is there"


def test_stopping_the_flow_stops_the_runners_and_a_failure_says_where_and_why(scene: Callable[..., Scene]) -> None:
    tree = stages("if [ {0} = a ]; then echo 'error: x = 1: too small'; exit 2; else exec sleep 613.5; fi")
    here = scene(tree)
    first, second = (here.clone(name) for name in ("first", "second"))
    for folder in (first, second):
        here.worker(folder)
    flow = here.flow()
    here.wait(lambda: "[a] error: x = 1: too small" in here.said(), 240)
    here.wait(lambda: here.ran().count("b") + here.ran().count("c") == 2, 240)
    flow.send_signal(signal.SIGTERM)
    assert flow.wait(timeout=120) == 143
    here.wait(lambda: not [each for each in psutil.process_iter() if command(each) == ["sleep", "613.5"]], 120)
    assert "cancelled where it runs or waits" in here.said()


def test_a_runner_of_another_commit_or_with_changes_refuses(scene: Callable[..., Scene]) -> None:
    here = scene(stages())
    other = here.clone("other")
    (other / "seed").write_text("t")
    here.worker(other)
    flow = here.flow()
    assert flow.wait(timeout=240) == 1, here.said()
    assert "this runner's clone differs from its commit (seed): git restore there" in here.said()
    run(other, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qam", "other")
    flow = here.flow()
    assert flow.wait(timeout=240) == 1, here.said()
    assert "this runner's clone is at " in here.said() and here.ran() == []
